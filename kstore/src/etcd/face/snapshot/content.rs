//! What a snapshot holds: etcd's buckets.

use prost::Message;

use super::super::super::convert::{key_value, lease_id};
use super::super::super::proto::KeyValue;
use super::super::Shared;
use super::bolt::{Bucket, Entry};
use crate::{KeyRange, RangeOptions, Record, Result, Revision};

/// Records that are read at a time.
const PAGE: usize = 10_000;

/// Buckets that etcd expects, and that hold nothing here.
const EMPTY: [&str; 7] =
    ["alarm", "auth", "authRoles", "authUsers", "cluster", "members", "members_removed"];

/// A lease as etcd keeps it (`leasepb.Lease`).
#[derive(Clone, Copy, PartialEq, Message)]
struct SavedLease {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
    #[prost(int64, tag = "3")]
    remaining_ttl: i64,
}

/// A revision as etcd's files have it: the main one, and a place among those of one transaction.
fn place(main: Revision, sub: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(17);
    bytes.extend_from_slice(&main.0.to_be_bytes());
    bytes.push(b'_');
    bytes.extend_from_slice(&sub.to_be_bytes());
    bytes
}

/// Everything that is there at one revision.
pub(super) async fn read(shared: &Shared) -> Result<(Vec<Bucket>, Revision)> {
    let mut options = RangeOptions::default().limit(PAGE);
    let (mut records, mut range) = (Vec::new(), KeyRange::all());
    let at = loop {
        let page = shared.store.range(range.clone(), options.clone()).await?;
        options.at = Some(page.revision);
        records.extend(page.records);
        match records.last().filter(|_| page.more) {
            Some(last) => range = range.after(&last.key),
            None => break page.revision,
        }
    };
    let mut leases = Vec::new();
    if let Some(all) = shared.store.leases() {
        for lease in all.list().await? {
            // One that ends meanwhile is none of the snapshot's.
            let Ok(left) = all.time_to_live(lease).await else { continue };
            let id = lease_id(Some(lease));
            let ttl = i64::try_from(left.granted.as_secs().max(1)).unwrap_or(i64::MAX);
            let saved = SavedLease { id, ttl, remaining_ttl: 0 };
            leases.push(Entry::new(id.to_be_bytes(), saved.encode_to_vec()));
        }
    }
    leases.sort_by(|a, b| a.key().cmp(b.key()));
    Ok((buckets(records, leases, at), at))
}

/// etcd's buckets, by name.
fn buckets(mut records: Vec<Record>, leases: Vec<Entry>, at: Revision) -> Vec<Bucket> {
    // Keys came in order, and those of one revision keep it.
    records.sort_by_key(|record| record.modified);
    let (mut main, mut sub) = (Revision(0), 0);
    let keys = records.into_iter().map(|record| {
        sub = if record.modified == main { sub + 1 } else { 0 };
        main = record.modified;
        let place = place(main, sub);
        let kv: KeyValue = key_value(record);
        Entry::encoded(place, kv)
    });
    // As if compacted here: then etcd goes on at this revision, whichever wrote last what is left.
    let meta = ["consistent_index", "finishedCompactRev", "scheduledCompactRev"];
    let meta = meta.into_iter().map(|name| {
        let value = match name {
            "consistent_index" => 0_u64.to_be_bytes().to_vec(),
            _ => place(at, 0),
        };
        Entry::new(name, value)
    });
    let mut buckets = vec![
        Bucket { name: "key", entries: keys.collect() },
        Bucket { name: "lease", entries: leases },
        Bucket { name: "meta", entries: meta.collect() },
    ];
    buckets.extend(EMPTY.into_iter().map(|name| Bucket { name, entries: Vec::new() }));
    buckets.sort_by_key(|bucket| bucket.name);
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn keys_of_one_revision_have_places_of_their_own() {
        let record = |key: &'static str, modified: u64| Record {
            key: key.into(),
            value: Value::new("x"),
            created: Revision(modified),
            modified: Revision(modified),
            version: 1,
            lease: None,
        };
        let records = vec![record("a", 3), record("b", 2), record("c", 3)];
        let buckets = buckets(records, Vec::new(), Revision(9));
        let keys = buckets.iter().find(|bucket| bucket.name == "key").unwrap();
        let places: Vec<&[u8]> = keys.entries.iter().map(Entry::key).collect();
        let (b, a, c) = (place(Revision(2), 0), place(Revision(3), 0), place(Revision(3), 1));
        assert_eq!(places, [&b[..], &a[..], &c[..]]);
        assert_eq!(b, b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0");
        assert!(buckets.is_sorted_by_key(|bucket| bucket.name) && buckets.len() == 10);
    }
}
