//! X10: whatever a stranger sends, the face answers.

use kcore::random::Random;
use prost::Message;

use super::super::proto::{
    self, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseTimeToLiveRequest, PutRequest, RangeRequest, TxnRequest,
};
use super::EtcdFace;
use crate::{MemoryOptions, MemoryStore};

/// Inputs tried.
const INPUTS: u64 = 20_000;

/// Requests as they are, to be bent.
fn seeds() -> Vec<Vec<u8>> {
    let range = RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: 3,
        revision: 2,
        sort_order: proto::SortOrder::Descend.into(),
        sort_target: proto::SortTarget::Value.into(),
        min_mod_revision: 1,
        ..RangeRequest::default()
    };
    let put =
        PutRequest { key: "a".into(), value: "v".into(), prev_kv: true, ..Default::default() };
    let delete = DeleteRangeRequest { key: "a".into(), range_end: "c".into(), prev_kv: true };
    let compare = proto::Compare {
        key: "a".into(),
        target: proto::CompareTarget::Value.into(),
        target_union: Some(proto::TargetUnion::Value("v".into())),
        ..proto::Compare::default()
    };
    let op = |request| proto::RequestOp { request: Some(request) };
    let txn = TxnRequest {
        compare: vec![compare],
        success: vec![
            op(proto::Request::Put(put.clone())),
            op(proto::Request::Range(range.clone())),
        ],
        failure: vec![op(proto::Request::DeleteRange(delete.clone()))],
    };
    vec![range.encode_to_vec(), put.encode_to_vec(), delete.encode_to_vec(), txn.encode_to_vec()]
}

/// A seed with some of its bytes changed, left out, doubled or drawn anew.
fn bend(random: &Random, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        // A seed is short: its length fits.
        let at = random.below(bytes.len().max(1) as u64) as usize;
        match random.below(4) {
            0 if !bytes.is_empty() => drop(bytes.remove(at)),
            1 => bytes.insert(at, random.next_u64() as u8),
            2 if !bytes.is_empty() => bytes[at] = random.next_u64() as u8,
            _ => bytes.extend_from_slice(&seed[..at.min(seed.len())]),
        }
    }
    bytes
}

#[tokio::test]
async fn no_bytes_make_the_face_panic_x10() {
    let store = MemoryStore::with_options(MemoryOptions::default().quota_bytes(1 << 20));
    let face = EtcdFace::new(store).shared;
    let random = Random::seeded(1);
    let seeds = seeds();
    let mut answered = 0;
    for n in 0..INPUTS {
        let bytes = bend(&random, &seeds[n as usize % seeds.len()]);
        let input = &bytes[..];
        // What becomes of it does not matter, as long as it is an answer.
        if let Ok(request) = TxnRequest::decode(input) {
            answered += u32::from(face.txn(request).await.is_ok());
        }
        if let Ok(request) = RangeRequest::decode(input) {
            answered += u32::from(face.range(request).await.is_ok());
        }
        if let Ok(request) = PutRequest::decode(input) {
            answered += u32::from(face.put(request).await.is_ok());
        }
        if let Ok(request) = DeleteRangeRequest::decode(input) {
            answered += u32::from(face.delete_range(request).await.is_ok());
        }
        if let Ok(request) = CompactionRequest::decode(input) {
            answered += u32::from(face.compact(request).await.is_ok());
        }
        if let Ok(request) = LeaseGrantRequest::decode(input) {
            answered += u32::from(face.lease_grant(request).await.is_ok());
        }
        if let Ok(request) = LeaseTimeToLiveRequest::decode(input) {
            answered += u32::from(face.lease_time_to_live(request).await.is_ok());
        }
        if let Ok(request) = LeaseKeepAliveRequest::decode(input) {
            answered += u32::from(face.lease_keep_alive(request).await.is_ok());
        }
    }
    assert!(u64::from(answered) > INPUTS / 10, "many inputs mean something: {answered}");
}
