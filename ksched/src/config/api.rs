//! The configuration file's form.

use serde::Deserialize;
use serde_json::Value;

macro_rules! form {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }
    };
}

form!(
    /// `KubeSchedulerConfiguration` of `kubescheduler.config.k8s.io/v1`.
    File {
        api_version: String,
        kind: String,
        parallelism: Option<i64>,
        leader_election: Option<LeaderElection>,
        client_connection: Option<Value>,
        enable_profiling: Option<bool>,
        enable_contention_profiling: Option<bool>,
        percentage_of_nodes_to_score: Option<i64>,
        pod_initial_backoff_seconds: Option<i64>,
        pod_max_backoff_seconds: Option<i64>,
        profiles: Vec<Profile>,
        extenders: Vec<Value>,
        delay_cache_until_active: Option<bool>,
    }
);

form!(
    /// Whether, and how, copies of the scheduler take turns.
    LeaderElection {
        leader_elect: Option<bool>,
        lease_duration: Option<String>,
        renew_deadline: Option<String>,
        retry_period: Option<String>,
        resource_lock: Option<String>,
        resource_name: Option<String>,
        resource_namespace: Option<String>,
    }
);

form!(
    /// One profile.
    Profile {
        scheduler_name: Option<String>,
        percentage_of_nodes_to_score: Option<i64>,
        plugins: Option<Plugins>,
        plugin_config: Vec<PluginConfig>,
    }
);

form!(
    /// The plugins of a profile, by extension point.
    Plugins {
        pre_enqueue: PluginSet,
        queue_sort: PluginSet,
        pre_filter: PluginSet,
        filter: PluginSet,
        post_filter: PluginSet,
        pre_score: PluginSet,
        score: PluginSet,
        reserve: PluginSet,
        permit: PluginSet,
        pre_bind: PluginSet,
        bind: PluginSet,
        post_bind: PluginSet,
        multi_point: PluginSet,
    }
);

form!(
    /// What is changed at one point.
    PluginSet {
        enabled: Vec<Plugin>,
        disabled: Vec<Plugin>,
    }
);

form!(
    /// A plugin by its name.
    Plugin {
        name: String,
        weight: Option<i64>,
    }
);

form!(
    /// The arguments of a plugin.
    PluginConfig {
        name: String,
        args: Value,
    }
);
