//! The scheduling framework: the seam that plugins are written against.
//!
//! A [`PluginFactory`] makes one [`SchedulerPlugin`] per [`Profile`]; the plugin registers itself
//! at the [`ExtensionPoints`] it implements. What decides (filter, score) is synchronous and
//! pure; what acts (permit, bind) is asynchronous.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/>

mod candidates;
mod classes;
mod enabled;
mod event;
mod extender;
mod extenders;
mod feasible;
mod filters;
mod group;
mod normalization;
mod plugin;
mod point;
mod points;
mod profile;
mod proposal;
mod rejections;
mod runtime;
mod state;
mod status;
mod verdicts;
mod waiting;

pub(crate) use candidates::summary;
pub use candidates::{Candidates, Diagnosis};
pub use classes::{Basis, FilterClasses, ScoreClasses};
pub use event::{
    Action, ClusterEvent, EventObject, EventRegistration, EventResource, Happening, QueueingHint,
};
pub use extender::{Extender, ExtenderError, Filtered, NodeVictims, Verbs};
pub(crate) use extenders::EXTENDER;
pub use feasible::Feasible;
pub use filters::Filters;
pub use group::GroupVerdict;
pub use normalization::Normalization;
pub(crate) use plugin::Plugged;
pub use plugin::{
    Args, BuildResult, ExtensionPoints, Handle, PluginFactory, SchedulerPlugin, plugin_fn,
};
pub use point::Point;
pub use points::{
    BindPlugin, Effect, EnqueueExtensions, FilterPlugin, MAX_NODE_SCORE, MAX_PERMIT_WAIT,
    MIN_NODE_SCORE, Permit, PermitPlugin, PostBindPlugin, PostFilterPlugin, PostFilterResult,
    PreBindPlugin, PreEnqueuePlugin, PreFilterExtensions, PreFilterPlugin, PreFilterResult,
    PreScorePlugin, QueueSortPlugin, ReservePlugin, ScorePlugin,
};
pub(crate) use profile::Plugins;
pub use profile::{ALL_PLUGINS, DEFAULT_SCHEDULER_NAME, Profile};
pub use proposal::Proposal;
pub use rejections::Rejections;
pub use runtime::Framework;
pub use state::CycleState;
pub use status::{Code, Status};
pub(crate) use verdicts::{PASSED, Verdicts};
pub use waiting::WaitingPods;
