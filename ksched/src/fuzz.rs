//! Bodies of fuzz targets (X10).
//!
//! Not part of the API: feature `fuzz` is for this workspace's own tests and `fuzz/`.

pub use kcore::fuzz::{Target, hammer};

use crate::config::SchedulerConfig;
use crate::extender;

/// The parsers of this crate that meet a stranger's bytes.
pub const TARGETS: &[Target] = &[
    Target {
        name: "ksched_extender",
        body: extender,
        seeds: &[
            r#"{"NodeNames":["a"],"FailedNodes":{"b":"no"},"FailedAndUnresolvableNodes":{}}"#,
            r#"{"nodes":{"items":[{"metadata":{"name":"a"}}]},"error":""}"#,
            r#"[{"Host":"a","Score":10},{"host":"b"}]"#,
            r#"{"NodeNameToMetaVictims":{"a":{"Pods":[{"UID":"1"}],"NumPDBViolations":1}}}"#,
        ],
    },
    Target {
        name: "ksched_config",
        body: config,
        seeds: &[
            "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
             profiles:\n- schedulerName: a\n  plugins: {score: {disabled: [{name: '*'}]}}\n",
            "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
             leaderElection: {leaseDuration: 1m30s}\n\
             extenders: [{urlPrefix: 'http://[::1]:1/x', httpTimeout: 5s, managedResources: \
             [{name: a.b/c, ignoredByScheduler: true}]}]\n",
        ],
    },
];

/// Runs the target of that name.
pub fn run(name: &str, data: &[u8]) {
    kcore::fuzz::run_of(TARGETS, name, data);
}

/// Reads the answer of an extender as each of its forms.
pub fn extender(data: &[u8]) {
    extender::read_as_each(data);
}

/// Reads a configuration. One that names files is left out: what is in them is no input.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains("File") {
        return;
    }
    if let Ok(config) = SchedulerConfig::from_yaml(text) {
        assert!(!config.profiles().is_empty());
    }
}
