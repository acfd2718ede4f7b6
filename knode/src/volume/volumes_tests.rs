//! Volumes on a real directory.

use serde_json::{Value, json};

use super::*;
use crate::sources::Source;

struct Node {
    dir: tempfile::TempDir,
    volumes: Volumes,
}

fn node() -> Node {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(dir.path().join("root"), Clock::starting_at(Default::default()));
    Node { dir, volumes }
}

fn pod(uid: &str, volumes: Value) -> Pod {
    let names = volumes.as_array().unwrap().iter().map(|volume| volume["name"].clone());
    let mounts: Vec<_> =
        names.map(|name| json!({"mountPath": format!("/{name}"), "name": name})).collect();
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": uid},
        "spec": {"containers": [{"name": "c", "volumeMounts": mounts}], "volumes": volumes},
    }))
    .unwrap()
}

fn sources(value: &str) -> PodSources {
    let map = json!({"data": {"k": value}});
    let secret = json!({"data": {"p": "cHc="}});
    PodSources::default()
        .config_map("cm", Source::found(serde_json::from_value(map).unwrap()))
        .config_map("gone", Source::Missing)
        .secret("s", Source::found(serde_json::from_value(secret).unwrap()))
}

fn four() -> Value {
    json!([
        {"name": "scratch", "emptyDir": {}},
        {"name": "config", "configMap": {"name": "cm"}},
        {"name": "keys", "secret": {"secretName": "s", "defaultMode": 0o600}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "cm"}}]}},
    ])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn volumes_are_laid_out_as_the_kubelet_does() {
    let node = node();
    let facts = PodFacts::default();
    let ready = node.volumes.set_up(&pod("u1", four()), &sources("1"), &facts).await.unwrap();
    let home = node.dir.path().join("root/pods/u1/volumes");
    for (name, plugin, read_only) in [
        ("scratch", "empty-dir", false),
        ("config", "configmap", true),
        ("keys", "secret", true),
        ("all", "projected", true),
    ] {
        let path = home.join(format!("kubernetes.io~{plugin}")).join(name);
        let expect = crate::volume::ReadyVolume { host_path: path, read_only };
        assert_eq!(ready.volumes[name], expect);
    }
    let file = |volume: &str, name: &str| ready.volumes[volume].host_path.join(name);
    assert_eq!(fs::read_to_string(file("config", "k")).unwrap(), "1");
    assert_eq!(fs::read_to_string(file("keys", "p")).unwrap(), "pw");
    assert_eq!(mode(&file("scratch", "")), 0o777);
    assert_eq!((mode(&file("keys", "")), mode(&file("keys", "p"))), (0o755, 0o600));
    // X8: what is above it keeps others out.
    assert_eq!(mode(&node.dir.path().join("root/pods/u1")), 0o700);
}

#[tokio::test]
async fn setting_up_again_keeps_scratch_and_updates_files() {
    let node = node();
    let (pod, facts) = (pod("u1", four()), PodFacts::default());
    let first = node.volumes.set_up(&pod, &sources("1"), &facts).await.unwrap();
    let scratch = first.volumes["scratch"].host_path.join("mine");
    fs::write(&scratch, "kept").unwrap();
    let again = node.volumes.set_up(&pod, &sources("2"), &facts).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(fs::read_to_string(scratch).unwrap(), "kept");
    let config = again.volumes["config"].host_path.join("k");
    assert_eq!(fs::read_to_string(config).unwrap(), "2");
}

#[tokio::test]
async fn a_pods_group_owns_its_volumes_and_reads_its_secrets() {
    use std::os::unix::fs::MetadataExt as _;
    let node = node();
    // Only root can give files to a group it is not in.
    let root = rustix::process::geteuid().is_root();
    let group = if root { 4242 } else { rustix::process::getegid().as_raw() };
    let mut pod = pod("u1", four());
    let security = json!({"fsGroup": group});
    pod.spec.as_mut().unwrap().security_context = Some(serde_json::from_value(security).unwrap());
    let facts = PodFacts::default();
    let ready = node.volumes.set_up(&pod, &sources("1"), &facts).await.unwrap();
    for (volume, file, expect) in [
        ("scratch", "", 0o2777),
        ("keys", "", 0o2755),
        ("keys", "p", 0o640),
        ("config", "", 0o2755),
        ("config", "k", 0o644),
    ] {
        let meta = fs::metadata(ready.volumes[volume].host_path.join(file)).unwrap();
        let found = (meta.gid(), meta.mode() & 0o7777);
        assert_eq!(found, (group, expect), "{volume} {file}");
    }
    let before = fs::metadata(ready.volumes["keys"].host_path.join("p")).unwrap().ino();
    node.volumes.set_up(&pod, &sources("1"), &facts).await.unwrap();
    let after = fs::metadata(ready.volumes["keys"].host_path.join("p")).unwrap().ino();
    assert_eq!(before, after, "nothing differs");
}

#[tokio::test]
async fn a_crash_while_a_directory_is_made_leaves_nothing_to_repair_n4() {
    let node = node();
    let home = node.volumes.pod_dir("u1").join("volumes/kubernetes.io~empty-dir");
    fs::create_dir_all(home.join("..scratch")).unwrap();
    fs::set_permissions(home.join("..scratch"), fs::Permissions::from_mode(0o700)).unwrap();
    let (pod, facts) = (pod("u1", four()), PodFacts::default());
    let ready = node.volumes.set_up(&pod, &sources("1"), &facts).await.unwrap();
    assert_eq!(mode(&ready.volumes["scratch"].host_path), 0o777);
    assert!(!home.join("..scratch").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_are_set_up_at_once_share_what_they_must() {
    for _ in 0..5 {
        let node = node();
        let (sources, facts) = (sources("1"), PodFacts::default());
        let pods: Vec<_> = (0..8).map(|number| pod(&format!("u{number}"), four())).collect();
        let all = pods.iter().map(|pod| node.volumes.set_up(pod, &sources, &facts));
        futures::future::try_join_all(all).await.unwrap();
        let pods = names_in(&node.dir.path().join("root/pods")).unwrap();
        assert_eq!(pods.len(), 8, "{pods:?}");
    }
}

#[tokio::test]
async fn a_volume_that_fails_is_named_and_the_others_are_ready() {
    let node = node();
    let volumes = json!([
        {"name": "bad", "configMap": {"name": "gone"}},
        {"name": "good", "configMap": {"name": "cm"}},
    ]);
    let (pod, facts) = (pod("u1", volumes), PodFacts::default());
    let failed = node.volumes.set_up(&pod, &sources("1"), &facts).await;
    let error = failed.unwrap_err().to_string();
    let expect = "MountVolume.SetUp failed for volume \"bad\" : configmap \"gone\" not found";
    assert_eq!(error, expect);
    let good = "root/pods/u1/volumes/kubernetes.io~configmap/good/k";
    assert!(node.dir.path().join(good).exists());
}

#[tokio::test]
async fn tear_down_leaves_nothing_and_orphans_are_found_n4() {
    let node = node();
    let facts = PodFacts::default();
    for uid in ["u1", "u2", "u3"] {
        node.volumes.set_up(&pod(uid, four()), &sources("1"), &facts).await.unwrap();
    }
    let scratch = node.volumes.pod_dir("u1").join("volumes/kubernetes.io~empty-dir/scratch");
    fs::create_dir(scratch.join("locked")).unwrap();
    fs::write(scratch.join("locked/file"), "").unwrap();
    fs::set_permissions(scratch.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    node.volumes.tear_down("u1").await.unwrap();
    node.volumes.tear_down("u1").await.unwrap();
    assert!(!node.volumes.pod_dir("u1").exists());
    let known = HashSet::from_iter(["u2".to_owned()]);
    assert_eq!(node.volumes.orphans(&known).await.unwrap(), ["u3"]);
    assert!(node.volumes.locks.lock().is_empty(), "a lock was left");
    let elsewhere = Volumes::new(node.dir.path().join("none"), Clock::system());
    assert!(elsewhere.orphans(&known).await.unwrap().is_empty());
}

#[tokio::test]
async fn tear_down_does_not_follow_links_out() {
    let node = node();
    let outside = node.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    let volumes = json!([{"name": "v", "emptyDir": {}}]);
    let pod = pod("u1", volumes);
    let ready = node.volumes.set_up(&pod, &sources("1"), &PodFacts::default()).await.unwrap();
    std::os::unix::fs::symlink(&outside, ready.volumes["v"].host_path.join("link")).unwrap();
    node.volumes.tear_down("u1").await.unwrap();
    assert!(outside.join("file").exists());
}

#[tokio::test]
async fn names_that_are_no_directories_are_refused() {
    let node = node();
    for uid in ["", ".", "..", "a/b"] {
        node.volumes.tear_down(uid).await.unwrap_err();
        let facts = PodFacts::default();
        node.volumes.set_up(&pod(uid, json!([])), &sources("1"), &facts).await.unwrap_err();
    }
    let climbing = json!([{"name": "../x", "emptyDir": {}}]);
    let (pod, facts) = (pod("u", climbing), PodFacts::default());
    let failed = node.volumes.set_up(&pod, &sources("1"), &facts).await;
    let error = failed.unwrap_err().to_string();
    assert!(error.ends_with("\"../x\" cannot name a directory"), "{error}");
}

#[tokio::test]
async fn sub_paths_are_resolved_in_their_volume_x7() {
    let node = node();
    let facts = PodFacts::default();
    let ready = node.volumes.set_up(&pod("u1", four()), &sources("1"), &facts).await.unwrap();
    let scratch = fs::canonicalize(&ready.volumes["scratch"].host_path).unwrap();
    std::os::unix::fs::symlink("/etc", scratch.join("out")).unwrap();
    let container = |volume: &str, sub_path: &str| -> Container {
        let mount = json!({"name": volume, "mountPath": "/m", "subPath": sub_path});
        serde_json::from_value(json!({"name": "c", "volumeMounts": [mount]})).unwrap()
    };
    let made = node.volumes.mounts(&container("scratch", "a/b"), &ready, &[]).await.unwrap();
    assert_eq!(made.mounts, [Mount::new(scratch.join("a/b"), "/m")]);
    assert!(scratch.join("a/b").is_dir());
    let error = node.volumes.mounts(&container("scratch", "out/passwd"), &ready, &[]).await;
    let expect = "spec.containers{c}.volumeMounts[0].subPath: failed to prepare subPath for \
                  volumeMount \"scratch\" of container \"c\"";
    assert_eq!(error.unwrap_err().to_string(), expect);
    // A file of the API's keeps its path over updates.
    let file = node.volumes.mounts(&container("config", "k"), &ready, &[]).await.unwrap();
    let path = ready.volumes["config"].host_path.join("k");
    assert_eq!(file.mounts, [Mount::new(path, "/m").read_only(true)]);
}

#[tokio::test]
async fn a_descriptor_outlives_a_swapped_link_x7() {
    let node = node();
    let volumes = node.volumes.clone().sub_paths(SubPaths::ByDescriptor);
    let pod = pod("u1", json!([{"name": "v", "emptyDir": {}}]));
    let ready = volumes.set_up(&pod, &sources("1"), &PodFacts::default()).await.unwrap();
    let home = &ready.volumes["v"].host_path;
    fs::create_dir(home.join("d")).unwrap();
    fs::write(home.join("d/file"), "in").unwrap();
    let mount = json!({"name": "v", "mountPath": "/m", "subPath": "d"});
    let container = serde_json::from_value(json!({"name": "c", "volumeMounts": [mount]})).unwrap();
    let resolved = volumes.mounts(&container, &ready, &[]).await.unwrap();
    fs::rename(home.join("d"), home.join("moved")).unwrap();
    std::os::unix::fs::symlink("/etc", home.join("d")).unwrap();
    let seen = resolved.mounts[0].host_path.join("file");
    assert_eq!(fs::read_to_string(seen).unwrap(), "in");
    assert_eq!(resolved.pins.len(), 1);
}
