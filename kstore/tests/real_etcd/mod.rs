//! Real etcd for tests and benchmarks: started on loopback, stopped by its process id.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it did")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod network;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kstore::{EtcdOptions, EtcdStore, Store};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long an etcd may take to serve.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program that `variable` names; none, said aloud, where nobody insists on it.
pub fn tool(variable: &str) -> Option<String> {
    let named = std::env::var(variable).ok();
    let required = std::env::var_os("KUBRICK_REQUIRE_TOOLS").is_some();
    assert!(named.is_some() || !required, "{variable} is not set; run `cargo xtask test`");
    if named.is_none() {
        println!("did not run: {variable} is not set; `cargo xtask test` fetches the program");
    }
    named
}

/// Where data goes that need not survive: memory, if there is some to mount.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("kubrick-etcd-").tempdir_in(place).unwrap()
}

/// A loopback address that no other etcd of this machine's tests has, most likely.
fn address() -> String {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let n = std::process::id().wrapping_mul(257) ^ TAKEN.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}.{}", 64 + n / 65536 % 32, n / 256 % 256, 1 + n % 254)
}

/// Two ports that nobody has. Asked for one after the other they could be one and the same.
fn free_ports(address: &str) -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((address, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// One member: its process and where it listens.
pub struct Member {
    child: Option<Child>,
    pub name: String,
    pub client: String,
    pub peer: String,
    data: PathBuf,
    wrapper: Vec<String>,
}

/// A cluster of real etcd, which ends with this value.
pub struct Etcd {
    pub members: Vec<Member>,
    dir: TempDir,
    program: String,
    arguments: Vec<String>,
    tls: Option<Tls>,
}

/// What clients need, as PEM: whom to believe, what to show.
#[derive(Clone)]
pub struct Tls {
    pub ca: String,
    pub cert: String,
    pub key: String,
}

impl Etcd {
    /// One member that answers soon, or none if there is no etcd.
    pub async fn one() -> Option<Self> {
        let mut etcd = Self::new(1, scratch())?;
        etcd.start().await;
        Some(etcd)
    }

    /// One member with more arguments.
    pub async fn one_with(arguments: &[&str]) -> Option<Self> {
        let mut etcd = Self::new(1, scratch())?.arguments(arguments);
        etcd.start().await;
        Some(etcd)
    }

    /// As many members, each on an address of its own.
    pub async fn cluster(size: usize) -> Option<Self> {
        let mut etcd = Self::new(size, scratch())?;
        etcd.start().await;
        Some(etcd)
    }

    /// Members that are not started yet, with their data in `dir`.
    pub fn new(size: usize, dir: TempDir) -> Option<Self> {
        let hosts = (0..size).map(|_| address()).collect();
        Self::at(hosts, Vec::new(), dir)
    }

    /// Members on those hosts, each started by the words of its wrapper, if there are any.
    pub fn at(hosts: Vec<String>, wrappers: Vec<Vec<String>>, dir: TempDir) -> Option<Self> {
        let program = tool("KUBRICK_ETCD")?;
        let mut wrappers = wrappers.into_iter();
        let members = hosts.iter().enumerate().map(|(n, host)| {
            let wrapper = wrappers.next().unwrap_or_default();
            // In another network namespace any port is free.
            let ports = if wrapper.is_empty() { free_ports(host) } else { [2379, 2380] };
            Member {
                child: None,
                name: format!("m{n}"),
                client: format!("http://{host}:{}", ports[0]),
                peer: format!("http://{host}:{}", ports[1]),
                data: dir.path().join(format!("m{n}")),
                wrapper,
            }
        });
        let members = members.collect();
        // Short enough that a lease of one second is granted.
        let arguments = ["--heartbeat-interval", "50", "--election-timeout", "500"];
        let arguments = arguments.map(str::to_owned).to_vec();
        Some(Self { members, dir, program, arguments, tls: None })
    }

    /// A cluster whose members are in namespaces of a network.
    pub async fn cluster_in(network: &network::Network, size: usize) -> Option<Self> {
        let hosts = (0..size).map(|at| network.host(at)).collect();
        let wrappers = (0..size).map(|at| network.wrapper(at)).collect();
        let mut etcd = Self::at(hosts, wrappers, scratch())?;
        etcd.start().await;
        Some(etcd)
    }

    /// The member that leads, once there is one.
    pub async fn leader(&self, of: &EtcdStore) -> usize {
        let begun = Instant::now();
        loop {
            let leader = of.status().await.ok().and_then(|status| status.leader);
            let at = self.members.iter().position(|member| Some(&member.name) == leader.as_ref());
            if let Some(at) = at {
                return at;
            }
            assert!(begun.elapsed() < PATIENCE, "nobody leads; the log:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// More arguments for every member.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts whatever does not run, and waits until the cluster serves.
    pub async fn start(&mut self) {
        for at in 0..self.members.len() {
            if self.members[at].child.is_none() {
                self.spawn(at);
            }
        }
        self.wait().await;
    }

    /// Starts one member, whose data may be there already.
    pub fn spawn(&mut self, at: usize) {
        let cluster: Vec<String> =
            self.members.iter().map(|member| format!("{}={}", member.name, member.peer)).collect();
        let member = &mut self.members[at];
        let log = self.dir.path().join(format!("{}.log", member.name));
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut words = member.wrapper.clone();
        words.push(self.program.clone());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--name", &member.name, "--initial-cluster", &cluster.join(",")])
            .arg("--data-dir")
            .arg(&member.data)
            .args(["--listen-client-urls", &member.client])
            .args(["--advertise-client-urls", &member.client])
            .args(["--listen-peer-urls", &member.peer])
            .args(["--initial-advertise-peer-urls", &member.peer])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        member.child = Some(child);
    }

    /// Waits until the cluster answers a linearizable read.
    pub async fn wait(&self) {
        let begun = Instant::now();
        loop {
            match EtcdStore::connect(self.options()).await {
                Ok(_) => return,
                Err(error) if begun.elapsed() > PATIENCE => {
                    panic!("etcd does not serve: {error:?}; its log:\n{}", self.log())
                }
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        for member in &self.members {
            let path = self.dir.path().join(format!("{}.log", member.name));
            text += &std::fs::read_to_string(path).unwrap_or_default();
        }
        text
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client.clone()).collect()
    }

    pub fn options(&self) -> EtcdOptions {
        let options = EtcdOptions::new(self.endpoints());
        match &self.tls {
            Some(tls) => options.ca_pem(&tls.ca).identity_pem(&tls.cert, &tls.key),
            None => options,
        }
    }

    /// One member, not started, that serves with a certificate and asks clients for theirs;
    /// `certify` signs one for its address.
    pub fn secured(tls: Tls, certify: impl Fn(&str) -> (String, String)) -> Option<Self> {
        let mut etcd = Self::new(1, scratch())?;
        let member = &mut etcd.members[0];
        member.client = member.client.replace("http://", "https://");
        let host = member.client.trim_start_matches("https://");
        let (cert, key) = certify(host.split(':').next().unwrap());
        let write = |name: &str, text: &str| {
            let path = etcd.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (cert, key) = (write("server.crt", &cert), write("server.key", &key));
        let ca = write("ca.crt", &tls.ca);
        let arguments = ["--cert-file", &cert, "--key-file", &key, "--trusted-ca-file", &ca];
        let mut etcd = etcd.arguments(&arguments).arguments(&["--client-cert-auth"]);
        etcd.tls = Some(tls);
        Some(etcd)
    }

    /// Kills one member with SIGKILL.
    pub fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.members[at].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(mut child) = member.child.take() {
                // It may be gone already.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
