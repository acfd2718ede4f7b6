//! Real `etcdctl` against the face of a store, and real etcd on what it saved.
#![cfg(all(feature = "etcd", feature = "etcd-server"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it did")]

mod real_etcd;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kstore::{
    EtcdFace, EtcdFaceOptions, EtcdStore, JournalStore, KeyRange, MemoryOptions, MemoryStore, Op,
    Store, StoreExt, Txn,
};
use real_etcd::{Etcd, tool};
use tokio::net::TcpListener;

/// A face for a store, and etcdctl.
struct Ctl {
    program: String,
    endpoint: String,
}

impl Ctl {
    /// Serves `store` for as long as the runtime lives; none where there is no etcdctl.
    async fn over(store: impl Store) -> Option<Self> {
        let program = tool("KUBRICK_ETCDCTL")?;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Without a scheme: what asks one member (status, defrag) makes it part of the authority,
        // which HTTP/2 in Rust refuses.
        let endpoint = listener.local_addr().unwrap().to_string();
        let url = format!("http://{endpoint}");
        let options = EtcdFaceOptions::default().name("face").client_urls([url]);
        let face = EtcdFace::with_options(store, options);
        tokio::spawn(face.serve(listener, std::future::pending()));
        Some(Self { program, endpoint })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.endpoint]).args(arguments);
        command
    }

    /// Runs etcdctl with something to read, and returns whether it succeeded and all it said.
    async fn run(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut command = self.command(arguments);
        let input = input.to_owned();
        let running = tokio::task::spawn_blocking(move || {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text += &String::from_utf8_lossy(&output.stderr);
            (output.status.success(), text)
        });
        let (success, text) = running.await.unwrap();
        println!("etcdctl {}\n{text}", arguments.join(" "));
        (success, text)
    }

    /// Runs etcdctl, which has to succeed.
    async fn ok(&self, arguments: &[&str]) -> String {
        let (success, text) = self.run(arguments, "").await;
        assert!(success, "etcdctl {arguments:?}: {text}");
        text
    }

    /// Runs etcdctl, which has to fail with this text.
    async fn fails(&self, arguments: &[&str], with: &str) {
        let (success, text) = self.run(arguments, "").await;
        assert!(!success && text.contains(with), "etcdctl {arguments:?}: {text}");
    }
}

/// A watch that etcdctl prints, ended when this is dropped.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn retaining() -> MemoryStore {
    MemoryStore::with_options(MemoryOptions::default().retain_all())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_put_read_and_deleted() {
    let Some(ctl) = Ctl::over(retaining()).await else { return };
    for (key, value) in [("a/1", "one"), ("a/2", "two"), ("b", "three"), ("a/1", "uno")] {
        assert_eq!(ctl.ok(&["put", key, value]).await, "OK\n");
    }
    assert_eq!(ctl.ok(&["get", "a/1"]).await, "a/1\nuno\n");
    assert_eq!(ctl.ok(&["get", "--prefix", "a/"]).await, "a/1\nuno\na/2\ntwo\n");
    assert_eq!(ctl.ok(&["get", "--rev", "2", "--prefix", ""]).await, "a/1\none\n");
    assert_eq!(ctl.ok(&["get", "--from-key", "a/2", "--keys-only"]).await, "a/2\n\nb\n\n");
    let sorted = ["get", "--prefix", "", "--sort-by", "MODIFY", "--order", "DESCEND", "--limit=2"];
    assert_eq!(ctl.ok(&sorted).await, "a/1\nuno\nb\nthree\n");
    let count = ctl.ok(&["get", "--prefix", "", "--limit", "1", "-w", "json"]).await;
    assert!(count.contains("\"more\":true") && count.contains("\"count\":3"), "{count}");
    assert!(count.contains("\"revision\":5"), "{count}");
    assert_eq!(ctl.ok(&["put", "--prev-kv", "b", "drei"]).await, "OK\nb\nthree\n");
    assert_eq!(ctl.ok(&["put", "--ignore-lease", "b", "tres"]).await, "OK\n");
    assert_eq!(ctl.ok(&["del", "--prev-kv", "--prefix", "a/"]).await, "2\na/1\nuno\na/2\ntwo\n");
    ctl.fails(&["put", "", "x"], "etcdserver: key is not provided").await;
    ctl.fails(&["put", "--ignore-value", "none"], "etcdserver: key not found").await;
    let future = "etcdserver: mvcc: required revision is a future revision";
    ctl.fails(&["get", "b", "--rev", "99"], future).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_and_compaction_are_done() {
    let Some(ctl) = Ctl::over(retaining()).await else { return };
    ctl.ok(&["put", "a", "1"]).await;
    let conditions = "ver(\"new\") = \"0\"\nmod(\"a\") > \"1\"\nval(\"a\") = \"1\"\n";
    let create = format!("{conditions}\nput new yes\nget a\n\nget new\n\n");
    let (success, text) = ctl.run(&["txn"], &create).await;
    assert!(success && text.contains("SUCCESS\n\nOK\n\na\n1\n"), "{text}");
    let (success, text) = ctl.run(&["txn"], &create).await;
    assert!(success && text.contains("FAILURE\n\nnew\nyes\n"), "{text}");
    let (_, text) = ctl.run(&["txn"], "\nput k 1\nput k 2\n\n\n").await;
    assert!(text.contains("etcdserver: duplicate key given in txn request"), "{text}");
    ctl.ok(&["put", "a", "2"]).await;
    assert_eq!(ctl.ok(&["compact", "4"]).await, "compacted revision 4\n");
    let gone = "etcdserver: mvcc: required revision has been compacted";
    ctl.fails(&["compact", "4"], gone).await;
    ctl.fails(&["get", "a", "--rev", "2"], gone).await;
    ctl.fails(&["compact", "99"], "required revision is a future revision").await;
    ctl.ok(&["defrag"]).await;
}

/// S6.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_what_was_and_what_comes() {
    let Some(ctl) = Ctl::over(retaining()).await else { return };
    for value in ["1", "2"] {
        ctl.ok(&["put", "w/a", value]).await;
    }
    ctl.ok(&["put", "other", "x"]).await;
    let arguments = ["watch", "--prefix", "w/", "--rev", "2", "--prev-kv"];
    let mut command = ctl.command(&arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _watching = Watching(child);
    ctl.ok(&["del", "w/a"]).await;
    let expect =
        ["PUT", "w/a", "1", "PUT", "w/a", "1", "w/a", "2", "DELETE", "w/a", "2", "w/a", ""];
    let told = tokio::task::spawn_blocking(move || {
        lines.take(expect.len()).map(Result::unwrap).collect::<Vec<_>>()
    });
    let told = tokio::time::timeout(Duration::from_secs(20), told).await.unwrap().unwrap();
    assert_eq!(told, expect);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_granted_renewed_and_revoked() {
    let Some(ctl) = Ctl::over(MemoryStore::new()).await else { return };
    let granted = ctl.ok(&["lease", "grant", "100"]).await;
    let id = granted.split_whitespace().nth(1).unwrap().to_owned();
    assert!(granted.contains("granted with TTL(100s)"), "{granted}");
    ctl.ok(&["put", "--lease", &id, "held", "x"]).await;
    let renewed = ctl.ok(&["lease", "keep-alive", "--once", &id]).await;
    assert!(renewed.contains("keepalived with TTL(100)"), "{renewed}");
    let left = ctl.ok(&["lease", "timetolive", "--keys", &id]).await;
    assert!(left.contains("granted with TTL(100s)") && left.contains("[held]"), "{left}");
    assert!(ctl.ok(&["lease", "list"]).await.contains(&id));
    assert!(ctl.ok(&["lease", "revoke", &id]).await.contains("revoked"));
    assert_eq!(ctl.ok(&["get", "held"]).await, "");
    let gone = ctl.ok(&["lease", "timetolive", &id]).await;
    assert!(gone.contains("already expired"), "{gone}");
    ctl.fails(&["lease", "revoke", &id], "requested lease not found").await;
    ctl.fails(&["put", "--lease", &id, "k", "x"], "requested lease not found").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_one_healthy_member() {
    let options = MemoryOptions::default().quota_bytes(1000);
    let Some(ctl) = Ctl::over(MemoryStore::with_options(options)).await else { return };
    ctl.ok(&["put", "a", "1"]).await;
    let table = ctl.ok(&["endpoint", "status", "-w", "table"]).await;
    assert!(table.contains("3.5.13") && table.contains(&ctl.endpoint), "{table}");
    assert!(table.contains("true"), "it leads: {table}");
    assert!(ctl.ok(&["member", "list"]).await.contains("started, face"));
    assert!(ctl.ok(&["endpoint", "health"]).await.contains("is healthy"));
    let hash = ctl.ok(&["endpoint", "hashkv"]).await;
    assert!(hash.starts_with(&ctl.endpoint), "{hash}");
    // Over quota there is an alarm, until a write is taken again.
    let large = "x".repeat(2000);
    ctl.fails(&["put", "b", &large], "etcdserver: mvcc: database space exceeded").await;
    assert!(ctl.ok(&["alarm", "list"]).await.contains("NOSPACE"));
    ctl.ok(&["alarm", "disarm"]).await;
    assert_eq!(ctl.ok(&["alarm", "list"]).await, "");
}

/// It takes a minute with etcdctl's smallest load, so it is the longest of these.
#[tokio::test(flavor = "multi_thread")]
async fn the_performance_check_passes() {
    let dir = tempfile::tempdir().unwrap();
    let store = JournalStore::open(dir.path()).unwrap();
    let Some(ctl) = Ctl::over(store).await else { return };
    // Whether this machine is quick enough is the machine's; that the check ran to its end is ours.
    let (_, text) = ctl.run(&["check", "perf", "--load", "s"], "").await;
    assert!(text.contains("Throughput") && !text.contains("rpc error"), "{text}");
}

/// What etcdctl saves from the face is etcd's own format: real etcd goes on from it at the same
/// revision, with the same keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_becomes_a_real_etcd() {
    let store = retaining();
    let Some(ctl) = Ctl::over(store.clone()).await else { return };
    for n in 0..3000 {
        // Some larger than a page of the file, some written again.
        let size = if n % 500 == 0 { 20_000 } else { 40 };
        store.put(format!("k/{:04}", n % 2500), vec![b'x'; size]).await.unwrap();
    }
    let both = Txn::default().and_then(Op::put("t/a", "1")).and_then(Op::put("t/b", "2"));
    store.txn(both).await.unwrap();
    // The last revision is a deletion, which leaves nothing behind.
    store.delete("k/0007").await.unwrap();
    let expect = store.list(KeyRange::all()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.db").display().to_string();
    let saved = ctl.ok(&["snapshot", "save", &file]).await;
    assert!(saved.contains("Snapshot saved at"), "{saved}");
    let status = ctl.ok(&["snapshot", "status", &file, "-w", "json"]).await;
    // Keys, and three of etcd's own.
    let keys = format!("\"totalKey\":{}", expect.count + 3);
    assert!(status.contains(&keys), "{status}, not {keys}");
    let Some(mut etcd) = Etcd::new(1, dir) else { return };
    let member = &etcd.members[0];
    let data = etcd.dir().join("m0").display().to_string();
    let cluster = format!("m0={}", member.peer);
    let restore = ["snapshot", "restore", &file, "--data-dir", &data, "--name", "m0"];
    let peers = ["--initial-cluster", &cluster, "--initial-advertise-peer-urls", &member.peer];
    ctl.ok(&[&restore[..], &peers[..]].concat()).await;
    etcd.start().await;
    let real = EtcdStore::connect(etcd.options()).await.unwrap();
    let restored = real.list(KeyRange::all()).await.unwrap();
    assert_eq!(restored.revision, expect.revision, "time does not go back");
    assert!(restored.records == expect.records, "every key is as it was");
    let next = real.put("k/0007", "again").await.unwrap();
    assert_eq!(next, expect.revision.next());
}
