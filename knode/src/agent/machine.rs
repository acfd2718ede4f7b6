//! What the machine below the node is and has.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::NodeSystemInfo;

/// Memory that must be available, in bytes, or the node is under pressure.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#hard-eviction-thresholds>
const MIN_MEMORY_BYTES: u64 = 100 << 20;
/// The share of its file system that must be free, in percent.
const MIN_DISK_PERCENT: u64 = 10;
/// The share of its inodes that must be free, in percent.
const MIN_INODES_PERCENT: u64 = 5;

/// The machine's name, as the kernel has it.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

/// Who the machine is. What it does not tell stays empty.
pub(super) fn system_info(runtime: String) -> NodeSystemInfo {
    let line = |path: &str| {
        std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let machine_id = line("/etc/machine-id");
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: runtime,
        kernel_version: rustix::system::uname().release().to_string_lossy().into_owned(),
        kubelet_version: VERSION.to_owned(),
        kube_proxy_version: String::new(),
        operating_system: "linux".to_owned(),
        os_image: os_image(&line("/etc/os-release")),
        system_uuid: machine_id.clone(),
        machine_id,
        ..NodeSystemInfo::default()
    }
}

/// The version of Kubernetes that the agent does what is expected of.
const VERSION: &str = concat!("v1.37.0+kubrick.", env!("CARGO_PKG_VERSION"));

/// The machine's architecture, in the words of Go.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn os_image(release: &str) -> String {
    let line = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.map(|name| name.trim_matches('"').to_owned()).unwrap_or_else(|| "Linux".to_owned())
}

/// What the machine has, as quantities. Storage is that of the file system at `directory`.
pub(super) fn capacity(directory: Option<&Path>) -> BTreeMap<String, String> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut capacity = BTreeMap::from([("cpu".to_owned(), cpus.to_string())]);
    if let Some(bytes) = memory("MemTotal:") {
        capacity.insert("memory".to_owned(), format!("{}Ki", bytes / 1024));
    }
    if let Some(stat) = directory.and_then(|path| rustix::fs::statvfs(path).ok()) {
        let kib = stat.f_blocks.saturating_mul(stat.f_frsize) / 1024;
        capacity.insert("ephemeral-storage".to_owned(), format!("{kib}Ki"));
    }
    capacity
}

fn memory(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// What the machine runs short of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pressure {
    pub(super) memory: bool,
    pub(super) disk: bool,
    pub(super) processes: bool,
}

impl Pressure {
    /// What the machine runs short of now; `directory` is where the node keeps its pods.
    pub(super) fn read(directory: &Path) -> Self {
        let disk = rustix::fs::statvfs(directory).is_ok_and(|stat| {
            let short = |free: u64, all: u64, percent| {
                all > 0 && free.saturating_mul(100) < all.saturating_mul(percent)
            };
            short(stat.f_bavail, stat.f_blocks, MIN_DISK_PERCENT)
                || short(stat.f_favail, stat.f_files, MIN_INODES_PERCENT)
        });
        Self {
            memory: memory("MemAvailable:").is_some_and(|bytes| bytes < MIN_MEMORY_BYTES),
            disk,
            processes: processes_short(),
        }
    }
}

/// Whether nine in ten of the process numbers that the kernel has are in use.
fn processes_short() -> bool {
    let number = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let running = std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| {
        let (_, all) = text.split_whitespace().nth(3)?.split_once('/')?;
        all.parse::<u64>().ok()
    });
    match (running, number("/proc/sys/kernel/pid_max")) {
        (Some(running), Some(limit)) => running.saturating_mul(10) >= limit.saturating_mul(9),
        _ => false,
    }
}
