//! The configuration file's form.

use serde::Deserialize;
use serde_json::Value;

macro_rules! form {
    ($(#[$doc:meta])* $name:ident { $($(#[$how:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$how])* pub(super) $field: $type,)*
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

#[cfg(feature = "extenders")]
form!(
    /// An extender behind HTTP.
    Extender {
        url_prefix: String,
        filter_verb: String,
        preempt_verb: String,
        prioritize_verb: String,
        weight: i64,
        bind_verb: String,
        #[serde(rename = "enableHTTPS")]
        enable_https: bool,
        tls_config: Option<ExtenderTlsConfig>,
        #[serde(rename = "httpTimeout")]
        http_timeout: Option<String>,
        node_cache_capable: bool,
        managed_resources: Vec<ManagedResource>,
        ignorable: bool,
    }
);

#[cfg(feature = "extenders")]
form!(
    /// A resource that an extender keeps account of.
    ManagedResource {
        name: String,
        ignored_by_scheduler: bool,
    }
);

#[cfg(feature = "extenders")]
form!(
    /// Whom to believe and what to show; data are in base64.
    ExtenderTlsConfig {
        insecure: bool,
        server_name: String,
        cert_file: String,
        key_file: String,
        #[serde(rename = "caFile")]
        ca_file: String,
        cert_data: String,
        key_data: String,
        #[serde(rename = "caData")]
        ca_data: String,
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
