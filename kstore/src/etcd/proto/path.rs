//! The paths of etcd's methods.

/// Reads keys.
pub const RANGE: &str = "/etcdserverpb.KV/Range";
/// Writes a key.
pub const PUT: &str = "/etcdserverpb.KV/Put";
/// Deletes keys.
pub const DELETE_RANGE: &str = "/etcdserverpb.KV/DeleteRange";
/// Compares, then reads and writes.
pub const TXN: &str = "/etcdserverpb.KV/Txn";
/// Forgets history.
pub const COMPACT: &str = "/etcdserverpb.KV/Compact";
/// Tells changes, in both directions.
pub const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// Makes a lease.
pub const LEASE_GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
/// Ends a lease.
pub const LEASE_REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
/// Renews leases, in both directions.
pub const LEASE_KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
/// Tells what is left of a lease.
pub const LEASE_TIME_TO_LIVE: &str = "/etcdserverpb.Lease/LeaseTimeToLive";
/// Lists leases.
pub const LEASE_LEASES: &str = "/etcdserverpb.Lease/LeaseLeases";
/// Lists members.
pub const MEMBER_LIST: &str = "/etcdserverpb.Cluster/MemberList";
/// Lists, raises and disarms alarms.
pub const ALARM: &str = "/etcdserverpb.Maintenance/Alarm";
/// Tells how one member is doing.
pub const STATUS: &str = "/etcdserverpb.Maintenance/Status";
/// Gives disk back.
pub const DEFRAGMENT: &str = "/etcdserverpb.Maintenance/Defragment";
/// The hash of the whole backend.
pub const HASH: &str = "/etcdserverpb.Maintenance/Hash";
/// The hash of the keys up to a revision.
pub const HASH_KV: &str = "/etcdserverpb.Maintenance/HashKV";
/// Streams the whole backend.
pub const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";
/// Trades a name and a password for a token.
pub const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
