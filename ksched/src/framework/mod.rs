//! The scheduling framework: the seam that plugins are written against.
//!
//! A [`PluginFactory`] makes one [`SchedulerPlugin`] per [`Profile`]; the plugin registers itself
//! at the [`ExtensionPoints`] it implements. What decides (filter, score) is synchronous and
//! pure; what acts (permit, bind) is asynchronous.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/>

mod candidates;
mod enabled;
mod event;
mod extender;
mod extenders;
mod feasible;
mod filters;
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
mod waiting;

pub use candidates::{Candidates, Diagnosis};
pub use event::{
    Action, ClusterEvent, EventObject, EventRegistration, EventResource, Happening, QueueingHint,
};
pub use extender::{Extender, ExtenderError, Filtered, NodeVictims, Verbs};
pub(crate) use extenders::EXTENDER;
pub use feasible::Feasible;
pub use filters::Filters;
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
pub(crate) use runtime::Failed;
pub use runtime::Framework;
pub use state::CycleState;
pub use status::{Code, Status};
pub use waiting::WaitingPods;
