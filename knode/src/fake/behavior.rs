//! What a scripted container does.

use std::time::Duration;

use crate::runtime::chain::chainable;

/// What a scripted container does. The default starts at once, runs until it is stopped, obeys
/// the request to end, and is healthy.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Behavior {
    /// How long starting takes.
    pub start_delay: Duration,
    /// It cannot be started, and why.
    pub start_error: Option<String>,
    /// How long it runs; `None` for until it is stopped.
    pub exit_after: Option<Duration>,
    /// How it ends by itself.
    pub exit_code: i32,
    /// How it ends when asked to; `None` if it ignores the request.
    pub on_request: Option<OnRequest>,
    /// How long after its start probes succeed.
    pub healthy_after: Duration,
    /// How long after its start probes fail again; `None` for never.
    pub unhealthy_after: Option<Duration>,
    /// What it writes when it starts, a line each.
    pub log: Vec<String>,
    /// What commands inside it do, the first whose words the command begins with.
    pub commands: Vec<(Vec<String>, Command)>,
    /// What it uses, in bytes.
    pub memory_bytes: u64,
    /// Share of a CPU that it uses.
    pub cpu: f64,
}

impl Default for Behavior {
    fn default() -> Self {
        Self {
            start_delay: Duration::ZERO,
            start_error: None,
            exit_after: None,
            exit_code: 0,
            on_request: Some(OnRequest::default()),
            healthy_after: Duration::ZERO,
            unhealthy_after: None,
            log: Vec::new(),
            commands: Vec::new(),
            memory_bytes: 16 << 20,
            cpu: 0.01,
        }
    }
}

chainable!(Behavior {
    start_delay: into Duration,
    start_error: into Option<String>,
    exit_after: into Option<Duration>,
    exit_code: into i32,
    on_request: into Option<OnRequest>,
    healthy_after: into Duration,
    unhealthy_after: into Option<Duration>,
    log: each String,
    memory_bytes: into u64,
    cpu: into f64,
});

impl Behavior {
    /// Adds what commands do that begin with these words.
    #[must_use]
    pub fn command(
        mut self,
        words: impl IntoIterator<Item = impl Into<String>>,
        command: Command,
    ) -> Self {
        self.commands.push((words.into_iter().map(Into::into).collect(), command));
        self
    }
}

/// How a scripted container ends when asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnRequest {
    /// How long it takes to.
    pub after: Duration,
    /// Its exit code.
    pub exit_code: i32,
}

impl Default for OnRequest {
    /// Dies of `SIGTERM` at once.
    fn default() -> Self {
        Self { after: Duration::ZERO, exit_code: 128 + 15 }
    }
}

chainable!(OnRequest { after: into Duration, exit_code: into i32 });

/// What a command inside a scripted container does. The default succeeds at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Command {
    /// How long it takes.
    pub takes: Duration,
    /// What it writes to standard output.
    pub stdout: String,
    /// What it writes to standard error.
    pub stderr: String,
    /// Its exit code.
    pub exit_code: i32,
}

chainable!(Command {
    takes: into Duration,
    stdout: into String,
    stderr: into String,
    exit_code: into i32,
});
