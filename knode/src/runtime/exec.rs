//! Commands inside a running container.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::Result;
use crate::runtime::chain::chainable;
use crate::runtime::{ContainerId, SandboxId};

/// Output that [`Exec::exec_sync`] keeps of each stream, in bytes, unless told otherwise.
pub const DEFAULT_EXEC_OUTPUT_BYTES: usize = 16 << 20;

/// Runs commands in containers.
#[cfg_attr(
    not(feature = "mock"),
    diagnostic::on_unimplemented(
        message = "`{Self}` does not run commands in containers",
        note = "implement `knode::runtime::Exec`, or pass an `Arc` or `Box` of a type that does"
    )
)]
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Exec: Debug + Send + Sync + 'static {
    /// Runs `command` in a running container to its end. A command that outlives the timeout is
    /// killed: [`TimedOut`](crate::Error::TimedOut). Output beyond the limit is read and dropped.
    /// Dropping the future kills the command.
    ///
    /// **Contract**
    /// - `exec_returns_output_and_exit_code`
    /// - `exec_is_killed_at_its_timeout`
    /// - `exec_output_is_bounded`
    /// - `exec_refuses_a_container_that_does_not_run`
    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        options: ExecOptions,
    ) -> Result<ExecOutput>;

    /// Interactive sessions, where the backend has them.
    fn streaming(&self) -> Option<Box<dyn Streaming>>;
}

/// Sessions whose streams stay open: `kubectl exec -it`, `attach` and `port-forward`.
///
/// A CRI backend answers with a URL to connect to; an adapter connects and hands out the streams.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no interactive sessions",
    note = "implement `knode::runtime::Streaming`"
)]
#[async_trait]
pub trait Streaming: Debug + Send + Sync + 'static {
    /// Starts `command` in a running container. Dropping the session kills the command.
    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        streams: StreamOptions,
    ) -> Result<Session>;

    /// Joins the container's own streams, from now on. Dropping the session leaves it running.
    async fn attach(&self, id: &ContainerId, streams: StreamOptions) -> Result<Session>;

    /// Connects to `port` of the pod; the session's standard input and output are the connection.
    async fn port_forward(&self, id: &SandboxId, port: u16) -> Result<Session>;
}

/// How to run a command to its end. The default has no timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecOptions {
    /// When to kill it; `None` for never.
    pub timeout: Option<Duration>,
    /// How much of each stream to keep, in bytes.
    pub output_limit: usize,
}

impl Default for ExecOptions {
    fn default() -> Self {
        Self { timeout: None, output_limit: DEFAULT_EXEC_OUTPUT_BYTES }
    }
}

chainable!(ExecOptions { timeout: into Option<Duration>, output_limit: into usize });

/// What a command wrote and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Bytes,
    /// Standard error.
    pub stderr: Bytes,
    /// The exit code; 128 + n for signal n.
    pub exit_code: i32,
}

chainable!(ExecOutput { stdout: into Bytes, stderr: into Bytes, exit_code: into i32 });

/// Which streams a session has. The default has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamOptions {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; not together with a terminal.
    pub stderr: bool,
    /// A terminal.
    pub tty: bool,
}

chainable!(StreamOptions {
    stdin: into bool,
    stdout: into bool,
    stderr: into bool,
    tty: into bool,
});

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// An open session.
#[non_exhaustive]
pub struct Session {
    /// Into its standard input.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Out of its standard output.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Out of its standard error.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// New sizes of its terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Its exit code, once it ended.
    pub exit: BoxFuture<'static, Result<i32>>,
}

impl Session {
    /// A session without streams that ends as `exit` does.
    #[must_use]
    pub fn new(exit: BoxFuture<'static, Result<i32>>) -> Self {
        Self { stdin: None, stdout: None, stderr: None, resize: None, exit }
    }
}

impl Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("stdin", &self.stdin.is_some())
            .field("stdout", &self.stdout.is_some())
            .field("stderr", &self.stderr.is_some())
            .field("tty", &self.resize.is_some())
            .finish_non_exhaustive()
    }
}
