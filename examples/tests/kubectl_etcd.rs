//! The `etcd_backend` example: three API servers over three members of real etcd, behind Debian's
//! haproxy. Any server and any member goes, and what kubectl follows goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "../../kstore/tests/real_etcd/mod.rs"]
mod real_etcd;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use common::{MANIFEST, eventually};
use kstore::EtcdStore;
use parking_lot::Mutex;
use real_etcd::{Etcd, scratch, tool};
use tempfile::TempDir;

/// A process that ends with this value.
struct Process(Child);

impl Process {
    /// Asks it to end, and waits until it has.
    fn stop(&mut self) {
        signal(self.0.id(), rustix::process::Signal::TERM);
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            self.stop();
        }
    }
}

fn signal(id: u32, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    rustix::process::kill_process(id, signal).unwrap();
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The cluster: balancer, servers and node.
struct Cluster {
    kubectl: String,
    dir: TempDir,
    /// What the supervisor said: which process is which.
    said: Arc<Mutex<Vec<String>>>,
    servers: Vec<SocketAddr>,
    _supervisor: Process,
    _balancer: Process,
}

/// A balancer of connections, which leaves a server that does not take one.
fn balancer(haproxy: &str, dir: &Path, front: SocketAddr, servers: &[SocketAddr]) -> Process {
    let mut config = format!(
        "defaults\n mode tcp\n timeout connect 1s\n timeout client 1h\n timeout server 1h\n \
         option redispatch\n retries 3\nlisten api\n bind {front}\n balance roundrobin\n"
    );
    for (at, server) in servers.iter().enumerate() {
        writeln!(config, " server s{at} {server} check inter 200ms fall 1 rise 1").unwrap();
    }
    let path = dir.join("haproxy.cfg");
    std::fs::write(&path, config).unwrap();
    let log = std::fs::File::create(dir.join("haproxy.log")).unwrap();
    let child = Command::new(haproxy)
        .args(["-db", "-f"])
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    Process(child.unwrap())
}

impl Cluster {
    fn start(etcd: &Etcd) -> Option<Self> {
        let (kubectl, haproxy) = (tool("KUBRICK_KUBECTL")?, tool("KUBRICK_HAPROXY")?);
        // A node whose disk is nearly full takes no pods: this one has its data in memory.
        let dir = scratch();
        let (front, servers) = (free(), vec![free(), free(), free()]);
        let balancer = balancer(&haproxy, dir.path(), front, &servers);
        let test = std::env::current_exe().unwrap();
        let example: PathBuf = test.ancestors().nth(2).unwrap().join("examples/etcd_backend");
        let listen: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let mut child = Command::new(example)
            .args(["--endpoints", &etcd.endpoints().join(",")])
            .arg("--data-dir")
            .arg(dir.path())
            .args(["--listen", &listen.join(","), "--balancer", &front.to_string()])
            .args(["--pod-cidr", "127.180.0.0/16", "--service-cidr", "127.181.0.0/16"])
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(dir.path().join("servers.log")).unwrap())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (lines, heard) = (child.stdout.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                heard.lock().push(line);
            }
        });
        let (supervisor, balancer) = (Process(child), balancer);
        let this =
            Self { kubectl, dir, said, servers, _supervisor: supervisor, _balancer: balancer };
        eventually("the node is Ready", || {
            this.try_run(&["get", "nodes"]).is_ok_and(|nodes| nodes.contains(" Ready "))
        });
        Some(this)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.dir.path().join("kubeconfig"));
        command.env("HOME", self.dir.path()).args(arguments);
        command
    }

    fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(text + &String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// Runs kubectl, which must succeed; once more if its connection was cut under it.
    fn run(&self, arguments: &[&str]) -> String {
        let again = |_| self.try_run(arguments);
        self.try_run(arguments).or_else(again).unwrap_or_else(|why| panic!("{arguments:?}: {why}"))
    }

    fn apply(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        self.run(&["apply", "-f", &path.display().to_string()]);
    }

    /// The process of a server, as it was said last.
    fn process(&self, at: usize) -> u32 {
        let begin = format!("api-server {}: process ", self.servers[at]);
        let said = self.said.lock();
        let id = said.iter().rev().find_map(|line| line.strip_prefix(&begin));
        id.expect("the server was started").parse().unwrap()
    }

    /// Kills a server as nobody can prepare for.
    fn kill(&self, at: usize) {
        signal(self.process(at), rustix::process::Signal::KILL);
    }

    /// Whose controllers lead: a server's address, and its process.
    fn holder(&self) -> String {
        let holder = "jsonpath={.spec.holderIdentity}";
        let name = ["-n", "kube-system", "get", "lease", "kube-controller-manager", "-o", holder];
        self.run(&name)
    }

    /// Which server that is.
    fn server(&self, holder: &str) -> usize {
        let at = self.servers.iter().position(|server| holder.starts_with(&server.to_string()));
        at.unwrap_or_else(|| panic!("{holder:?} is no server"))
    }

    /// Begins to change every pod, and follows that: kubectl has to see the end of it. A lease
    /// ends 15 s after its holder, and the time is generous.
    fn roll(&self, color: &str) -> Child {
        self.run(&["-n", "shop", "set", "env", "deployment/web", &format!("COLOR={color}")]);
        let follow = ["-n", "shop", "rollout", "status", "deployment/web", "--timeout=180s"];
        self.command(&follow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn rolled(&self, following: Child, color: &str) {
        let output = following.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the rollout of {color}: {text}{error}");
        assert!(text.contains("successfully rolled out"), "{text}");
        let colors = "jsonpath={.items[*].spec.containers[0].env[0].value}";
        let expect = format!("{color} {color} {color}");
        eventually("only the new pods are left", || {
            self.run(&["-n", "shop", "get", "pods", "-o", colors]) == expect
        });
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("servers.log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(80)..].join("\n"));
            for what in ["nodes", "pods,replicasets,deployments", "events", "leases"] {
                let state = self.try_run(&["get", what, "-A", "-o", "wide"]);
                println!("{what}:\n{}", state.unwrap_or_else(|why| why));
            }
        }
    }
}

/// A watch of kubectl's, line by line.
struct Watching {
    _process: Process,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watching {
    fn start(cluster: &Cluster) -> Self {
        let watch = ["-n", "shop", "get", "configmaps", "--watch", "-o", "name"];
        let mut child = cluster.command(&watch).stdout(Stdio::piped()).spawn().unwrap();
        let (out, lines) = (child.stdout.take().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let heard = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                heard.lock().push(line);
            }
        });
        Self { _process: Process(child), lines }
    }

    /// Waits until it tells of an object.
    fn tells(&self, name: &str) {
        let line = format!("configmap/{name}");
        eventually(&line.clone(), || self.lines.lock().contains(&line));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_server_and_any_member_can_go() {
    let Some(mut etcd) = Etcd::cluster(3).await else { return };
    let Some(cluster) = Cluster::start(&etcd) else { return };
    cluster.apply("shop.yaml", MANIFEST);
    let status = ["-n", "shop", "rollout", "status", "deployment/web", "--timeout=60s"];
    cluster.run(&status);

    // A member of etcd, the leader: a watch stays open, and tells what comes after.
    let watching = Watching::start(&cluster);
    watching.tells("settings");
    let judge = EtcdStore::connect(etcd.options()).await.unwrap();
    let following = cluster.roll("red");
    let leader = etcd.leader(&judge).await;
    etcd.kill(leader);
    cluster.rolled(following, "red");
    cluster.apply(
        "after.yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: after-a-member, namespace: shop}}",
    );
    watching.tells("after-a-member");
    etcd.spawn(leader);
    etcd.wait().await;

    // The server whose controllers lead: another process's take over in mid-rollout, of another
    // server or of the one that is started in its place.
    let holder = cluster.holder();
    let first = cluster.server(&holder);
    let following = cluster.roll("green");
    cluster.kill(first);
    cluster.rolled(following, "green");
    eventually("another process leads", || cluster.holder() != holder);

    // The other two, one by one; each is back before the next one goes.
    let others: Vec<usize> = (0..3).filter(|at| *at != first).collect();
    for (at, color) in others.into_iter().zip(["blue", "gray"]) {
        eventually("every server answers", || {
            cluster.servers.iter().all(|server| std::net::TcpStream::connect(server).is_ok())
        });
        let following = cluster.roll(color);
        cluster.kill(at);
        cluster.rolled(following, color);
    }
    // And a member again, another one.
    let other = (leader + 1) % 3;
    let following = cluster.roll("white");
    etcd.kill(other);
    cluster.rolled(following, "white");
    cluster.run(&["delete", "namespace", "shop"]);
}
