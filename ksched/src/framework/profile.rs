//! A profile: which plugins run for the pods of one scheduler name, and how.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Point;

/// The scheduler name of pods that name none.
pub const DEFAULT_SCHEDULER_NAME: &str = "default-scheduler";
/// Disables every plugin that is enabled by default.
pub const ALL_PLUGINS: &str = "*";

/// Which plugins run for the pods of one scheduler name: all stock plugins and all that were
/// added to the scheduler, but those that are disabled here.
/// <https://kubernetes.io/docs/reference/scheduling/config/#profiles>
///
/// ```
/// use ksched::framework::{Point, Profile};
/// let packed = serde_json::json!({"scoringStrategy": {"type": "MostAllocated"}});
/// let batch = Profile::new("batch")
///     .disable("TaintToleration")
///     .disable_at(Point::Score, "ImageLocality")
///     .weight("NodeResourcesFit", 5)
///     .args("NodeResourcesFit", packed);
/// assert_eq!(batch.scheduler_name(), "batch");
/// ```
#[derive(Debug, Clone)]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) all: Plugins,
    pub(crate) points: BTreeMap<Point, Plugins>,
    pub(crate) weights: BTreeMap<String, i64>,
    pub(crate) args: BTreeMap<String, Value>,
    /// Whether plugins that are not stock ones run only where they are enabled.
    pub(crate) stock_only: bool,
}

/// What is changed of the plugins that are enabled by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plugins {
    /// Plugins with their weights, in order. One that is enabled by default keeps its place.
    pub(crate) enabled: Vec<(String, Option<i64>)>,
    pub(crate) disabled: BTreeSet<String>,
}

impl Plugins {
    /// Whether a plugin that is enabled by default is not to run.
    pub(crate) fn disables(&self, plugin: &str) -> bool {
        self.disabled.contains(ALL_PLUGINS) || self.disabled.contains(plugin)
    }

    /// The weight it gives a plugin that it enables.
    pub(crate) fn enables(&self, plugin: &str) -> Option<Option<i64>> {
        let found = self.enabled.iter().find(|(name, _)| name == plugin);
        found.map(|(_, weight)| *weight)
    }
}

impl Profile {
    /// A profile for pods whose `spec.schedulerName` is this.
    #[must_use]
    pub fn new(scheduler_name: impl Into<String>) -> Self {
        Self {
            name: scheduler_name.into(),
            all: Plugins::default(),
            points: BTreeMap::new(),
            weights: BTreeMap::new(),
            args: BTreeMap::new(),
            stock_only: false,
        }
    }

    /// The scheduler name.
    #[must_use]
    pub fn scheduler_name(&self) -> &str {
        &self.name
    }

    /// Leaves a plugin out; `*` leaves out all that are not enabled by name.
    #[must_use]
    pub fn disable(mut self, plugin: impl Into<String>) -> Self {
        self.all.disabled.insert(plugin.into());
        self
    }

    /// Runs a plugin at every point it has: those that are left out as well are put last, in the
    /// order in which they are enabled.
    #[must_use]
    pub fn enable(mut self, plugin: impl Into<String>) -> Self {
        self.all.enabled.push((plugin.into(), None));
        self
    }

    /// Leaves a plugin out at one point; `*` leaves out all that are not enabled by name there.
    #[must_use]
    pub fn disable_at(mut self, point: Point, plugin: impl Into<String>) -> Self {
        self.points.entry(point).or_default().disabled.insert(plugin.into());
        self
    }

    /// Runs a plugin at one point, before those that are not named there.
    #[must_use]
    pub fn enable_at(mut self, point: Point, plugin: impl Into<String>) -> Self {
        self.points.entry(point).or_default().enabled.push((plugin.into(), None));
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
        let sets = || std::iter::once(&self.all).chain(self.points.values());
        let disabled =
            sets().flat_map(|set| set.disabled.iter()).filter(|name| *name != ALL_PLUGINS);
        let enabled = sets().flat_map(|set| set.enabled.iter().map(|(name, _)| name));
        disabled.chain(enabled).chain(self.weights.keys()).chain(self.args.keys())
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::new(DEFAULT_SCHEDULER_NAME)
    }
}
