//! `KubeSchedulerConfiguration`, read as upstream reads it.
//!
//! <https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/>

mod api;
#[cfg(feature = "extenders")]
mod extender;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use kcore::leader::LeaderConfig;

use crate::framework::{DEFAULT_SCHEDULER_NAME, Plugins, Point, Profile};
use crate::queue::{INITIAL_BACKOFF, MAX_BACKOFF};

const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";
const KIND: &str = "KubeSchedulerConfiguration";
/// Nodes and depth that a file may expand to: an alias counts each time.
const MAX_NODES: usize = 100_000;
const MAX_DEPTH: usize = 64;
/// Plugins of upstream's that this scheduler does not have: that they are off is no mistake.
const ABSENT: [&str; 2] = ["DynamicResources", "DeferredPodScheduling"];

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is no YAML, or has fields that a configuration has not.
    #[error("scheduler configuration: {0}")]
    Syntax(String),
    /// A field has a value that it must not have.
    #[error("{field}: Invalid value: {value}: {remedy}")]
    Invalid {
        /// Where it is.
        field: String,
        /// What it is.
        value: String,
        /// What would be right.
        remedy: &'static str,
    },
    /// Something is asked for that this scheduler does not do.
    #[error("{field}: Forbidden: {why}")]
    Unsupported {
        /// Where it is.
        field: String,
        /// What to do instead.
        why: &'static str,
    },
    /// An extender cannot be used as it is described.
    #[error("{field}: {message}")]
    Extender {
        /// Where it is.
        field: String,
        /// What is wrong.
        message: String,
    },
}

fn invalid(field: impl Into<String>, value: impl ToString, remedy: &'static str) -> ConfigError {
    ConfigError::Invalid { field: field.into(), value: value.to_string(), remedy }
}

/// A configuration that was read, and checked as far as it can be without its plugins; whether
/// those exist and take their arguments shows when the scheduler is built.
///
/// ```
/// use ksched::config::SchedulerConfig;
/// let config = SchedulerConfig::from_yaml(
///     "apiVersion: kubescheduler.config.k8s.io/v1
/// kind: KubeSchedulerConfiguration
/// profiles:
///   - schedulerName: packing
///     plugins:
///       score:
///         disabled: [{name: ImageLocality}]
///     pluginConfig:
///       - name: NodeResourcesFit
///         args: {scoringStrategy: {type: MostAllocated}}
/// ",
/// )?;
/// assert_eq!(config.profiles()[0].scheduler_name(), "packing");
/// # Ok::<(), ksched::config::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    profiles: Vec<Profile>,
    initial_backoff: Duration,
    max_backoff: Duration,
    percentage: Option<i64>,
    parallelism: i64,
    election: Option<Election>,
    #[cfg(feature = "extenders")]
    extenders: Vec<crate::extender::HttpExtender>,
}

#[derive(Debug, Clone)]
struct Election {
    namespace: String,
    name: String,
    times: [Duration; 3],
}

impl SchedulerConfig {
    /// Reads YAML, or JSON, which is YAML too.
    ///
    /// # Errors
    /// What is wrong, where, and what would be right.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_depth: MAX_DEPTH },
        };
        let file: api::File = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| ConfigError::Syntax(error.to_string()))?;
        Self::new(file)
    }

    fn new(file: api::File) -> Result<Self, ConfigError> {
        if file.api_version != API_VERSION {
            return Err(invalid(
                "apiVersion",
                file.api_version,
                "must be kubescheduler.config.k8s.io/v1",
            ));
        }
        if file.kind != KIND {
            return Err(invalid("kind", file.kind, "must be KubeSchedulerConfiguration"));
        }
        let parallelism = file.parallelism.unwrap_or(16);
        if parallelism <= 0 {
            return Err(invalid(
                "parallelism",
                parallelism,
                "should be an integer value greater than zero",
            ));
        }
        if !file.extenders.is_empty() && cfg!(not(feature = "extenders")) {
            return Err(ConfigError::Unsupported {
                field: "extenders".to_owned(),
                why: "this program was built without extenders: build it with the feature \
                      `extenders` of ksched, or write a plugin instead",
            });
        }
        let seconds = |field: &str, value: Option<i64>, default: Duration| match value {
            None => Ok(default),
            Some(value) => match u64::try_from(value) {
                Ok(value) if value > 0 => Ok(Duration::from_secs(value)),
                _ => Err(invalid(field, value, "must be greater than 0")),
            },
        };
        let initial_backoff =
            seconds("podInitialBackoffSeconds", file.pod_initial_backoff_seconds, INITIAL_BACKOFF)?;
        let max_backoff =
            seconds("podMaxBackoffSeconds", file.pod_max_backoff_seconds, MAX_BACKOFF)?;
        if max_backoff < initial_backoff {
            let remedy = "must be greater than or equal to PodInitialBackoffSeconds";
            return Err(invalid("podMaxBackoffSeconds", max_backoff.as_secs(), remedy));
        }
        percentage("percentageOfNodesToScore", file.percentage_of_nodes_to_score)?;
        let election = file.leader_election.map(election).transpose()?.flatten();
        let mut profiles = Vec::new();
        let mut names = BTreeSet::new();
        for (at, profile) in file.profiles.into_iter().enumerate() {
            let profile = read_profile(&format!("profiles[{at}]"), profile)?;
            if !names.insert(profile.name.clone()) {
                let field = format!("profiles[{at}].schedulerName");
                return Err(invalid(field, profile.name, "must be another one in each profile"));
            }
            profiles.push(profile);
        }
        if profiles.is_empty() {
            profiles.push(Profile { stock_only: true, ..Profile::default() });
        }
        let percentage = file.percentage_of_nodes_to_score;
        #[cfg(feature = "extenders")]
        let extenders = extender::read(file.extenders, &mut profiles)?;
        Ok(Self {
            profiles,
            initial_backoff,
            max_backoff,
            percentage,
            parallelism,
            election,
            #[cfg(feature = "extenders")]
            extenders,
        })
    }

    /// The extenders, which have a say in all profiles.
    #[cfg(feature = "extenders")]
    #[must_use]
    pub fn extenders(&self) -> &[crate::extender::HttpExtender] {
        &self.extenders
    }

    /// The profiles; at least one.
    #[must_use]
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// How long a pod waits after its first failed attempt.
    #[must_use]
    pub fn initial_backoff(&self) -> Duration {
        self.initial_backoff
    }

    /// The longest a pod waits after a failed attempt.
    #[must_use]
    pub fn max_backoff(&self) -> Duration {
        self.max_backoff
    }

    /// The part of the nodes, in percent, that upstream would look at. Accepted without effect:
    /// this scheduler looks at every node, and remembers what it saw instead of seeing less.
    #[must_use]
    pub fn percentage_of_nodes_to_score(&self) -> Option<i64> {
        self.percentage
    }

    /// How many threads upstream would use for one pod. Accepted without effect: one is enough.
    #[must_use]
    pub fn parallelism(&self) -> i64 {
        self.parallelism
    }

    /// The election that copies of the scheduler take part in, each under an identity of its own;
    /// `None` if the file turns it off. Give it to [`Elected`](kcore::leader::Elected).
    #[must_use]
    pub fn leader_election(&self, identity: &str) -> Option<LeaderConfig> {
        let election = self.election.as_ref()?;
        let [lease, renew, retry] = election.times;
        let config = LeaderConfig::new(&election.namespace, &election.name, identity);
        Some(config.times(lease, renew, retry))
    }
}

fn percentage(field: &str, value: Option<i64>) -> Result<(), ConfigError> {
    match value {
        Some(value) if !(0..=100).contains(&value) => {
            Err(invalid(field, value, "not in valid range [0-100]"))
        }
        _ => Ok(()),
    }
}

fn election(api: api::LeaderElection) -> Result<Option<Election>, ConfigError> {
    if !api.leader_elect.unwrap_or(true) {
        return Ok(None);
    }
    if let Some(lock) = api.resource_lock.filter(|lock| lock != "leases") {
        return Err(invalid("leaderElection.resourceLock", lock, "must be leases"));
    }
    let time = |field: &str, text: Option<String>, default: u64| match text {
        None => Ok(Duration::from_secs(default)),
        Some(text) => duration(&text).ok_or_else(|| {
            let field = format!("leaderElection.{field}");
            invalid(field, text, "must be a duration such as 15s, greater than zero")
        }),
    };
    let times = [
        time("leaseDuration", api.lease_duration, 15)?,
        time("renewDeadline", api.renew_deadline, 10)?,
        time("retryPeriod", api.retry_period, 2)?,
    ];
    if times[0] <= times[1] {
        let remedy = "LeaseDuration must be greater than RenewDeadline";
        return Err(invalid("leaderElection.leaseDuration", times[0].as_secs(), remedy));
    }
    if times[1] <= times[2] {
        let remedy = "RenewDeadline must be greater than RetryPeriod";
        return Err(invalid("leaderElection.renewDeadline", times[1].as_secs(), remedy));
    }
    let named = |name: Option<String>, default: &str| {
        name.filter(|name| !name.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    Ok(Some(Election {
        namespace: named(api.resource_namespace, "kube-system"),
        name: named(api.resource_name, "kube-scheduler"),
        times,
    }))
}

/// A duration in Go's form, such as `1m30s`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[end..];
        sum += Duration::try_from_secs_f64(number * unit).ok()?;
    }
    (!sum.is_zero()).then_some(sum)
}

fn read_profile(field: &str, api: api::Profile) -> Result<Profile, ConfigError> {
    percentage(&format!("{field}.percentageOfNodesToScore"), api.percentage_of_nodes_to_score)?;
    let name = api.scheduler_name.unwrap_or_else(|| DEFAULT_SCHEDULER_NAME.to_owned());
    if name.is_empty() {
        return Err(invalid(format!("{field}.schedulerName"), "\"\"", "must not be empty"));
    }
    let mut profile = Profile { stock_only: true, ..Profile::new(name) };
    if let Some(plugins) = api.plugins {
        read_plugins(&format!("{field}.plugins"), plugins, &mut profile)?;
    }
    for (at, config) in api.plugin_config.into_iter().enumerate() {
        let name = config.name;
        if profile.args.insert(name.clone(), config.args).is_some() {
            let field = format!("{field}.pluginConfig[{at}].name");
            return Err(invalid(field, name, "must be another one in each entry"));
        }
    }
    Ok(profile)
}

fn read_plugins(field: &str, api: api::Plugins, profile: &mut Profile) -> Result<(), ConfigError> {
    profile.all = read_set(&format!("{field}.multiPoint"), api.multi_point)?;
    let sets = [
        (Point::PreEnqueue, api.pre_enqueue),
        (Point::QueueSort, api.queue_sort),
        (Point::PreFilter, api.pre_filter),
        (Point::Filter, api.filter),
        (Point::PostFilter, api.post_filter),
        (Point::PreScore, api.pre_score),
        (Point::Score, api.score),
        (Point::Reserve, api.reserve),
        (Point::Permit, api.permit),
        (Point::PreBind, api.pre_bind),
        (Point::Bind, api.bind),
        (Point::PostBind, api.post_bind),
    ];
    for (point, set) in sets {
        let set = read_set(&format!("{field}.{point}"), set)?;
        if !set.enabled.is_empty() || !set.disabled.is_empty() {
            profile.points.insert(point, set);
        }
    }
    Ok(())
}

fn read_set(field: &str, api: api::PluginSet) -> Result<Plugins, ConfigError> {
    let mut set = Plugins::default();
    for (at, plugin) in api.enabled.into_iter().enumerate() {
        let field = format!("{field}.enabled[{at}]");
        if plugin.name.is_empty() {
            return Err(invalid(format!("{field}.name"), "\"\"", "must not be empty"));
        }
        if set.enables(&plugin.name).is_some() {
            return Err(invalid(format!("{field}.name"), plugin.name, "must be named once"));
        }
        // Zero is how upstream says that there is no weight.
        let weight = plugin.weight.filter(|weight| *weight != 0);
        if weight.is_some_and(|weight| !(1..=100).contains(&weight)) {
            let (field, value) = (format!("{field}.weight"), weight.unwrap_or_default());
            return Err(invalid(field, value, "must be from 1 to 100"));
        }
        set.enabled.push((plugin.name, weight));
    }
    let disabled = api.disabled.into_iter().map(|plugin| plugin.name);
    set.disabled.extend(disabled.filter(|name| !ABSENT.contains(&name.as_str())));
    Ok(set)
}
