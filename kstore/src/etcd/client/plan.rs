//! A transaction in etcd's words, and etcd's answer in ours.

use bytes::Bytes;

use super::super::convert::{lease_id, record, revision, signed};
use super::super::proto;
use super::super::span::Span;
use super::EtcdOptions;
use crate::mvcc::check_duplicates;
use crate::{
    Compare, Error, Op, OpResult, Operator, Page, RangeOptions, Record, Result, Revision, Target,
    Txn, TxnResult,
};

/// What becomes of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// etcd does it.
    Sent,
    /// etcd reads it, at that revision if there is one.
    Read(Option<Revision>),
    /// It deletes nothing.
    DeletesNothing,
    /// It reads nothing.
    ReadsNothing,
}

/// A transaction that is ready to be sent, and how to read the answer.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) request: proto::TxnRequest,
    then: Vec<Step>,
    otherwise: Vec<Step>,
    /// For each compare, which read of the other branch shows its key; none: it is absent.
    current: Vec<Option<usize>>,
}

/// Refuses a transaction that no state of the store could accept.
pub(super) fn check(txn: &Txn, options: &EtcdOptions) -> Result<()> {
    for op in txn.then.iter().chain(&txn.otherwise) {
        let Op::Put { key, value, .. } = op else { continue };
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let (size, limit) = (value.bytes.len(), options.max_value_bytes);
        if size > limit {
            return Err(Error::TooLarge { what: "value", size, limit });
        }
    }
    check_duplicates(&txn.then)?;
    check_duplicates(&txn.otherwise)
}

/// True if `compare` holds for an absent key although etcd says that no comparison of a value
/// does.
pub(super) fn holds_only_here(compare: &Compare) -> bool {
    matches!(compare.target, Target::Value(_)) && compare.holds(None)
}

/// The transaction in etcd's words. The branch for when a compare fails begins with a read of
/// each compared key: that is what the caller is told then.
pub(super) fn plan(txn: Txn, options: &EtcdOptions) -> Result<Plan> {
    let mut compares = Vec::with_capacity(txn.compares.len());
    let mut failure = Vec::new();
    let mut current = Vec::with_capacity(txn.compares.len());
    let mut seen: Vec<Bytes> = Vec::new();
    for compare in txn.compares {
        if compare.key.is_empty() {
            // Nothing has the empty key: the answer is known, in words that etcd takes.
            current.push(None);
            if !compare.holds(None) {
                compares.push(never());
            }
            continue;
        }
        let place = seen.iter().position(|key| *key == compare.key).unwrap_or_else(|| {
            failure.push(request(read(Span::single(compare.key.clone()), &Default::default())));
            seen.push(compare.key.clone());
            seen.len() - 1
        });
        current.push(Some(place));
        compares.push(translate(compare));
    }
    if compares.is_empty() {
        // It cannot fail.
        (failure, current) = (Vec::new(), Vec::new());
    }
    let (success, then) = branch(txn.then, Vec::new());
    let (failure, otherwise) = branch(txn.otherwise, failure);
    let size = compares.len().max(success.len()).max(failure.len());
    if size > options.max_txn_ops {
        return Err(Error::TooLarge { what: "transaction", size, limit: options.max_txn_ops });
    }
    let request = proto::TxnRequest { compare: compares, success, failure };
    Ok(Plan { request, then, otherwise, current })
}

fn branch(ops: Vec<Op>, mut requests: Vec<proto::RequestOp>) -> (Vec<proto::RequestOp>, Vec<Step>) {
    let mut steps = Vec::with_capacity(ops.len());
    for op in ops {
        let (step, sent) = match op {
            Op::Put { key, value, lease } => {
                let put = proto::PutRequest {
                    key,
                    value: value.bytes,
                    lease: lease_id(lease),
                    prev_kv: true,
                    ..proto::PutRequest::default()
                };
                (Step::Sent, Some(proto::Request::Put(put)))
            }
            Op::Delete(range) => match Span::of(&range) {
                None => (Step::DeletesNothing, None),
                Some(Span { key, range_end }) => {
                    let delete = proto::DeleteRangeRequest { key, range_end, prev_kv: true };
                    (Step::Sent, Some(proto::Request::DeleteRange(delete)))
                }
            },
            Op::Range(range, options) => match Span::of(&range) {
                None => (Step::ReadsNothing, None),
                Some(span) => {
                    let sent = proto::Request::Range(read(span, &options));
                    (Step::Read(options.at), Some(sent))
                }
            },
        };
        steps.push(step);
        requests.extend(sent.map(|sent| proto::RequestOp { request: Some(sent) }));
    }
    (requests, steps)
}

fn request(range: proto::RangeRequest) -> proto::RequestOp {
    proto::RequestOp { request: Some(proto::Request::Range(range)) }
}

/// A read in etcd's words.
pub(super) fn read(span: Span, options: &RangeOptions) -> proto::RangeRequest {
    proto::RangeRequest {
        key: span.key,
        range_end: span.range_end,
        limit: options.limit.map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX)),
        revision: options.at.map_or(0, signed),
        keys_only: options.keys_only,
        count_only: options.count_only,
        ..proto::RangeRequest::default()
    }
}

/// A condition that never holds.
fn never() -> proto::Compare {
    proto::Compare {
        result: proto::CompareResult::Less.into(),
        target: proto::CompareTarget::Version.into(),
        key: Bytes::from_static(&[0]),
        target_union: Some(proto::TargetUnion::Version(0)),
        range_end: Bytes::new(),
    }
}

fn translate(compare: Compare) -> proto::Compare {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (target, operand) = match compare.target {
        Target::Version(version) => {
            (proto::CompareTarget::Version, proto::TargetUnion::Version(number(version)))
        }
        Target::Created(revision) => {
            let operand = proto::TargetUnion::CreateRevision(signed(revision));
            (proto::CompareTarget::Create, operand)
        }
        Target::Modified(revision) => {
            (proto::CompareTarget::Mod, proto::TargetUnion::ModRevision(signed(revision)))
        }
        Target::Value(bytes) => (proto::CompareTarget::Value, proto::TargetUnion::Value(bytes)),
    };
    let result = match compare.operator {
        Operator::Equal => proto::CompareResult::Equal,
        Operator::NotEqual => proto::CompareResult::NotEqual,
        Operator::Less => proto::CompareResult::Less,
        Operator::Greater => proto::CompareResult::Greater,
    };
    proto::Compare {
        result: result.into(),
        target: target.into(),
        key: compare.key,
        target_union: Some(operand),
        range_end: Bytes::new(),
    }
}

impl Plan {
    /// Whether etcd would answer without asking the other members: it holds neither a condition
    /// nor an operation.
    pub(super) fn asks_nothing(&self) -> bool {
        self.request.compare.is_empty() && self.request.success.is_empty()
    }

    /// What an answer means; none if it does not fit the question.
    pub(super) fn read(&self, response: proto::TxnResponse) -> Option<TxnResult> {
        let now = revision(response.header?.revision);
        let mut responses = response.responses.into_iter();
        let mut current = Vec::new();
        if !response.succeeded {
            let reads = self.current.iter().flatten().max().map_or(0, |last| last + 1);
            let mut held = Vec::with_capacity(reads);
            for _ in 0..reads {
                let Some(proto::Response::Range(range)) = responses.next()?.response else {
                    return None;
                };
                held.push(range.kvs.into_iter().next().map(record));
            }
            current = self.current.iter().map(|at| held[(*at)?].clone()).collect();
        }
        let steps = if response.succeeded { &self.then } else { &self.otherwise };
        let results = steps.iter().map(|step| match step {
            Step::Sent => answer(responses.next()?.response?, now),
            Step::Read(at) => answer(responses.next()?.response?, at.unwrap_or(now)),
            Step::DeletesNothing => Some(OpResult::Delete { deleted: Vec::new() }),
            Step::ReadsNothing => Some(OpResult::Range(Page { revision: now, ..Page::default() })),
        });
        let responses = results.collect::<Option<_>>()?;
        Some(TxnResult { succeeded: response.succeeded, revision: now, responses, current })
    }
}

fn answer(response: proto::Response, shown: Revision) -> Option<OpResult> {
    let records =
        |kvs: Vec<proto::KeyValue>| -> Vec<Record> { kvs.into_iter().map(record).collect() };
    Some(match response {
        proto::Response::Put(put) => OpResult::Put { previous: put.prev_kv.map(record) },
        proto::Response::DeleteRange(delete) => {
            OpResult::Delete { deleted: records(delete.prev_kvs) }
        }
        proto::Response::Range(range) => OpResult::Range(Page {
            revision: shown,
            more: range.more,
            count: u64::try_from(range.count).unwrap_or(0),
            records: records(range.kvs),
        }),
        proto::Response::Txn(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyRange;

    fn planned(txn: Txn) -> Plan {
        plan(txn, &EtcdOptions::new(["http://x:1"])).unwrap()
    }

    #[test]
    fn a_failed_compare_reads_each_key_once() {
        let txn = Txn::default()
            .when(Compare::absent("a"))
            .when(Compare::present("b"))
            .when(Compare::version("a", 3))
            .and_then(Op::put("a", "1"))
            .or_else(Op::delete("b"));
        let plan = planned(txn);
        assert_eq!((plan.request.compare.len(), plan.request.failure.len()), (3, 3));
        assert_eq!(plan.current, [Some(0), Some(1), Some(0)]);
    }

    #[test]
    fn the_empty_key_is_compared_without_being_named() {
        let holds = planned(Txn::default().when(Compare::absent("")));
        assert!(holds.request.compare.is_empty() && holds.asks_nothing());
        let fails = planned(Txn::default().when(Compare::present("")));
        assert_eq!(fails.request.compare, [never()]);
        assert_eq!(fails.current, [None]);
    }

    #[test]
    fn what_can_hold_no_key_is_not_sent() {
        let none = KeyRange::between("b", "a");
        let txn = Txn::default()
            .and_then(Op::delete_range(none.clone()))
            .and_then(Op::put("a", "1"))
            .and_then(Op::range(none, RangeOptions::default()));
        let plan = planned(txn);
        assert_eq!(plan.request.success.len(), 1);
        let put = proto::Response::Put(proto::PutResponse::default());
        let header = proto::ResponseHeader { revision: 7, ..proto::ResponseHeader::default() };
        let response = proto::TxnResponse {
            header: Some(header),
            succeeded: true,
            responses: vec![proto::ResponseOp { response: Some(put) }],
        };
        let result = plan.read(response).unwrap();
        let page = Page { revision: Revision(7), ..Page::default() };
        let expect = [
            OpResult::Delete { deleted: vec![] },
            OpResult::Put { previous: None },
            OpResult::Range(page),
        ];
        assert_eq!(result.responses, expect);
    }

    #[test]
    fn an_answer_that_does_not_fit_is_none() {
        let plan = planned(Txn::default().and_then(Op::put("a", "1")));
        let header = Some(proto::ResponseHeader::default());
        let short = proto::TxnResponse { header, succeeded: true, responses: vec![] };
        assert!(plan.read(short).is_none());
    }

    #[test]
    fn too_many_operations_are_refused_here() {
        let mut txn = Txn::default();
        for n in 0..129 {
            txn = txn.and_then(Op::put(format!("{n}"), "x"));
        }
        let refused = plan(txn, &EtcdOptions::new(["http://x:1"]));
        assert!(matches!(refused, Err(Error::TooLarge { size: 129, limit: 128, .. })));
    }
}
