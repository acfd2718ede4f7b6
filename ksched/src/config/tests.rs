//! Configurations from the documentation, and wrong ones.

use serde_json::json;

use super::*;
use crate::testing::{Cluster, node, pod};

const HEAD: &str = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";

fn read(rest: &str) -> SchedulerConfig {
    SchedulerConfig::from_yaml(&format!("{HEAD}{rest}")).unwrap()
}

fn wrong(rest: &str) -> String {
    SchedulerConfig::from_yaml(&format!("{HEAD}{rest}")).unwrap_err().to_string()
}

fn two_nodes(profile: Profile) -> Cluster {
    let nodes = [node("full").cpu("4").memory("4Gi"), node("free").cpu("4").memory("4Gi")];
    Cluster::new(nodes).running(pod("r").cpu("2").memory("2Gi").on("full")).profile(profile)
}

#[test]
fn an_empty_configuration_is_the_default_one() {
    let config = read("");
    assert_eq!(config.profiles().len(), 1);
    assert_eq!(config.profiles()[0].scheduler_name(), "default-scheduler");
    assert_eq!(config.initial_backoff(), INITIAL_BACKOFF);
    assert!(config.leader_election("me").is_none());
}

#[test]
fn profiles_change_placement_as_documented() {
    let config = read(
        "parallelism: 4
percentageOfNodesToScore: 50
podInitialBackoffSeconds: 2
podMaxBackoffSeconds: 20
leaderElection: {leaderElect: true, leaseDuration: 1m, renewDeadline: 30s}
clientConnection: {kubeconfig: /etc/kubernetes/scheduler.conf}
profiles:
  - schedulerName: default-scheduler
  - schedulerName: packing
    pluginConfig:
      - name: NodeResourcesFit
        args:
          apiVersion: kubescheduler.config.k8s.io/v1
          kind: NodeResourcesFitArgs
          scoringStrategy:
            type: MostAllocated
            resources: [{name: cpu, weight: 1}, {name: memory, weight: 1}]
  - schedulerName: no-scoring-scheduler
    plugins:
      preScore: {disabled: [{name: '*'}]}
      score: {disabled: [{name: '*'}]}
",
    );
    let placed = |at: usize| {
        let cluster = two_nodes(config.profiles()[at].clone());
        cluster.explain(pod("p").cpu("1").memory("1Gi")).unwrap().ranked()[0].clone()
    };
    assert_eq!(&*placed(0).node, "free");
    assert_eq!(&*placed(1).node, "full");
    assert!(placed(2).scores.is_empty());
    assert_eq!(config.initial_backoff().as_secs(), 2);
    assert_eq!(config.percentage_of_nodes_to_score(), Some(50));
    let election = config.leader_election("me").unwrap();
    assert_eq!(
        (election.namespace.as_str(), election.name.as_str()),
        ("kube-system", "kube-scheduler")
    );
    assert_eq!(election.lease_duration.as_secs(), 60);
}

#[test]
fn multi_point_and_single_points_combine_as_upstream() {
    let framework = |rest: &str| {
        let config = read(&format!("profiles:\n  - plugins: {rest}\n"));
        two_nodes(config.profiles()[0].clone()).framework().unwrap()
    };
    let scores = |rest: &str| -> Vec<(String, i64)> {
        let framework = framework(rest);
        let score = framework.points.score.iter();
        score.map(|(plugged, weight)| (plugged.name.to_string(), *weight)).collect()
    };
    let named = |all: &[(&str, i64)]| -> Vec<(String, i64)> {
        all.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
    };
    let default = [
        ("TaintToleration", 3),
        ("NodeAffinity", 2),
        ("NodeResourcesFit", 1),
        ("VolumeBinding", 1),
        ("PodTopologySpread", 2),
        ("InterPodAffinity", 2),
        ("NodeResourcesBalancedAllocation", 1),
        ("ImageLocality", 1),
    ];
    assert_eq!(scores("{}"), named(&default));
    // A weight in multiPoint keeps the place; a point of its own goes first.
    let changed = scores("{multiPoint: {enabled: [{name: NodeResourcesFit, weight: 9}]}}");
    assert_eq!(changed[2], ("NodeResourcesFit".to_owned(), 9));
    let first = scores("{score: {enabled: [{name: ImageLocality, weight: 7}]}}");
    assert_eq!(first[0], ("ImageLocality".to_owned(), 7));
    assert_eq!(first.len(), default.len());
    // What is disabled and enabled again comes last, or alone.
    let again = scores(
        "{multiPoint: {disabled: [{name: TaintToleration}], enabled: [{name: TaintToleration}]}}",
    );
    assert_eq!(again.last().unwrap().0, "TaintToleration");
    let alone = scores("{score: {disabled: [{name: '*'}], enabled: [{name: NodeAffinity}]}}");
    assert_eq!(alone, named(&[("NodeAffinity", 2)]));
    let filters = framework("{filter: {disabled: [{name: '*'}]}}");
    assert!(filters.points.filter.is_empty() && !filters.points.score.is_empty());
    let last = |rest: &str| framework(rest).points.filter.last().unwrap().name.to_string();
    assert_eq!(last("{}"), "NodeDeclaredFeatures");
    let without = "{multiPoint: {disabled: [{name: NodeDeclaredFeatures}]}}";
    assert_eq!(last(without), "InterPodAffinity");
    // Plugins that are not here are off without a word.
    assert_eq!(scores("{multiPoint: {disabled: [{name: DynamicResources}]}}"), named(&default));
}

#[test]
fn wrong_configurations_say_what_would_be_right() {
    for (rest, expected) in [
        ("parallelism: 0\n", "parallelism: Invalid value: 0: should be an integer value greater"),
        ("percentageOfNodesToScore: 101\n", "not in valid range [0-100]"),
        ("podInitialBackoffSeconds: 0\n", "must be greater than 0"),
        ("podMaxBackoffSeconds: -1\n", "podMaxBackoffSeconds: Invalid value: -1"),
        ("podInitialBackoffSeconds: 20\n", "must be greater than or equal to PodInitial"),
        ("nonsense: 1\n", "nonsense"),
        ("profiles: [{}, {}]\n", "profiles[1].schedulerName: Invalid value: default-scheduler"),
        (
            "profiles: [{plugins: {score: {enabled: [{name: NodeAffinity, weight: -1}]}}}]\n",
            "profiles[0].plugins.score.enabled[0].weight: Invalid value: -1",
        ),
        ("leaderElection: {leaseDuration: 5s}\n", "LeaseDuration must be greater than Renew"),
        ("leaderElection: {retryPeriod: soon}\n", "must be a duration such as 15s"),
    ] {
        let message = wrong(rest);
        assert!(message.contains(expected), "{rest}: {message}");
    }
    let old = "apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration\n";
    let message = SchedulerConfig::from_yaml(old).unwrap_err().to_string();
    assert!(message.contains("must be kubescheduler.config.k8s.io/v1"), "{message}");
}

#[cfg(not(feature = "extenders"))]
#[test]
fn extenders_are_refused_by_a_program_without_them() {
    let message = wrong("extenders: [{urlPrefix: 'http://x'}]\n");
    assert!(message.contains("extenders: Forbidden"), "{message}");
    assert!(message.contains("the feature `extenders` of ksched"), "{message}");
}

#[cfg(feature = "extenders")]
#[test]
fn wrong_extenders_say_what_would_be_right() {
    for (extender, expected) in [
        ("{}", "extenders[0].urlPrefix: \"\" is no URL of an extender"),
        ("{urlPrefix: 'ftp://x'}", "it begins neither with http:// nor with https://"),
        ("{urlPrefix: 'http://me:secret@x'}", "credentials do not belong there"),
        ("{urlPrefix: 'https://x'}", "an authority to believe is needed"),
        ("{urlPrefix: 'http://x', filterverb: f}", "extenders[0]: unknown field `filterverb`"),
        (
            "{urlPrefix: 'http://x', prioritizeVerb: p}",
            "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it",
        ),
        (
            "{urlPrefix: 'http://x', prioritizeVerb: p, weight: -3}",
            "extenders[0].weight: Invalid value: -3",
        ),
        ("{urlPrefix: 'http://x', httpTimeout: soon}", "extenders[0].httpTimeout: Invalid value"),
        (
            "{urlPrefix: 'http://x', managedResources: [{name: cpu}]}",
            "managedResources[0].name: Invalid value: cpu: is an invalid extended resource name",
        ),
        (
            "{urlPrefix: 'http://x', managedResources: [{name: a.b/c}, {name: a.b/c}]}",
            "managedResources[1].name: Invalid value: a.b/c: duplicate extender managed resource",
        ),
        (
            "{urlPrefix: 'http://x', bindVerb: b}, {urlPrefix: 'http://y', bindVerb: b}",
            "found 2 extenders implementing bind: only one extender can implement bind",
        ),
        (
            "{urlPrefix: 'https://x', tlsConfig: {caFile: /no/such/file}}",
            "extenders[0].tlsConfig.caFile: /no/such/file: ",
        ),
        (
            "{urlPrefix: 'https://x', tlsConfig: {insecure: true, certData: YQ==}}",
            "a certificate and its key are needed, or none of both",
        ),
        (
            "{urlPrefix: 'https://x', tlsConfig: {caData: 'YQ=='}}",
            "the authority cannot be used: no certificate in it",
        ),
    ] {
        let message = wrong(&format!("extenders: [{extender}]\n"));
        assert!(message.contains(expected), "{extender}: {message}");
        assert!(!message.contains("secret"), "X8: {message}");
    }
}

#[test]
fn wrong_plugins_and_arguments_show_when_the_profile_is_built() {
    for (rest, expected) in [
        ("plugins: {multiPoint: {enabled: [{name: Nope}]}}", "unknown plugin \"Nope\""),
        (
            "plugins: {score: {enabled: [{name: NodeName}]}}",
            "plugin \"NodeName\" does not extend score plugin",
        ),
        (
            "pluginConfig: [{name: InterPodAffinity, args: {hardPodAffinityWeight: 101}}]",
            "hardPodAffinityWeight: Invalid value: 101: not in valid range [0-100]",
        ),
        (
            "pluginConfig: [{name: VolumeBinding, args: {bindTimeoutSeconds: -1}}]",
            "bindTimeoutSeconds: Invalid value: -1",
        ),
        (
            "pluginConfig: [{name: DefaultPreemption, args: {minCandidateNodesPercentage: 200}}]",
            "minCandidateNodesPercentage: Invalid value: 200: not in valid range [0, 100]",
        ),
        (
            "pluginConfig: [{name: PodTopologySpread, args: {defaultingType: List, \
             defaultConstraints: [{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: \
             ScheduleAnyway}]}}]",
            "defaultConstraints[0].maxSkew: Invalid value: 0",
        ),
    ] {
        let config = read(&format!("profiles:\n  - {rest}\n"));
        let error = two_nodes(config.profiles()[0].clone()).framework().unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("default-scheduler"), "{error}");
    }
}

#[test]
fn default_constraints_of_the_arguments_spread_pods_of_a_service() {
    let config = read(
        "profiles:
  - pluginConfig:
      - name: PodTopologySpread
        args:
          defaultingType: List
          defaultConstraints:
            - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}
",
    );
    let service = json!({"metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}}});
    let cluster = Cluster::new([node("a").label("zone", "1"), node("b").label("zone", "2")])
        .profile(config.profiles()[0].clone())
        .json::<k8s_openapi::api::core::v1::Service>(service)
        .running(pod("r").label("app", "web").on("a"));
    assert_eq!(cluster.place(pod("p").label("app", "web")).as_deref(), Ok("b"));
}
