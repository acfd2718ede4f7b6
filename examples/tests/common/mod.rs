//! What the tests of kubectl share: a server of their own, and kubectl.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// An example's binary: cargo builds examples before it runs tests.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples").join(name)
}

/// The example that most tests drive.
pub fn standalone() -> PathBuf {
    example("standalone")
}

/// The kubectl to use, or none where the machine has none and nobody insists.
fn kubectl() -> Option<String> {
    let named = std::env::var("KUBRICK_KUBECTL").ok();
    let required = std::env::var_os("KUBRICK_REQUIRE_TOOLS").is_some();
    assert!(named.is_some() || !required, "KUBRICK_KUBECTL is not set; run `cargo xtask test`");
    if named.is_none() {
        println!("skipped: no kubectl; `cargo xtask test` fetches one");
    }
    named
}

/// A server of its own, with a directory of its own.
pub struct Server {
    child: Child,
    dir: tempfile::TempDir,
    kubectl: String,
    pods: u8,
    disabled: &'static str,
}

/// Starts the server, and waits until it has its address.
fn spawn(dir: &Path, pods: u8, disabled: &str) -> Child {
    let mut child = Command::new(standalone())
        .arg("--data-dir")
        .arg(dir)
        .args(["--listen", "127.0.0.1:0"])
        .args(["--pod-cidr", &format!("127.{pods}.0.0/16")])
        .args(["--service-cidr", &format!("127.{}.0.0/16", pods + 1)])
        .args(if disabled.is_empty() { vec![] } else { vec!["--disable", disabled] })
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The path of the kubeconfig is printed once the address is taken.
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("kubeconfig: "), "{line}");
    child
}

/// Each server has ranges of its own.
static SERVERS: AtomicU8 = AtomicU8::new(0);

impl Server {
    pub fn start() -> Option<Self> {
        Self::without("")
    }

    /// A server that lacks some of its parts, named as on its command line.
    pub fn without(disabled: &'static str) -> Option<Self> {
        let kubectl = kubectl()?;
        let dir = tempfile::tempdir().unwrap();
        let pods = 100 + 2 * SERVERS.fetch_add(1, Ordering::Relaxed);
        let child = spawn(dir.path(), pods, disabled);
        let this = Self { child, dir, kubectl, pods, disabled };
        this.run(&["get", "--raw", "/readyz"]);
        Some(this)
    }

    /// Ends the server as nobody can prepare for.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again over what it left, at another port.
    pub fn restart(&mut self) {
        self.child = spawn(self.dir.path(), self.pods, self.disabled);
        self.run(&["get", "--raw", "/readyz"]);
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.dir.path().join("kubeconfig"));
        command.env("HOME", self.dir.path()).args(["--request-timeout", "20s"]).args(arguments);
        command
    }

    /// Runs kubectl, which must succeed, and returns what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}:\n{text}{error}");
        text
    }

    /// Runs kubectl, which must fail, and returns why it did.
    pub fn fail(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(!output.status.success(), "kubectl {arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Where a file of the server's is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Applies a manifest.
    pub fn apply(&self, name: &str, text: &str) {
        self.run(&["apply", "-f", &self.file(name, text)]);
    }

    /// Asks the server to end, which it does within its grace period.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// The processes of this machine whose environment names the server's directory: its pods'.
    pub fn processes(&self) -> Vec<String> {
        let mark = self.dir.path().as_os_str().as_encoded_bytes().to_vec();
        let has = |bytes: Vec<u8>| bytes.windows(mark.len()).any(|part| part == mark);
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let number = entry.file_name().into_string().unwrap();
            let ours = number == self.child.id().to_string();
            if !ours && (has(read("environ")) || has(read("cmdline"))) {
                found.push(format!("{number}: {}", String::from_utf8_lossy(&read("cmdline"))));
            }
        }
        found
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.stop();
        }
    }
}

/// A namespace with something of everything.
pub const MANIFEST: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {color: green}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: shop}
stringData: {password: hush}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: host
        command: [sh, -c, "echo hello from $POD_IP; exec sleep 1000"]
        ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"#;

/// Tries until a check holds; a cluster takes its time.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..300 {
        if check() {
            return;
        }
        #[allow(clippy::disallowed_methods, reason = "another process is waited for")]
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("never: {what}");
}
