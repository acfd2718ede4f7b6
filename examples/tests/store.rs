//! Real etcdctl against `store serve`, and what an operator does with its directory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The example's binary: cargo builds examples before it runs tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples/store")
}

/// Runs the program, and returns whether it succeeded and all it said.
fn store(arguments: &[&str]) -> (bool, String) {
    said(Command::new(program()).args(arguments), "")
}

fn said(command: &mut Command, input: &str) -> (bool, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// A store that is served.
struct Served {
    child: Child,
    address: String,
    etcdctl: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    fn start(directory: &Path) -> Option<Self> {
        let etcdctl = std::env::var("KUBRICK_ETCDCTL").ok();
        let required = std::env::var_os("KUBRICK_REQUIRE_TOOLS").is_some();
        assert!(etcdctl.is_some() || !required, "KUBRICK_ETCDCTL is not set; `cargo xtask test`");
        let Some(etcdctl) = etcdctl else {
            println!("did not run: no etcdctl; `cargo xtask test` fetches one");
            return None;
        };
        let mut child = Command::new(program())
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_once("API at ").unwrap().1.split(':').take(2);
        let address = address.collect::<Vec<_>>().join(":");
        Some(Self { child, address, etcdctl })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.etcdctl);
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.address]).args(arguments);
        command
    }

    fn ok(&self, arguments: &[&str], input: &str) -> String {
        let (success, text) = said(&mut self.command(arguments), input);
        assert!(success, "etcdctl {arguments:?}: {text}");
        text
    }
}

#[test]
fn etcdctl_uses_a_store_that_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let Some(served) = Served::start(&data) else { return };
    assert_eq!(served.ok(&["put", "a/1", "one"], ""), "OK\n");
    assert_eq!(served.ok(&["put", "a/2", "two"], ""), "OK\n");
    assert_eq!(served.ok(&["get", "--prefix", "a/"], ""), "a/1\none\na/2\ntwo\n");
    let txn = "value(\"a/1\") = \"one\"\n\nput a/1 uno\n\nget a/1\n\n";
    assert!(served.ok(&["txn", "--interactive"], txn).contains("SUCCESS"));
    let lease = served.ok(&["lease", "grant", "600"], "");
    assert!(lease.contains("granted with TTL(600s)"), "{lease}");
    // A watch from a revision tells what happened since, and goes on.
    let mut watch = served.command(&["watch", "--rev", "2", "--prefix", "a/"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.map(Result::unwrap).take(9).collect();
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(lines.concat(), "PUTa/1onePUTa/2twoPUTa/1uno");
    let table = served.ok(&["endpoint", "status", "-w", "table"], "");
    assert!(table.contains(&served.address) && table.contains("true"), "{table}");
    assert!(served.ok(&["compact", "3"], "").contains("compacted revision 3"));
    let (success, text) = said(&mut served.command(&["get", "--rev", "2", "a/1"]), "");
    assert!(!success && text.contains("required revision has been compacted"), "{text}");
    let file = directory.path().join("etcd.db");
    let saved = served.ok(&["snapshot", "save", file.to_str().unwrap()], "");
    assert!(saved.contains("Snapshot saved at") && file.exists(), "{saved}");
}

#[test]
fn etcdctl_checks_the_performance_of_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let Some(served) = Served::start(directory.path()) else { return };
    // It fails where the machine is too slow for it; that it measures is what is tested.
    let (_, text) = said(&mut served.command(&["check", "perf", "--load", "s"]), "");
    assert!(text.contains("Throughput") && !text.contains("error"), "{text}");
}

#[test]
fn a_directory_is_backed_up_restored_verified_and_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (data, file, again) = (path("data"), path("backup"), path("again"));
    let Some(mut served) = Served::start(Path::new(&data)) else { return };
    for n in 0..50 {
        served.ok(&["put", "key", &n.to_string()], "");
    }
    // While it is served.
    let (success, text) = store(&["backup", "--data-dir", &data, "--file", &file]);
    assert!(success && text.contains("revision 51, 1 keys"), "{text}");
    let (success, stat) = store(&["stat", "--data-dir", &data]);
    assert!(success && stat.contains("revision   51"), "{stat}");
    let (success, text) = store(&["compact", "--data-dir", &data]);
    assert!(!success && text.contains("in use by another process"), "{text}");
    served.child.kill().unwrap();
    served.child.wait().unwrap();
    let (success, text) = store(&["verify", "--data-dir", &data]);
    assert!(success && text.contains("0 damaged"), "{text}");
    let (success, text) = store(&["compact", "--data-dir", &data]);
    assert!(success && text.contains("compacted through 51"), "{text}");
    let restore = ["restore", "--data-dir", &again, "--file", &file, "--bump", "1000"];
    let (success, text) = store(&restore);
    assert!(success && text.contains("revision 1051, 1 keys"), "{text}");
    let (success, text) = store(&restore);
    assert!(!success && text.contains("is not empty: name a new directory"), "{text}");
    let served = Served::start(Path::new(&again)).unwrap();
    assert_eq!(served.ok(&["get", "key"], ""), "key\n49\n");
    assert!(served.ok(&["put", "key", "new", "-w", "json"], "").contains("\"revision\":1052"));
    drop(served);
    // One bit of it.
    let log = std::fs::read_dir(&again).unwrap().map(|entry| entry.unwrap().path());
    let snapshot = log.into_iter().find(|path| path.to_string_lossy().contains("snapshot"));
    let mut bytes = std::fs::read(snapshot.as_ref().unwrap()).unwrap();
    bytes[600] ^= 1;
    std::fs::write(snapshot.unwrap(), bytes).unwrap();
    let (success, text) = store(&["verify", "--data-dir", &again]);
    assert!(!success && text.contains("is damaged at byte 512"), "{text}");
}
