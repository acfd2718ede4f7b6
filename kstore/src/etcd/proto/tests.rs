//! The messages against bytes that real etcd and etcdctl send.

use bytes::Bytes;
use prost::Message as _;

use super::*;

/// The message has these bytes, and they have this message.
fn check<M: prost::Message + Default + PartialEq + std::fmt::Debug>(message: M, bytes: &[u8]) {
    assert_eq!(message.encode_to_vec(), bytes);
    assert_eq!(M::decode(bytes).unwrap(), message);
}

#[test]
fn puts_and_ranges_have_known_bytes() {
    let put = PutRequest {
        key: "a".into(),
        value: "b".into(),
        lease: 5,
        prev_kv: true,
        ..PutRequest::default()
    };
    check(put, b"\x0a\x01a\x12\x01b\x18\x05\x20\x01");
    let range = RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: 500,
        revision: 7,
        sort_order: SortOrder::Descend.into(),
        sort_target: SortTarget::Mod.into(),
        max_create_revision: 9,
        ..RangeRequest::default()
    };
    check(range, b"\x0a\x01a\x12\x01b\x18\xf4\x03\x20\x07\x28\x02\x30\x03\x68\x09");
    let kv = KeyValue {
        key: "k".into(),
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        value: "v".into(),
        lease: 0,
    };
    let header = ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 };
    let response = RangeResponse { header: Some(header), kvs: vec![kv], more: true, count: 9 };
    let bytes = b"\x0a\x08\x08\x01\x10\x02\x18\x03\x20\x04\
        \x12\x0c\x0a\x01k\x10\x02\x18\x03\x20\x02\x2a\x01v\x18\x01\x20\x09";
    check(response, bytes);
}

#[test]
fn transactions_have_known_bytes() {
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: "a".into(),
        target_union: Some(TargetUnion::ModRevision(0)),
        range_end: Bytes::new(),
    };
    let put = PutRequest { key: "a".into(), value: "1".into(), ..PutRequest::default() };
    let get = RangeRequest { key: "a".into(), ..RangeRequest::default() };
    let txn = TxnRequest {
        compare: vec![compare],
        success: vec![RequestOp { request: Some(Request::Put(put)) }],
        failure: vec![RequestOp { request: Some(Request::Range(get)) }],
    };
    // An operand of zero is sent: a field of a union is either there or not.
    let bytes = b"\x0a\x07\x10\x02\x1a\x01a\x30\x00\
        \x12\x08\x12\x06\x0a\x01a\x12\x011\x1a\x05\x0a\x03\x0a\x01a";
    check(txn, bytes);
}

#[test]
fn watches_have_known_bytes() {
    let create = WatchCreateRequest {
        key: "a".into(),
        range_end: Bytes::from_static(&[0]),
        start_revision: 3,
        progress_notify: true,
        filters: vec![FilterType::NoDelete.into()],
        prev_kv: true,
        watch_id: 0,
        fragment: true,
    };
    let request = WatchRequest { request_union: Some(WatchRequestUnion::Create(create)) };
    let bytes = b"\x0a\x11\x0a\x01a\x12\x01\x00\x18\x03\x20\x01\x2a\x01\x01\x30\x01\x40\x01";
    check(request, bytes);
    let progress = WatchRequestUnion::Progress(WatchProgressRequest {});
    check(WatchRequest { request_union: Some(progress) }, b"\x1a\x00");
    let kv = KeyValue { key: "k".into(), mod_revision: 3, ..KeyValue::default() };
    let event = Event { r#type: EventType::Delete.into(), kv: Some(kv), prev_kv: None };
    let response = WatchResponse { watch_id: -1, events: vec![event], ..WatchResponse::default() };
    let bytes = b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\
        \x5a\x09\x08\x01\x12\x05\x0a\x01k\x18\x03";
    check(response, bytes);
}

#[test]
fn leases_status_and_alarms_have_known_bytes() {
    let left = LeaseTimeToLiveResponse {
        header: None,
        id: 1,
        ttl: -1,
        granted_ttl: 60,
        keys: vec!["a".into(), "b".into()],
    };
    let bytes = b"\x10\x01\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x20\x3c\
        \x2a\x01a\x2a\x01b";
    check(left, bytes);
    let status = StatusResponse {
        version: "3.4.23".into(),
        db_size: 4096,
        leader: 7,
        errors: vec!["x".into()],
        db_size_in_use: 1,
        db_size_quota: 2,
        ..StatusResponse::default()
    };
    check(status, b"\x12\x063.4.23\x18\x80\x20\x20\x07\x42\x01x\x48\x01\x60\x02");
    let alarm = AlarmMember { member_id: 3, alarm: AlarmType::NoSpace.into() };
    check(AlarmResponse { header: None, alarms: vec![alarm] }, b"\x12\x04\x08\x03\x10\x01");
    let member = Member {
        id: 1,
        name: "m".into(),
        peer_urls: vec!["p".into()],
        client_urls: vec!["c".into()],
        is_learner: false,
    };
    let list = MemberListResponse { header: None, members: vec![member] };
    check(list, b"\x12\x0b\x08\x01\x12\x01m\x1a\x01p\x22\x01c");
}

#[test]
fn unknown_fields_of_newer_servers_are_skipped() {
    let bytes = b"\x12\x063.6.1\x20\xaa\x06\x03abc";
    let known = StatusResponse { version: "3.6.1 ".into(), ..StatusResponse::default() };
    assert_eq!(StatusResponse::decode(&bytes[..]).unwrap(), known);
}

#[test]
fn values_are_in_no_debug_output() {
    let secret = "hush";
    let put = PutRequest { key: "k".into(), value: secret.into(), ..PutRequest::default() };
    let kv = KeyValue { key: "k".into(), value: secret.into(), ..KeyValue::default() };
    let compare = TargetUnion::Value(secret.into());
    let user = AuthenticateRequest { name: "n".into(), password: secret.into() };
    let token = AuthenticateResponse { header: None, token: secret.into() };
    let blob = SnapshotResponse { blob: secret.into(), ..SnapshotResponse::default() };
    let text = format!("{put:?} {kv:?} {compare:?} {user:?} {token:?} {blob:?}");
    assert!(!text.contains(secret) && !text.contains("104"), "{text}");
}
