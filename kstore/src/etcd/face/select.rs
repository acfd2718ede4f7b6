//! What of a range is told, and in which order: etcd's filters and sorting.

use tonic::Status;

use super::super::convert::{key_value, revision, signed};
use super::super::proto::{KeyValue, RangeRequest, RangeResponse, SortOrder, SortTarget};
use super::super::span::Span;
use super::super::text;
use crate::{KeyRange, Page, RangeOptions, Record};

/// How to read a range, and what to do with what comes.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) range: KeyRange,
    pub(super) options: RangeOptions,
    order: SortOrder,
    target: SortTarget,
    limit: usize,
    keys_only: bool,
    modified: (i64, i64),
    created: (i64, i64),
}

impl Selection {
    pub(super) fn of(request: RangeRequest) -> Result<Self, Status> {
        if request.key.is_empty() {
            return Err(Status::invalid_argument(text::EMPTY_KEY));
        }
        let unknown = |_| Status::invalid_argument("etcdserver: invalid sort option");
        let order = SortOrder::try_from(request.sort_order).map_err(unknown)?;
        let target = SortTarget::try_from(request.sort_target).map_err(unknown)?;
        // Whoever says by what to sort, means to sort.
        let order = match (order, target) {
            (SortOrder::None, SortTarget::Key) => SortOrder::Ascend,
            (SortOrder::None, _) => SortOrder::Ascend,
            (order, _) => order,
        };
        let limit = usize::try_from(request.limit).unwrap_or(0);
        let at = Some(revision(request.revision)).filter(|at| at.0 > 0);
        let options =
            RangeOptions { at, count_only: request.count_only, ..RangeOptions::default() };
        let mut selection = Self {
            range: Span { key: request.key, range_end: request.range_end }.range(),
            options,
            order,
            target,
            limit,
            keys_only: request.keys_only,
            modified: (request.min_mod_revision, request.max_mod_revision),
            created: (request.min_create_revision, request.max_create_revision),
        };
        if selection.is_plain() {
            selection.options = selection.options.limit(limit);
            selection.options.keys_only = request.keys_only;
        }
        Ok(selection)
    }

    /// Whether the store can do it by itself.
    fn is_plain(&self) -> bool {
        let in_order = self.order == SortOrder::Ascend && self.target == SortTarget::Key;
        in_order && self.modified == (0, 0) && self.created == (0, 0)
    }

    /// What a page becomes. The header is the caller's.
    pub(super) fn answer(&self, page: Page) -> RangeResponse {
        let (mut more, count) = (page.more, i64::try_from(page.count).unwrap_or(i64::MAX));
        let mut records = page.records;
        if !self.is_plain() {
            records.retain(|record| self.lets_through(record));
            self.sort(&mut records);
            if self.limit > 0 && records.len() > self.limit {
                records.truncate(self.limit);
                more = true;
            }
        }
        let tell = |record: Record| {
            let mut kv = key_value(record);
            if self.keys_only {
                kv.value.clear();
            }
            kv
        };
        let kvs: Vec<KeyValue> = records.into_iter().map(tell).collect();
        RangeResponse { header: None, kvs, more, count }
    }

    fn lets_through(&self, record: &Record) -> bool {
        let within = |revision: i64, (least, most): (i64, i64)| {
            (least == 0 || revision >= least) && (most == 0 || revision <= most)
        };
        within(signed(record.modified), self.modified)
            && within(signed(record.created), self.created)
    }

    fn sort(&self, records: &mut [Record]) {
        match self.target {
            SortTarget::Key => records.sort_by(|a, b| a.key.cmp(&b.key)),
            SortTarget::Version => records.sort_by_key(|record| record.version),
            SortTarget::Create => records.sort_by_key(|record| record.created),
            SortTarget::Mod => records.sort_by_key(|record| record.modified),
            SortTarget::Value => records.sort_by(|a, b| a.value.bytes.cmp(&b.value.bytes)),
        }
        if self.order == SortOrder::Descend {
            records.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Revision, Value};

    fn page() -> Page {
        let record = |key: &'static str, created: u64, modified: u64, version: u64| Record {
            key: key.into(),
            value: Value::new(format!("{}", 9 - modified)),
            created: Revision(created),
            modified: Revision(modified),
            version,
            lease: None,
        };
        let records = vec![record("a", 2, 7, 3), record("b", 3, 3, 1), record("c", 4, 6, 2)];
        Page { count: 3, records, revision: Revision(7), more: false }
    }

    fn keys(request: RangeRequest) -> (String, bool) {
        let request = RangeRequest { key: "a".into(), range_end: "d".into(), ..request };
        let answer = Selection::of(request).unwrap().answer(page());
        let keys = answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
        (keys.collect(), answer.more)
    }

    #[test]
    fn ranges_are_sorted_by_each_target() {
        let by = |target: SortTarget, order: SortOrder| {
            let (sort_target, sort_order) = (target.into(), order.into());
            keys(RangeRequest { sort_target, sort_order, ..RangeRequest::default() }).0
        };
        assert_eq!(by(SortTarget::Key, SortOrder::None), "abc");
        assert_eq!(by(SortTarget::Key, SortOrder::Descend), "cba");
        assert_eq!(by(SortTarget::Version, SortOrder::None), "bca");
        assert_eq!(by(SortTarget::Create, SortOrder::Descend), "cba");
        assert_eq!(by(SortTarget::Mod, SortOrder::Ascend), "bca");
        assert_eq!(by(SortTarget::Value, SortOrder::Ascend), "acb");
    }

    #[test]
    fn filters_come_before_the_limit() {
        let request = RangeRequest { min_mod_revision: 6, limit: 1, ..RangeRequest::default() };
        assert_eq!(keys(request), ("a".to_owned(), true));
        let request = RangeRequest { max_create_revision: 2, ..RangeRequest::default() };
        assert_eq!(keys(request), ("a".to_owned(), false));
        let request = RangeRequest {
            min_create_revision: 3,
            max_mod_revision: 6,
            limit: 2,
            ..RangeRequest::default()
        };
        assert_eq!(keys(request), ("bc".to_owned(), false));
    }

    #[test]
    fn what_the_store_can_do_it_does() {
        let request = RangeRequest { key: "a".into(), limit: 5, ..RangeRequest::default() };
        assert_eq!(Selection::of(request).unwrap().options.limit, Some(5));
        let request = RangeRequest {
            key: "a".into(),
            limit: 5,
            sort_target: SortTarget::Mod.into(),
            ..RangeRequest::default()
        };
        assert_eq!(Selection::of(request).unwrap().options.limit, None);
    }
}
