//! The process between the agent and a container.
//!
//! It owns the pipes and the log, so that the container does not notice when the agent goes, and
//! it is the parent, so that somebody learns the exit code. It leads a session of its own, which a
//! terminal's Ctrl-C does not reach, and adopts what the container leaves behind. One thread, no
//! async runtime.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kcore::clock::Clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, pidfd_open,
    wait,
};
use tokio::time::Instant;

use super::procfs::{self, Stat};
use super::record::{
    self, CONTAINER, CONTROL, ContainerRecord, EXIT, ProcessId, RUNNING, Running, SHIM_VARIABLE,
    ShimSpec,
};
use crate::logs::{LineSplitter, LogWriter, Stream};
use crate::runtime::Exit;

/// How often processes that the container left behind are reaped.
const REAP_INTERVAL: Duration = Duration::from_secs(10);
/// How long the last processes of a container may take to die of `SIGKILL`.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);
const SWEEP_INTERVAL: Duration = Duration::from_millis(5);
const READ_BYTES: usize = 64 * 1024;
/// What the shim says on its standard output once the process runs.
pub(super) const STARTED: &str = "started";
/// What it says before the reason why not.
pub(super) const FAILED: &str = "failed ";

/// Runs the shim if this process was started as one, and then does not return.
///
/// A program that embeds a [`ProcessRuntime`](super::ProcessRuntime) calls it first thing in
/// `main`, before it starts threads, unless it names another
/// [`shim_path`](super::Options::shim_path). A program that does neither would run itself again
/// for each container.
pub fn shim_main() {
    let Some(dir) = std::env::var_os(SHIM_VARIABLE) else { return };
    let code = match Shim::start(PathBuf::from(dir)) {
        Ok(shim) => shim.run(),
        Err(message) => {
            report(&format!("{FAILED}{message}"));
            1
        }
    };
    std::process::exit(code);
}

/// Tells the agent, which reads one line.
fn report(message: &str) {
    let line = format!("{}\n", message.replace('\n', " "));
    // An agent that is gone does not listen; its successor reads the records.
    let _ = std::io::stdout().write_all(line.as_bytes());
    let _ = std::io::stdout().flush();
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

struct Output {
    pipe: Option<OwnedFd>,
    splitter: LineSplitter,
}

struct Shim {
    dir: PathBuf,
    child: Child,
    main: Pid,
    handle: OwnedFd,
    control: File,
    outputs: [Output; 2],
    log: Option<LogWriter>,
    kill_at: Option<Instant>,
    ended: Option<WaitStatus>,
}

impl Shim {
    fn start(dir: PathBuf) -> Result<Self, String> {
        let show = |error: Errno| error.to_string();
        // It fails only for a process that leads a group already, which nobody made this one.
        let _ = rustix::process::setsid();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(show)?;
        let record: Option<ContainerRecord> =
            record::read(&dir.join(CONTAINER)).map_err(|error| error.to_string())?;
        let spec = record.ok_or("there is no container.json")?.spec;
        // Open for both, so that it never ends; whoever writes learns whether a shim is there.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let control = rustix::fs::open(dir.join(CONTROL), flags, Mode::empty()).map_err(show)?;
        let log = match &spec.log_path {
            Some(path) => {
                Some(LogWriter::open(path, spec.rotation).map_err(|error| error.to_string())?)
            }
            None => None,
        };
        let mut child = match command(&spec).spawn() {
            Ok(child) => child,
            Err(error) => return Err(fail(&dir, &spec, &error)),
        };
        let started_at = Clock::system().now();
        let main = Pid::from_child(&child);
        let handle = pidfd_open(main, PidfdFlags::empty()).map_err(show)?;
        let identify = |pid: Pid| {
            let pid = pid.as_raw_nonzero().get();
            ProcessId { pid, start_time: Stat::of(pid).map_or(0, |stat| stat.start_time) }
        };
        let shim = identify(rustix::process::getpid());
        let running = Running { shim, main: identify(main), started_at };
        record::write(&dir.join(RUNNING), &running).map_err(|error| error.to_string())?;
        report(STARTED);
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        let outputs = [(stdout, Stream::Stdout), (stderr, Stream::Stderr)]
            .map(|(pipe, stream)| Output { pipe, splitter: LineSplitter::new(stream) });
        for pipe in outputs.iter().filter_map(|output| output.pipe.as_ref()) {
            rustix::io::ioctl_fionbio(pipe, true).map_err(show)?;
        }
        let control = File::from(control);
        Ok(Self { dir, child, main, handle, control, outputs, log, kill_at: None, ended: None })
    }

    fn run(mut self) -> i32 {
        while self.ended.is_none() {
            self.wait();
            self.obey();
            self.copy();
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                self.kill_at = None;
                self.kill_all();
            }
            self.reap();
        }
        let finished_at = Clock::system().now();
        self.sweep();
        self.copy();
        self.finish_log();
        let exit = match self.ended {
            Some(status) => to_exit(status, finished_at),
            None => Exit::with_code(255, finished_at),
        };
        i32::from(record::write(&self.dir.join(EXIT), &exit).is_err())
    }

    /// Waits until there is something to do.
    fn wait(&self) {
        let until_kill = self.kill_at.map(|at| at.saturating_duration_since(Instant::now()));
        let limit = until_kill.unwrap_or(REAP_INTERVAL).min(REAP_INTERVAL);
        let mut fds = vec![readable(self.control.as_fd()), readable(self.handle.as_fd())];
        let pipes = self.outputs.iter().filter_map(|output| output.pipe.as_ref());
        fds.extend(pipes.map(|pipe| readable(pipe.as_fd())));
        pause(&mut fds, limit);
    }

    /// Follows the commands that came through the control pipe, one a line.
    fn obey(&mut self) {
        let mut text = [0; 4096];
        let Ok(count) = self.control.read(&mut text) else { return };
        for line in String::from_utf8_lossy(&text[..count]).lines() {
            let mut words = line.split(' ');
            match words.next() {
                Some("stop") => {
                    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
                    let (signal, grace_ms) = (number(), number());
                    self.stop(signal, grace_ms.unwrap_or_default());
                }
                Some("reopen") => {
                    // The old file goes on if the new one cannot be had.
                    let _ = self.log.as_mut().map(LogWriter::reopen);
                }
                _ => {}
            }
        }
    }

    fn stop(&mut self, signal: Option<u64>, grace_ms: u64) {
        let at = Instant::now() + Duration::from_millis(grace_ms);
        // A second request may shorten the grace period, never lengthen it.
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
        let signal = signal.and_then(|signal| i32::try_from(signal).ok());
        if let Some(signal) = signal.and_then(Signal::from_named_raw).filter(|_| grace_ms > 0) {
            let _ = kill_process_group(self.main, signal);
        }
    }

    /// Copies what the container wrote into the log.
    fn copy(&mut self) {
        let now = Clock::system().now();
        let mut buffer = vec![0; READ_BYTES];
        let mut entries = Vec::new();
        for output in &mut self.outputs {
            while let Some(pipe) = &output.pipe {
                match rustix::io::read(pipe, &mut *buffer) {
                    Ok(0) => output.pipe = None,
                    Ok(count) => {
                        output.splitter.push(&buffer[..count], now, &mut entries);
                        // A container that writes without end must not keep the shim from
                        // hearing commands.
                        if self.ended.is_none() {
                            break;
                        }
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(_) => output.pipe = None,
                }
            }
        }
        self.log(&entries, now);
    }

    fn finish_log(&mut self) {
        let now = Clock::system().now();
        let mut entries = Vec::new();
        for output in &mut self.outputs {
            output.splitter.finish(now, &mut entries);
        }
        self.log(&entries, now);
    }

    fn log(&mut self, entries: &[u8], now: jiff::Timestamp) {
        // A full disk loses log, not the container.
        let _ = self.log.as_mut().map(|log| log.append(entries, now));
    }

    /// Takes notice of ended children: the container's process, and what it left behind.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.main {
                self.ended = Some(status);
            }
        }
    }

    fn kill_all(&self) {
        let _ = kill_process_group(self.main, Signal::KILL);
        kill_children();
    }

    /// Ends what the container's process left running, as the end of a PID namespace would.
    fn sweep(&self) {
        let limit = Instant::now() + SWEEP_LIMIT;
        loop {
            // What a killed process leaves behind becomes a child of this one.
            kill_children();
            match wait(WaitOptions::NOHANG) {
                Err(_) => return,
                Ok(Some(_)) => {}
                Ok(None) if Instant::now() >= limit => return,
                Ok(None) => pause(&mut [], SWEEP_INTERVAL),
            }
        }
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // Only a shim that could not set itself up is dropped with its child running.
        if self.ended.is_none() {
            let _ = self.child.kill();
        }
    }
}

/// Kills every child. None has been reaped, so no number can belong to somebody else.
fn kill_children() {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let listed = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
    let children: Vec<i32> = match listed {
        Ok(text) => text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        // Not every kernel has the list.
        Err(_) => procfs::all().iter().filter(|s| s.parent == own).map(|s| s.pid).collect(),
    };
    for pid in children.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

fn pause(fds: &mut [PollFd<'_>], limit: Duration) {
    // Rounded up, so that a deadline is over when the wait is.
    let limit = limit + Duration::from_millis(1);
    let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
    let limit = Timespec { tv_sec: seconds, tv_nsec: i64::from(limit.subsec_nanos()) };
    let _ = poll(fds, Some(&limit));
}

fn command(spec: &ShimSpec) -> Command {
    let mut command = Command::new(spec.argv.first().map_or("", String::as_str));
    command
        .args(spec.argv.iter().skip(1))
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.working_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(user) = spec.user {
        command.uid(user);
    }
    if let Some(group) = spec.group {
        command.gid(group);
    }
    if spec.no_new_privs {
        // The shim needs no new rights either, and its children inherit it.
        let _ = rustix::thread::set_no_new_privs(true);
    }
    command
}

/// Notes that the command could not be run, and says so in upstream's words.
fn fail(dir: &Path, spec: &ShimSpec, error: &std::io::Error) -> String {
    let message = start_error(spec.argv.first().map_or("", String::as_str), spec, error);
    let exit = Exit::start_error(&message, Clock::system().now());
    match record::write(&dir.join(EXIT), &exit) {
        Ok(()) => message,
        Err(error) => format!("{message} ({error})"),
    }
}

/// Why `spec`'s container could not run `program`, in upstream's words.
pub(super) fn start_error(program: &str, spec: &ShimSpec, error: &std::io::Error) -> String {
    let mut kind = error.kind();
    // The search of the path reports a directory that it may not enter before what is missing.
    if kind == std::io::ErrorKind::PermissionDenied && !is_in_path(program, spec) {
        kind = std::io::ErrorKind::NotFound;
    }
    let why = match kind {
        std::io::ErrorKind::NotFound if program.contains('/') => {
            format!("exec: {program:?}: stat {program}: no such file or directory")
        }
        std::io::ErrorKind::NotFound => {
            format!("exec: {program:?}: executable file not found in $PATH")
        }
        std::io::ErrorKind::PermissionDenied => format!("exec: {program:?}: permission denied"),
        _ if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            format!("exec {program}: exec format error")
        }
        _ => format!("exec: {program:?}: {error}"),
    };
    format!("failed to create task: unable to start container process: {why}")
}

fn is_in_path(program: &str, spec: &ShimSpec) -> bool {
    if program.contains('/') {
        return true;
    }
    let path = spec.env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    std::env::split_paths(path).any(|dir| dir.join(program).exists())
}

fn to_exit(status: WaitStatus, finished_at: jiff::Timestamp) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::with_code(code, finished_at),
        (None, Some(signal)) => Exit::with_signal(signal, finished_at),
        (None, None) => Exit::with_code(255, finished_at),
    }
}
