//! A profile: which plugins run for the pods of one scheduler name, and how.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The scheduler name of pods that name none.
pub const DEFAULT_SCHEDULER_NAME: &str = "default-scheduler";

/// Which plugins run for the pods of one scheduler name: all stock plugins and all that were
/// added to the scheduler, but those that are disabled here.
/// <https://kubernetes.io/docs/reference/scheduling/config/#profiles>
///
/// ```
/// use ksched::framework::Profile;
/// let packed = serde_json::json!({"scoringStrategy": {"type": "MostAllocated"}});
/// let batch = Profile::new("batch")
///     .disable("TaintToleration")
///     .weight("NodeResourcesFit", 5)
///     .args("NodeResourcesFit", packed);
/// assert_eq!(batch.scheduler_name(), "batch");
/// ```
#[derive(Debug, Clone)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) disabled: BTreeSet<String>,
    pub(crate) weights: BTreeMap<String, i64>,
    pub(crate) args: BTreeMap<String, Value>,
}

impl Profile {
    /// A profile for pods whose `spec.schedulerName` is this.
    #[must_use]
    pub fn new(scheduler_name: impl Into<String>) -> Self {
        Self {
            name: scheduler_name.into(),
            disabled: BTreeSet::new(),
            weights: BTreeMap::new(),
            args: BTreeMap::new(),
        }
    }

    /// The scheduler name.
    #[must_use]
    pub fn scheduler_name(&self) -> &str {
        &self.name
    }

    /// Leaves a plugin out.
    #[must_use]
    pub fn disable(mut self, plugin: impl Into<String>) -> Self {
        self.disabled.insert(plugin.into());
        self
    }

    /// What a plugin's scores are multiplied by, from 1 to 100.
    #[must_use]
    pub fn weight(mut self, plugin: impl Into<String>, weight: i64) -> Self {
        self.weights.insert(plugin.into(), weight);
        self
    }

    /// A plugin's arguments, in the form of `KubeSchedulerConfiguration`.
    #[must_use]
    pub fn args(mut self, plugin: impl Into<String>, args: Value) -> Self {
        self.args.insert(plugin.into(), args);
        self
    }

    /// Every plugin name it mentions.
    pub(crate) fn mentioned(&self) -> impl Iterator<Item = &String> {
        self.disabled.iter().chain(self.weights.keys()).chain(self.args.keys())
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::new(DEFAULT_SCHEDULER_NAME)
    }
}
