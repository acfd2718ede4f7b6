//! Makes a container's image present, as its pull policy says.
//! <https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use tokio::time::Instant;

use super::start::{PULL_BACKOFF, StartFailure, took};
use super::words::chain;
use super::worker::Worker;
use crate::pod::Member;
use crate::runtime::{PullOptions, RegistryAuth};
use crate::sources::{PodSources, Source};

/// The file in a Secret of registries' credentials.
const DOCKER_CONFIG: &str = ".dockerconfigjson";
/// The registry of images that name none.
const DEFAULT_REGISTRY: &str = "docker.io";

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Always,
    IfNotPresent,
    Never,
}

/// The container's policy; without one the tag decides, as the API server's default does.
fn policy(member: &Member<'_>, image: &str) -> Policy {
    match member.container.image_pull_policy.as_deref() {
        Some("Always") => Policy::Always,
        Some("Never") => Policy::Never,
        Some(_) => Policy::IfNotPresent,
        None => {
            let (_, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
            let latest = tag == "latest" || tag.contains('/');
            if latest && !image.contains('@') { Policy::Always } else { Policy::IfNotPresent }
        }
    }
}

/// Makes the image of a container present, and says what the runtime calls it.
pub(super) async fn ensure(
    worker: &mut Worker,
    pod: &Pod,
    member: &Member<'_>,
) -> Result<String, StartFailure> {
    let image = member.container.image.clone().unwrap_or_default();
    let reference = worker.container_reference(member.name());
    let hub = worker.hub.clone();
    let found = hub.runtime.images().status(&image).await;
    let present = found.map_err(|error| {
        let message = format!("Failed to inspect image {image:?}: {}", chain(&error));
        hub.recorder.warning(&reference, "InspectFailed", message.as_str());
        StartFailure::new("ImageInspectError", message)
    })?;
    match (policy(member, &image), present.is_some()) {
        (Policy::IfNotPresent | Policy::Never, true) => {
            let message = format!("Container image {image:?} already present on machine");
            hub.recorder.normal(&reference, "Pulled", message);
            return Ok(image);
        }
        (Policy::Never, false) => {
            let message =
                format!("Container image {image:?} is not present with pull policy of Never");
            hub.recorder.warning(&reference, "ErrImageNeverPull", message.as_str());
            return Err(StartFailure::new("ErrImageNeverPull", message));
        }
        _ => {}
    }
    if let Some(failure) = backs_off(worker, &image) {
        let message = format!("Back-off pulling image {image:?}");
        hub.recorder.normal(&reference, "BackOff", message);
        return Err(failure);
    }
    hub.recorder.normal(&reference, "Pulling", format!("Pulling image {image:?}"));
    let sources = hub.sources.resolve(pod).await;
    let options = PullOptions::default().auth(credentials(pod, &image, &sources));
    let began = Instant::now();
    match hub.runtime.images().pull(&image, options).await {
        Ok(_) => {
            worker.images.failures.remove(&image);
            let took = took(began);
            let message =
                format!("Successfully pulled image {image:?} in {took} ({took} including waiting)");
            hub.recorder.normal(&reference, "Pulled", message);
            Ok(image)
        }
        Err(error) => {
            let message = chain(&error);
            hub.recorder.warning(&reference, "Failed", message.as_str());
            hub.recorder.warning(&reference, "Failed", "Error: ErrImagePull");
            let known = worker.images.failures.get(&image).map_or(0, |(count, ..)| *count);
            let now = Instant::now();
            worker.images.failures.insert(image, (known + 1, now, message.clone()));
            let mut failure = StartFailure::new("ErrImagePull", message);
            // The next look says ImagePullBackOff, and for how long.
            failure.retry_in = Some(std::time::Duration::from_secs(1));
            Err(failure)
        }
    }
}

/// Whether the image waits because pulling it has failed.
fn backs_off(worker: &Worker, image: &str) -> Option<StartFailure> {
    let (failures, at, why) = worker.images.failures.get(image)?;
    let wait = PULL_BACKOFF.delay(failures.saturating_sub(1));
    let left = wait.checked_sub(at.elapsed()).filter(|left| !left.is_zero())?;
    let message = format!("Back-off pulling image {image:?}: ErrImagePull: {why}");
    let mut failure = StartFailure::new("ImagePullBackOff", message);
    failure.retry_in = Some(left);
    Some(failure)
}

/// A registry's part of a Secret of credentials.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
}

/// Who asks the image's registry, as the pod's pull Secrets say.
/// <https://kubernetes.io/docs/concepts/containers/images/#referring-to-an-imagepullsecrets-on-a-pod>
fn credentials(pod: &Pod, image: &str, sources: &PodSources) -> Option<RegistryAuth> {
    let registry = registry(image);
    let spec = pod.spec.as_ref()?;
    for reference in spec.image_pull_secrets.iter().flatten() {
        let Some(Source::Found(secret)) = sources.secrets.get(&reference.name) else { continue };
        let Some(text) = secret.data.as_ref().and_then(|data| data.get(DOCKER_CONFIG)) else {
            continue;
        };
        let Ok(config) = serde_json::from_slice::<Config>(&text.0) else { continue };
        let found = config.auths.iter().find(|(name, _)| same_registry(name, registry));
        if let Some(auth) = found.and_then(|(_, auth)| user(auth)) {
            return Some(auth);
        }
    }
    None
}

fn user(auth: &Auth) -> Option<RegistryAuth> {
    if let (Some(name), Some(password)) = (&auth.username, &auth.password) {
        return Some(RegistryAuth::new(name, password));
    }
    let decoded: k8s_openapi::ByteString =
        serde_json::from_value(serde_json::Value::String(auth.auth.clone()?)).ok()?;
    let text = String::from_utf8(decoded.0).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(RegistryAuth::new(name, password))
}

/// The registry of an image: what is before its first slash, if that can be a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DEFAULT_REGISTRY,
    }
}

/// Whether an entry of a Secret is of that registry.
fn same_registry(entry: &str, registry: &str) -> bool {
    let entry = entry.strip_prefix("https://").or(entry.strip_prefix("http://")).unwrap_or(entry);
    let host = entry.split('/').next().unwrap_or(entry);
    host == registry || (registry == DEFAULT_REGISTRY && host == "index.docker.io")
}
