//! etcd's transactions as ours.

use tonic::Status;

use super::super::convert::{key_value, lease, revision};
use super::super::proto::{
    self, CompareResult, CompareTarget, DeleteRangeRequest, PutRequest, Request, RequestOp,
    Response, ResponseHeader, ResponseOp, TargetUnion, TxnRequest, TxnResponse,
};
use super::super::span::Span;
use super::super::text;
use super::select::Selection;
use crate::{Compare, Op, OpResult, Operator, Target, Txn, TxnResult};

/// What is told of one operation.
#[derive(Debug)]
enum Tell {
    Range(Box<Selection>),
    Put { previous: bool },
    Delete { previous: bool },
}

/// A transaction, and how its result is told.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) txn: Txn,
    then: Vec<Tell>,
    otherwise: Vec<Tell>,
}

pub(super) fn translate(request: TxnRequest) -> Result<Translated, Status> {
    let mut txn = Txn::default();
    for condition in request.compare {
        let compare = compare(condition)?;
        // To etcd no value of an absent key compares, to us it is an empty one.
        if matches!(compare.target, Target::Value(_)) && compare.holds(None) {
            txn.compares.push(Compare::present(compare.key.clone()));
        }
        txn.compares.push(compare);
    }
    let (then, told_then) = branch(request.success)?;
    let (otherwise, told_otherwise) = branch(request.failure)?;
    (txn.then, txn.otherwise) = (then, otherwise);
    Ok(Translated { txn, then: told_then, otherwise: told_otherwise })
}

fn branch(requests: Vec<RequestOp>) -> Result<(Vec<Op>, Vec<Tell>), Status> {
    let mut ops = Vec::with_capacity(requests.len());
    let mut told = Vec::with_capacity(requests.len());
    for request in requests {
        let Some(request) = request.request else {
            return Err(Status::invalid_argument("etcdserver: an operation is empty"));
        };
        let (op, tell) = match request {
            Request::Range(range) => {
                let selection = Selection::of(range)?;
                let op = Op::range(selection.range.clone(), selection.options.clone());
                (op, Tell::Range(Box::new(selection)))
            }
            Request::Put(put) => {
                if put.ignore_value || put.ignore_lease {
                    let what = "a put within a transaction that keeps its value or its lease";
                    return Err(unimplemented(what));
                }
                let previous = put.prev_kv;
                (self::put(put)?, Tell::Put { previous })
            }
            Request::DeleteRange(delete) => {
                let previous = delete.prev_kv;
                (self::delete(delete)?, Tell::Delete { previous })
            }
            Request::Txn(_) => return Err(unimplemented("a transaction within a transaction")),
        };
        ops.push(op);
        told.push(tell);
    }
    Ok((ops, told))
}

fn unimplemented(what: &str) -> Status {
    Status::unimplemented(format!("{what} is not supported by this server"))
}

/// A put that neither keeps its value nor its lease.
pub(super) fn put(request: PutRequest) -> Result<Op, Status> {
    if request.key.is_empty() {
        return Err(Status::invalid_argument(text::EMPTY_KEY));
    }
    let lease = lease(request.lease);
    Ok(Op::Put { key: request.key, value: request.value.into(), lease })
}

pub(super) fn delete(request: DeleteRangeRequest) -> Result<Op, Status> {
    if request.key.is_empty() {
        return Err(Status::invalid_argument(text::EMPTY_KEY));
    }
    let range = Span { key: request.key, range_end: request.range_end }.range();
    Ok(Op::delete_range(range))
}

fn compare(condition: proto::Compare) -> Result<Compare, Status> {
    if condition.key.is_empty() {
        return Err(Status::invalid_argument(text::EMPTY_KEY));
    }
    if !condition.range_end.is_empty() {
        return Err(unimplemented("a condition on a range of keys"));
    }
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let unknown = || Status::invalid_argument("etcdserver: a condition is unknown");
    let target = CompareTarget::try_from(condition.target).map_err(|_| unknown())?;
    let target = match (target, condition.target_union) {
        (CompareTarget::Version, Some(TargetUnion::Version(v))) => Target::Version(number(v)),
        (CompareTarget::Version, None) => Target::Version(0),
        (CompareTarget::Create, Some(TargetUnion::CreateRevision(r))) => {
            Target::Created(revision(r))
        }
        (CompareTarget::Create, None) => Target::Created(revision(0)),
        (CompareTarget::Mod, Some(TargetUnion::ModRevision(r))) => Target::Modified(revision(r)),
        (CompareTarget::Mod, None) => Target::Modified(revision(0)),
        (CompareTarget::Value, Some(TargetUnion::Value(bytes))) => Target::Value(bytes),
        (CompareTarget::Value, None) => Target::Value(bytes::Bytes::new()),
        (CompareTarget::Lease, _) => return Err(unimplemented("a condition on a lease")),
        _ => return Err(unknown()),
    };
    let operator = match CompareResult::try_from(condition.result).map_err(|_| unknown())? {
        CompareResult::Equal => Operator::Equal,
        CompareResult::NotEqual => Operator::NotEqual,
        CompareResult::Less => Operator::Less,
        CompareResult::Greater => Operator::Greater,
    };
    Ok(Compare { key: condition.key, target, operator })
}

impl Translated {
    /// How a result is told.
    pub(super) fn tell(&self, header: Option<ResponseHeader>, result: TxnResult) -> TxnResponse {
        let told = if result.succeeded { &self.then } else { &self.otherwise };
        let answers = told.iter().zip(result.responses).filter_map(|(tell, result)| {
            Some(ResponseOp { response: Some(answer(tell, header, result)?) })
        });
        TxnResponse { header, succeeded: result.succeeded, responses: answers.collect() }
    }
}

fn answer(tell: &Tell, header: Option<ResponseHeader>, result: OpResult) -> Option<Response> {
    Some(match (tell, result) {
        (Tell::Range(selection), OpResult::Range(page)) => {
            Response::Range(proto::RangeResponse { header, ..selection.answer(page) })
        }
        (Tell::Put { previous }, OpResult::Put { previous: held }) => {
            let prev_kv = held.filter(|_| *previous).map(key_value);
            Response::Put(proto::PutResponse { header, prev_kv })
        }
        (Tell::Delete { previous }, OpResult::Delete { deleted }) => {
            let count = i64::try_from(deleted.len()).unwrap_or(i64::MAX);
            let held = if *previous { deleted } else { Vec::new() };
            let prev_kvs = held.into_iter().map(key_value).collect();
            Response::DeleteRange(proto::DeleteRangeResponse { header, deleted: count, prev_kvs })
        }
        // A store answers each operation in kind.
        _ => return None,
    })
}
