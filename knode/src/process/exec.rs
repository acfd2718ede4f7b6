//! Commands beside a container's process, with its environment and directory.

use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::ProcessRuntime;
use super::containers::invalid_state;
use super::shim::start_error;
use super::state::Phase;
use crate::runtime::{ContainerId, Exec, ExecOptions, ExecOutput, Streaming};
use crate::{Error, Result};

/// Kills a command and what it started, unless it has been reaped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[async_trait]
impl Exec for ProcessRuntime {
    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        options: ExecOptions,
    ) -> Result<ExecOutput> {
        let container = self.inner.known_container(id)?;
        if !matches!(*container.phase.borrow(), Phase::Running(_)) {
            return Err(invalid_state(&container, "Running"));
        }
        let Some((program, args)) = command.split_first() else {
            return Err(super::launch::invalid("command", "no command specified".to_owned()));
        };
        container.has_execs.store(true, Ordering::Release);
        let spec = &container.record.spec;
        let mut prepared = Command::new(program);
        prepared
            .args(args)
            .env_clear()
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&spec.working_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(user) = spec.user {
            prepared.uid(user);
        }
        if let Some(group) = spec.group {
            prepared.gid(group);
        }
        let mut child = prepared.spawn().map_err(|error| Error::StartFailed {
            container: id.to_string(),
            message: start_error(program, spec, &error),
        })?;
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let mut group = Group(pid);
        let run = async {
            let stdout = collect(child.stdout.take(), options.output_limit);
            let stderr = collect(child.stderr.take(), options.output_limit);
            // Reaped last: until then the group's number belongs to nobody else.
            let (stdout, stderr) = futures::future::join(stdout, stderr).await;
            let status = child.wait().await;
            (stdout, stderr, status)
        };
        let limit = options.timeout.unwrap_or(Duration::MAX);
        let (stdout, stderr, status) = tokio::time::timeout(limit, run).await.map_err(|_| {
            Error::TimedOut { what: format!("command {:?}", command.join(" ")), after: limit }
        })?;
        group.0 = None;
        let status = status.map_err(Error::io("wait for", program))?;
        Ok(ExecOutput::default().stdout(stdout).stderr(stderr).exit_code(exit_code(status)))
    }

    fn streaming(&self) -> Option<Box<dyn Streaming>> {
        None
    }
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Reads a stream to its end and keeps its beginning.
async fn collect(stream: Option<impl AsyncRead + Unpin>, limit: usize) -> Bytes {
    let Some(mut stream) = stream else { return Bytes::new() };
    let mut kept = BytesMut::new();
    let mut buffer = vec![0; 8192];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = limit - kept.len();
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    kept.freeze()
}
