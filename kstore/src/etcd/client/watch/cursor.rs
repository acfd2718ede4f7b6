//! Where a watch is: what etcd tells becomes what the watcher is told. Nothing here waits.

use super::super::super::convert::{record, revision, signed};
use super::super::super::proto;
use super::super::super::span::Span;
use crate::{Event, EventKind, KeyRange, Revision, WatchBatch};

/// Bytes of keys and values of one revision that may wait for its last fragment.
const MAX_FRAGMENTS: usize = 256 << 20;

/// How a watch knows how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The member tells it when asked: it watches the range alone.
    Native,
    /// It watches every key, so that a revision that passes proves that all before it have.
    Passing,
}

/// What a response means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing for the watcher.
    Nothing,
    /// Tell the watcher.
    Tell(WatchBatch),
    /// What it asks for is compacted: up to this revision, if etcd says it.
    Compacted { requested: Revision, compacted: Option<Revision> },
    /// The member ended the watch, for a reason that another one may not have.
    Canceled(String),
    /// One revision is larger than can be put together.
    TooLarge,
}

/// Where a watch is.
#[derive(Debug)]
pub(super) struct Cursor {
    range: KeyRange,
    previous: bool,
    /// Where the watcher wants to begin.
    after: Revision,
    /// Every event of the range up to here has been told.
    seen: Revision,
    /// The greatest revision that is known to have happened.
    reached: Revision,
    /// The progress that somebody waits for.
    target: Option<Revision>,
    fragments: Vec<Event>,
    fragment_bytes: usize,
}

impl Cursor {
    /// A watch of what happens in `range` after `after`; `now` is the current revision.
    pub(super) fn new(range: KeyRange, previous: bool, after: Revision, now: Revision) -> Self {
        Self {
            range,
            previous,
            after,
            seen: after,
            reached: now,
            target: None,
            fragments: Vec::new(),
            fragment_bytes: 0,
        }
    }

    /// The request that goes on from here at the member of a cluster that is at `now`.
    pub(super) fn request(&mut self, now: Revision, mode: Progress) -> proto::WatchCreateRequest {
        self.fragments.clear();
        self.fragment_bytes = 0;
        self.reached = self.reached.max(now);
        let span = match mode {
            Progress::Native => Span::of(&self.range),
            Progress::Passing => Some(Span::all()),
        };
        // What can hold no key is a key that cannot be.
        let span = span.unwrap_or_else(|| Span::single(bytes::Bytes::from_static(&[0])));
        // A watch in the past begins at what was seen last, which is told again and left out: etcd
        // refuses it exactly if that is compacted, as the contract says. It would not refuse the
        // revision after it, of which compaction forgets the deletions.
        let start = if self.seen >= now { self.seen.next() } else { self.seen };
        proto::WatchCreateRequest {
            key: span.key,
            range_end: span.range_end,
            start_revision: signed(start.max(Revision(1))),
            prev_kv: self.previous,
            fragment: true,
            ..proto::WatchCreateRequest::default()
        }
    }

    /// Takes a response that is no answer to a request for progress.
    pub(super) fn respond(&mut self, response: proto::WatchResponse) -> Step {
        if response.compact_revision > 0 {
            let compacted = Some(revision(response.compact_revision));
            return Step::Compacted { requested: self.seen, compacted };
        }
        if response.canceled {
            return Step::Canceled(response.cancel_reason);
        }
        for event in response.events {
            if let Some(requested) = self.take(event) {
                return Step::Compacted { requested, compacted: None };
            }
        }
        if self.fragment_bytes > MAX_FRAGMENTS {
            return Step::TooLarge;
        }
        if response.fragment {
            return Step::Nothing;
        }
        let events = std::mem::take(&mut self.fragments);
        self.fragment_bytes = 0;
        let Some(last) = events.last().map(|event| event.record.modified) else {
            return Step::Nothing;
        };
        self.seen = self.seen.max(last);
        self.reached = self.reached.max(last);
        let range = &self.range;
        let events: Vec<Event> =
            events.into_iter().filter(|event| range.contains(&event.record.key)).collect();
        match events.last().map(|event| event.record.modified) {
            Some(revision) => Step::Tell(WatchBatch::Events { revision, events }),
            None => Step::Nothing,
        }
    }

    /// Takes one event, if it is not known; returns the revision before it, if that is compacted
    /// and would have been its previous record.
    fn take(&mut self, event: proto::Event) -> Option<Revision> {
        let kv = event.kv.unwrap_or_default();
        let modified = revision(kv.mod_revision);
        if modified <= self.seen {
            return None;
        }
        let deleted = event.r#type == i32::from(proto::EventType::Delete);
        // A put that is not the first, and every deletion, replaced something. etcd leaves it out
        // without a word if compaction was quicker than the watch.
        let replaced = deleted || kv.version > 1;
        let mine = self.range.contains(&kv.key);
        if self.previous && mine && replaced && event.prev_kv.is_none() {
            return Some(Revision(modified.0 - 1));
        }
        let previous = event.prev_kv.filter(|_| self.previous).map(record);
        let kind = if deleted { EventKind::Delete } else { EventKind::Put };
        let event = Event { kind, record: record(kv), previous };
        self.fragment_bytes += event.record.size();
        self.fragment_bytes += event.previous.as_ref().map_or(0, |record| record.size());
        self.fragments.push(event);
        None
    }

    /// The member says that it has told everything up to `now`.
    pub(super) fn progressed(&mut self, now: Revision) -> Option<WatchBatch> {
        self.reached = self.reached.max(now);
        // A watch in the future tells nothing before its time.
        if now < self.after {
            return None;
        }
        self.seen = self.seen.max(now);
        Some(WatchBatch::Progress(self.seen))
    }

    /// Somebody wants to know the progress, and the cluster is at `now`.
    pub(super) fn want(&mut self, now: Revision) {
        self.reached = self.reached.max(now);
        self.target = Some(now.max(self.after));
    }

    /// The progress that is wanted, once it is there.
    pub(super) fn due(&mut self) -> Option<WatchBatch> {
        let target = self.target?;
        if self.seen < target || self.reached < target {
            return None;
        }
        self.target = None;
        Some(WatchBatch::Progress(self.seen.min(self.reached)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(after: u64, now: u64) -> Cursor {
        Cursor::new(KeyRange::prefix("a/"), true, Revision(after), Revision(now))
    }

    fn put(key: &str, revision: i64, version: i64) -> proto::Event {
        let kv = proto::KeyValue {
            key: key.to_owned().into(),
            create_revision: revision - version + 1,
            mod_revision: revision,
            version,
            ..proto::KeyValue::default()
        };
        let old = proto::KeyValue { version: version - 1, ..kv.clone() };
        let prev_kv = (version > 1).then_some(old);
        proto::Event { kv: Some(kv), prev_kv, ..proto::Event::default() }
    }

    fn told(events: Vec<proto::Event>) -> proto::WatchResponse {
        proto::WatchResponse { events, ..proto::WatchResponse::default() }
    }

    fn revisions(step: Step) -> Vec<u64> {
        match step {
            Step::Tell(WatchBatch::Events { events, .. }) => {
                events.iter().map(|event| event.record.modified.0).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_watch_in_the_past_begins_where_compaction_is_noticed() {
        let start = |after, now| cursor(after, now).request(Revision(now), Progress::Native);
        assert_eq!(start(5, 9).start_revision, 5);
        assert_eq!(start(9, 9).start_revision, 10);
        assert_eq!(start(12, 9).start_revision, 13);
        assert_eq!(start(0, 9).start_revision, 1);
        assert_eq!(&start(5, 9).range_end[..], b"a0");
        let mut wide = cursor(5, 9);
        assert_eq!(&wide.request(Revision(9), Progress::Passing).range_end[..], [0]);
    }

    #[test]
    fn what_was_seen_is_left_out_after_a_reconnect() {
        let mut cursor = cursor(5, 9);
        let step = cursor.respond(told(vec![put("a/1", 5, 1), put("a/1", 6, 2)]));
        assert_eq!(revisions(step), [6]);
        cursor.request(Revision(9), Progress::Native);
        let step = cursor.respond(told(vec![put("a/1", 6, 2), put("a/1", 7, 3)]));
        assert_eq!(revisions(step), [7]);
    }

    /// S6.
    #[test]
    fn fragments_of_a_revision_are_put_together() {
        let mut cursor = cursor(5, 5);
        let mut first = told(vec![put("a/1", 6, 1)]);
        first.fragment = true;
        assert_eq!(cursor.respond(first), Step::Nothing);
        assert_eq!(cursor.due(), None);
        let step = cursor.respond(told(vec![put("a/2", 6, 1), put("b/1", 6, 1)]));
        assert_eq!(revisions(step), [6, 6]);
    }

    /// S6.
    #[test]
    fn passing_revisions_prove_progress() {
        let mut cursor = cursor(5, 5);
        cursor.want(Revision(7));
        assert_eq!(cursor.due(), None, "6 and 7 may still come");
        assert_eq!(cursor.respond(told(vec![put("b/1", 6, 1)])), Step::Nothing);
        assert_eq!(cursor.due(), None);
        assert_eq!(cursor.respond(told(vec![put("b/1", 8, 2)])), Step::Nothing);
        assert_eq!(cursor.due(), Some(WatchBatch::Progress(Revision(8))));
        assert_eq!(cursor.due(), None, "one answer to one question");
    }

    #[test]
    fn a_watch_in_the_future_tells_nothing_before_its_time() {
        let mut cursor = cursor(7, 5);
        cursor.want(Revision(5));
        assert_eq!((cursor.due(), cursor.progressed(Revision(6))), (None, None));
        assert_eq!(cursor.respond(told(vec![put("a/1", 7, 1)])), Step::Nothing);
        assert_eq!(revisions(cursor.respond(told(vec![put("a/1", 8, 2)]))), [8]);
        assert_eq!(cursor.due(), Some(WatchBatch::Progress(Revision(8))));
    }

    #[test]
    fn a_previous_record_that_compaction_took_is_missed() {
        let mut cursor = cursor(5, 5);
        let mut event = put("a/1", 9, 3);
        event.prev_kv = None;
        let step = cursor.respond(told(vec![event]));
        assert_eq!(step, Step::Compacted { requested: Revision(8), compacted: None });
    }

    #[test]
    fn compaction_is_told_with_its_revision() {
        let mut cursor = cursor(5, 9);
        let response =
            proto::WatchResponse { canceled: true, compact_revision: 7, ..Default::default() };
        let expect = Step::Compacted { requested: Revision(5), compacted: Some(Revision(7)) };
        assert_eq!(cursor.respond(response), expect);
    }
}
