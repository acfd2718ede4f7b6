//! Volumes as the API has them, and what comes of them.

use serde_json::{Value, json};

use super::*;
use crate::env::Allocatable;
use crate::sources::{DEFAULT_EXPIRATION_SECONDS, Source, Token, TokenWish};
use jiff::Timestamp;

fn sources() -> PodSources {
    let (issued, expires) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
    let token = Token { text: "jwt".to_owned(), issued, expires };
    let wish = |audience: &str| TokenWish {
        audience: audience.to_owned(),
        expiration_seconds: DEFAULT_EXPIRATION_SECONDS,
    };
    let map = json!({"data": {"a": "1", "b": "2"}, "binaryData": {"bin": "/w=="}});
    PodSources::default()
        .config_map("cm", Source::found(serde_json::from_value(map).unwrap()))
        .config_map("gone", Source::Missing)
        .secret("s", Source::found(serde_json::from_value(json!({"data": {"p": "cHc="}})).unwrap()))
        .secret("gone", Source::Missing)
        .secret("slow", Source::Unavailable("not now".into()))
        .token(wish(""), Source::found(token))
        .token(wish("vault"), Source::Unavailable("failed to fetch token: no".into()))
}

fn plan(volume: Value) -> Result<Content> {
    let mut volume = volume;
    volume["name"] = json!("v");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "labels": {"app": "web"}},
        "spec": {"containers": [{
            "name": "c", "resources": {"limits": {"cpu": "2"}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }], "volumes": [{"name": "unused", "nfs": {"server": "s", "path": "/"}}, volume]},
    }))
    .unwrap();
    let memory = kcore::quantity::Quantity::from_units(1024, Default::default());
    let facts = PodFacts::default().allocatable(Allocatable::default().memory(memory));
    let mut plans = plan_volumes(&pod, &sources(), &facts);
    assert_eq!(plans.len(), 1, "a volume that nobody mounts is left alone");
    let (name, plan) = plans.remove(0);
    assert_eq!(name, "v");
    plan.map(|plan| plan.content)
}

/// The files as `path=content(mode)`.
fn check_files(volume: Value, expect: &str) {
    let Content::Files { payload, .. } = plan(volume.clone()).unwrap() else { panic!("{volume}") };
    let files = payload.files().iter().map(|(path, file)| {
        format!("{path}={}({:o})", String::from_utf8_lossy(&file.data), file.mode)
    });
    assert_eq!(files.collect::<Vec<_>>().join(" "), expect, "{volume}");
}

fn refuse(volume: Value, expect: &str) {
    assert_eq!(plan(volume.clone()).unwrap_err().to_string(), expect, "{volume}");
}

#[test]
fn config_maps_become_files() {
    let map = |more: Value| {
        let mut source = json!({"name": "cm"});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"configMap": source})
    };
    check_files(map(json!({})), "a=1(644) b=2(644) bin=\u{fffd}(644)");
    check_files(
        map(json!({"defaultMode": 0o400, "items": [
            {"key": "a", "path": "d/x"}, {"key": "bin", "path": "y", "mode": 0o600},
        ]})),
        "d/x=1(400) y=\u{fffd}(600)",
    );
    let nope = json!({"items": [{"key": "nope", "path": "x"}]});
    refuse(
        map(nope.clone()),
        "spec.volumes[1].configMap.items[0].key: configmap references non-existent config key: \
         nope",
    );
    let mut optional = nope;
    optional["optional"] = json!(true);
    check_files(map(optional), "");
    check_files(map(json!({"name": "gone", "optional": true})), "");
    refuse(map(json!({"name": "gone"})), "configmap \"gone\" not found");
    refuse(
        map(json!({"items": [{"key": "a", "path": "../x"}]})),
        "spec.volumes[1].configMap.items[0].path: invalid path: must not contain '..': ../x",
    );
}

#[test]
fn secrets_become_private_files() {
    check_files(json!({"secret": {"secretName": "s", "defaultMode": 0o400}}), "p=pw(400)");
    check_files(json!({"secret": {"secretName": "gone", "optional": true}}), "");
    refuse(json!({"secret": {"secretName": "gone"}}), "secret \"gone\" not found");
    refuse(json!({"secret": {"secretName": "slow", "optional": true}}), "not now");
    refuse(
        json!({"secret": {"secretName": "s", "items": [{"key": "q", "path": "q"}]}}),
        "spec.volumes[1].secret.items[0].key: references non-existent secret key: q",
    );
}

#[test]
fn fields_of_the_pod_become_files() {
    let items = json!([
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "mode": 0o440, "resourceFieldRef": {
            "containerName": "c", "resource": "limits.cpu", "divisor": "1m"}},
        {"path": "memory", "resourceFieldRef": {"containerName": "c", "resource": "limits.memory"}},
    ]);
    let expect = "cpu=2000(440) labels=app=\"web\"(644) memory=1024(644)";
    check_files(json!({"downwardAPI": {"items": items}}), expect);
    let field = |path: &str| {
        let item = json!({"path": "x", "fieldRef": {"fieldPath": path}});
        json!({"downwardAPI": {"items": [item]}})
    };
    refuse(
        field("status.podIP"),
        "spec.volumes[1].downwardAPI.items[0].fieldRef.fieldPath: unsupported fieldPath: \
         status.podIP",
    );
    refuse(
        json!({"downwardAPI": {"items": [{"path": "x"}]}}),
        "spec.volumes[1].downwardAPI.items[0]: one of fieldRef and resourceFieldRef is needed",
    );
}

#[test]
fn projected_sources_are_laid_over_each_other() {
    let projected =
        |sources: Value| json!({"projected": {"sources": sources, "defaultMode": 0o440}});
    check_files(
        projected(json!([
            {"configMap": {"name": "cm", "items": [{"key": "a", "path": "x"}]}},
            {"downwardAPI": {"items": [
                {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"configMap": {"name": "cm", "items": [{"key": "b", "path": "x", "mode": 0o400}]}},
            {"secret": {"name": "gone", "optional": true}},
        ])),
        "name=p(440) x=2(400)",
    );
    check_files(projected(json!([{"secret": {"name": "s"}}])), "p=pw(440)");
    check_files(projected(json!([])), "");
    refuse(projected(json!([{"configMap": {"name": "gone"}}])), "configmap \"gone\" not found");
    let token =
        |audience: &str| json!([{"serviceAccountToken": {"path": "t", "audience": audience}}]);
    check_files(projected(token("")), "t=jwt(440)");
    refuse(projected(token("vault")), "failed to fetch token: no");
    refuse(
        projected(token("other")),
        "failed to sync token cache: timed out waiting for the condition",
    );
    for kind in ["clusterTrustBundle", "podCertificate"] {
        let source = json!([{ kind: {"path": "t", "keyType": "k", "signerName": "s"} }]);
        let error = plan(projected(source)).unwrap_err().to_string();
        let field = format!("spec.volumes[1].projected.sources[0].{kind}: is not supported");
        assert!(error.starts_with(&field), "{error}");
    }
}

#[test]
fn empty_and_host_volumes_are_what_they_say() {
    let check = |volume: Value, expect: Content| {
        assert_eq!(plan(volume.clone()).unwrap(), expect, "{volume}");
    };
    let empty = |medium| Content::Empty { medium, group: None };
    check(json!({"emptyDir": {}}), empty(Medium::Default));
    check(json!({"emptyDir": {"medium": "Memory"}}), empty(Medium::Memory));
    let host = |kind| Content::Host { path: "/var/x".into(), kind };
    check(json!({"hostPath": {"path": "/var/x"}}), host(HostPathType::Unset));
    let kind = HostPathType::DirectoryOrCreate;
    check(json!({"hostPath": {"path": "/var/x", "type": "DirectoryOrCreate"}}), host(kind));
    refuse(
        json!({"emptyDir": {"medium": "HugePages"}}),
        "spec.volumes[1].emptyDir.medium: \"HugePages\" is not supported by this node, use \"\" or \
         \"Memory\"",
    );
    refuse(
        json!({"hostPath": {"path": "/a/../b"}}),
        "spec.volumes[1].hostPath.path: \"/a/../b\" must be an absolute path without '..'",
    );
    refuse(
        json!({"hostPath": {"path": "/a", "type": "X"}}),
        "spec.volumes[1].hostPath.type: X is an invalid volume type",
    );
}

#[test]
fn any_other_volume_is_named_with_its_type() {
    for (kind, source) in [
        ("nfs", json!({"server": "s", "path": "/"})),
        ("persistentVolumeClaim", json!({"claimName": "c"})),
        ("csi", json!({"driver": "d"})),
        ("image", json!({"reference": "r"})),
    ] {
        let error = plan(json!({ kind: source })).unwrap_err().to_string();
        let start = format!("spec.volumes[1].{kind}: volume \"v\" is {kind}, which is not");
        assert!(error.starts_with(&start), "{error}");
    }
    refuse(
        json!({}),
        "spec.volumes[1]: volume \"v\" is without a type, which is not supported by this node, use \
         emptyDir, configMap, secret, downwardAPI, projected or hostPath",
    );
}
