//! Network namespaces that a test can cut off: a bridge here, and a cable to each.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A bridge with a namespace per member. They go when this does.
pub struct Network {
    id: String,
    subnet: String,
    size: usize,
}

fn ip(arguments: &[&str]) -> bool {
    let status = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

impl Network {
    /// Namespaces for as many members; none, said aloud, where that is not permitted.
    pub fn new(size: usize) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let n = std::process::id() * 4 + MADE.fetch_add(1, Ordering::Relaxed);
        let subnet = format!("10.{}.{}", 200 + n / 250 % 50, n % 250);
        let network = Self { id: format!("kb{}", n % 100_000), subnet, size };
        if network.build() {
            return Some(network);
        }
        println!("did not run: network namespaces are not permitted here (it takes root)");
        None
    }

    fn build(&self) -> bool {
        let (bridge, gateway) = (&self.id, format!("{}.1/24", self.subnet));
        let made = ip(&["link", "add", bridge, "type", "bridge"])
            && ip(&["addr", "add", &gateway, "dev", bridge])
            && ip(&["link", "set", bridge, "up"]);
        made && (0..self.size).all(|at| self.build_one(at))
    }

    fn build_one(&self, at: usize) -> bool {
        let (name, cable) = (self.name(at), self.cable(at));
        let address = format!("{}/24", self.host(at));
        let within = |arguments: &[&str]| ip(&[&["-n", &name], arguments].concat());
        let far = format!("{cable}x");
        ip(&["netns", "add", &name])
            && ip(&["link", "add", &cable, "type", "veth", "peer", "name", &far])
            && ip(&["link", "set", &far, "netns", &name])
            && ip(&["link", "set", &cable, "master", &self.id])
            && ip(&["link", "set", &cable, "up"])
            && within(&["link", "set", "lo", "up"])
            && within(&["addr", "add", &address, "dev", &far])
            && within(&["link", "set", &far, "up"])
    }

    fn name(&self, at: usize) -> String {
        format!("{}n{at}", self.id)
    }

    fn cable(&self, at: usize) -> String {
        format!("{}v{at}", self.id)
    }

    /// The address of a member.
    pub fn host(&self, at: usize) -> String {
        format!("{}.{}", self.subnet, at + 2)
    }

    /// The words that start a program in a member's namespace.
    pub fn wrapper(&self, at: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.name(at)].map(str::to_owned).to_vec()
    }

    /// Pulls a member's cable: nothing it sends arrives, and nobody is told.
    pub fn cut(&self, at: usize) {
        assert!(ip(&["link", "set", &self.cable(at), "down"]), "the cable can be pulled");
    }

    /// Puts it back.
    pub fn mend(&self, at: usize) {
        assert!(ip(&["link", "set", &self.cable(at), "up"]), "the cable can be put back");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for at in 0..self.size {
            // A part that was never made cannot be removed.
            ip(&["link", "del", &self.cable(at)]);
            ip(&["netns", "del", &self.name(at)]);
        }
        ip(&["link", "del", &self.id]);
    }
}
