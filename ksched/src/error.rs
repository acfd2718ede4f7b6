//! What can be wrong with a scheduler's configuration.

/// Why a scheduler cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A profile names a plugin that nobody added.
    #[error(
        "profile {profile:?}: unknown plugin {plugin:?}: add it with `Scheduler::plugin`, or take \
         its name out"
    )]
    UnknownPlugin {
        /// The profile's scheduler name.
        profile: String,
        /// The plugin's name.
        plugin: String,
    },
    /// Two factories have one name.
    #[error("two plugins are called {plugin:?}: give one of them another name")]
    DuplicatePlugin {
        /// The name.
        plugin: String,
    },
    /// Two profiles have one scheduler name.
    #[error("two profiles are called {profile:?}: give one of them another scheduler name")]
    DuplicateProfile {
        /// The name.
        profile: String,
    },
    /// A plugin's arguments cannot be used.
    #[error("profile {profile:?}: arguments of plugin {plugin:?}: {message}")]
    Arguments {
        /// The profile's scheduler name.
        profile: String,
        /// The plugin's name.
        plugin: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// A profile enables a plugin at a point that it has no part in.
    #[error("profile {profile:?}: plugin {plugin:?} does not extend {point} plugin")]
    NotAtPoint {
        /// The profile's scheduler name.
        profile: String,
        /// The plugin's name.
        plugin: String,
        /// The point's name in a configuration.
        point: &'static str,
    },
    /// A configuration cannot be used.
    #[error("{0}")]
    Config(#[from] crate::config::ConfigError),
    /// A weight is out of range.
    #[error("profile {profile:?}: weight {weight} of plugin {plugin:?}: must be from 1 to 100")]
    Weight {
        /// The profile's scheduler name.
        profile: String,
        /// The plugin's name.
        plugin: String,
        /// What was asked for.
        weight: i64,
    },
    /// A profile needs exactly one plugin that sorts its queue.
    #[error("profile {profile:?}: {count} queue sort plugins: enable exactly one")]
    QueueSort {
        /// The profile's scheduler name.
        profile: String,
        /// How many it has.
        count: usize,
    },
    /// A profile has nothing that binds.
    #[error("profile {profile:?}: no bind plugin: enable DefaultBinder or one of your own")]
    NoBind {
        /// The profile's scheduler name.
        profile: String,
    },
    /// A profile has a bind plugin that no pod would ever come to.
    #[error(
        "profile {profile:?}: bind plugin {plugin:?} is behind {before:?}, which binds every pod: \
         enable it at bind, which puts it first, or disable {before:?} there"
    )]
    NeverBinds {
        /// The profile's scheduler name.
        profile: String,
        /// The plugin that would never be asked.
        plugin: String,
        /// The plugin that binds every pod.
        before: String,
    },
    /// Profiles share one queue, so they must sort it alike.
    #[error("profile {profile:?} sorts the queue by {plugin:?}: all profiles must use one plugin")]
    DifferentQueueSort {
        /// The profile's scheduler name.
        profile: String,
        /// The plugin's name.
        plugin: String,
    },
}
