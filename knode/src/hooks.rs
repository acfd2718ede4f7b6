//! Lifecycle hooks: what a container runs after its start and before its stop.
//!
//! <https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/>

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Pod};

use crate::pod::described;
use crate::probe::{self, Scheme, Target};
use crate::runtime::{ExecOptions, ExecOutput};
use crate::{Error, Result};

/// The message of the event `FailedPostStartHook`.
pub const POST_START_FAILED: &str = "PostStartHook failed";
/// The message of the event `FailedPreStopHook`.
pub const PRE_STOP_FAILED: &str = "PreStopHook failed";
/// Who an HTTP hook says it is, unless its headers say otherwise.
pub const USER_AGENT: &str = "kube-lifecycle/1.37";

/// Runs `handler` to its end: a command in the container, a GET whose status does not matter, or
/// a pause. Nothing limits its time but the caller, who drops the future: that ends the command
/// or the connection.
///
/// # Errors
/// [`Hook`](Error::Hook), in upstream's words. A `tcpSocket` handler always fails: the API keeps
/// the field, and no release of Kubernetes runs it.
pub async fn run_hook(
    handler: &LifecycleHandler,
    pod: &Pod,
    container: &Container,
    target: Target<'_>,
) -> Result<()> {
    let failed = |what: String, why: String| {
        let (name, pod) = (&container.name, described(pod));
        let message = format!("{what} for Container {name:?} in Pod {pod:?} failed - {why}");
        Err(Error::Hook { message })
    };
    if let Some(exec) = &handler.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        let what = format!("Exec lifecycle hook ([{}])", command.join(" "));
        return match run_command(command, target).await {
            Ok(()) => Ok(()),
            Err((error, output)) => failed(what, format!("error: {error}, message: {output:?}")),
        };
    }
    if let Some(get) = &handler.http_get {
        let path = get.path.as_deref().unwrap_or_default();
        return match request(get, container, target).await {
            Ok(()) => Ok(()),
            Err(error) => {
                failed(format!("HTTP lifecycle hook ({path})"), format!("error: {error}"))
            }
        };
    }
    if let Some(sleep) = &handler.sleep {
        let seconds = u64::try_from(sleep.seconds).unwrap_or_default();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        return Ok(());
    }
    let name = if handler.tcp_socket.is_some() { "tcpSocket" } else { "none" };
    let message = format!("Cannot run handler: invalid handler: {name}");
    Err(Error::Hook { message })
}

/// Runs a command to its end, or returns why it failed and what it wrote.
async fn run_command(command: &[String], target: Target<'_>) -> Result<(), (String, String)> {
    let options = ExecOptions::default().output_limit(probe::MAX_MESSAGE_BYTES);
    let ran = target.exec.exec_sync(target.container, command, options).await;
    let ExecOutput { stdout, stderr, exit_code } =
        ran.map_err(|error| (error.to_string(), String::new()))?;
    if exit_code == 0 {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (command, stderr) = (command.join(" "), text(&stderr));
    let error = format!("command '{command}' exited with {exit_code}: {stderr}");
    Err((error, text(&stdout) + &stderr))
}

async fn request(
    action: &HTTPGetAction,
    container: &Container,
    target: Target<'_>,
) -> Result<(), String> {
    let field = format!("spec.containers{{{}}}.lifecycle.httpGet", container.name);
    let mut get = probe::http_get(action, container, &field).map_err(|error| error.to_string())?;
    if !get.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
        get.headers.push(("User-Agent".into(), USER_AGENT.into()));
    }
    let mut asked = probe::fetch(&get, target.address).await;
    // A server that does not speak TLS is asked in the clear, without its credentials: upstream
    // did so before it honored the scheme, and pods rely on it.
    if get.scheme == Scheme::Https && asked.as_ref().is_err_and(|error| is_not_tls(error)) {
        get.scheme = Scheme::Http;
        get.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        asked = probe::fetch(&get, target.address).await;
    }
    let url = probe::url(&get, target.address);
    asked.map(|_| ()).map_err(|error| format!("Get {url:?}: {error}"))
}

/// What rustls says when the other side answers in the clear.
fn is_not_tls(error: &str) -> bool {
    error.contains("InvalidContentType")
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
