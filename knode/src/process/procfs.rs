//! Processes as `/proc` shows them.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How often the table is walked for processes that start others while they are killed.
const MAX_SWEEPS: usize = 20;

/// What is read of `/proc/<pid>/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: i32,
    pub(super) zombie: bool,
    pub(super) parent: i32,
    pub(super) session: i32,
    /// CPU time of it and of its reaped children, in clock ticks.
    pub(super) cpu_ticks: u64,
    pub(super) start_time: u64,
    pub(super) resident_pages: u64,
}

impl Stat {
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name is in parentheses and may itself hold some, and spaces.
        let (front, back) = text.rsplit_once(')')?;
        let pid = front.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = back.split_ascii_whitespace().collect();
        // `fields[0]` is the third field of proc_pid_stat(5).
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            pid,
            zombie: matches!(fields.first(), Some(&"Z" | &"X")),
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            cpu_ticks: number(14)? + number(15)? + number(16)? + number(17)?,
            start_time: number(22)?,
            resident_pages: number(24)?,
        })
    }
}

/// Every process there is.
pub(super) fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Stat::of)
        .collect()
}

/// Whether a process was started with one of `markers` in its environment.
fn is_marked(pid: i32, markers: &[Vec<u8>]) -> bool {
    fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).is_ok_and(|environ| {
        environ.split(|&byte| byte == 0).any(|entry| markers.iter().any(|marker| entry == marker))
    })
}

/// Kills every process that was started with one of these variables of this value, and what
/// those start meanwhile.
/// Returns how many there were.
pub(super) fn kill_marked(marks: &[(&str, &str)]) -> usize {
    let marker = |(name, value): &(&str, &str)| format!("{name}={value}").into_bytes();
    let markers: Vec<_> = marks.iter().map(marker).collect();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let mut killed = 0;
    for _ in 0..MAX_SWEEPS {
        let mut found = 0;
        for stat in all() {
            if stat.pid == own || stat.zombie || !is_marked(stat.pid, &markers) {
                continue;
            }
            let Some(pid) = Pid::from_raw(stat.pid) else { continue };
            // The handle pins the process; only then is it asked again whether it is the one.
            let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if is_marked(stat.pid, &markers) {
                let _ = pidfd_send_signal(&handle, Signal::KILL);
                wait_for_end(&handle);
                found += 1;
            }
        }
        killed += found;
        if found == 0 {
            break;
        }
    }
    killed
}

/// Waits until a killed process is gone, at most a second.
fn wait_for_end(handle: &rustix::fd::OwnedFd) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec { tv_sec: 1, tv_nsec: 0 };
    let _ = poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&limit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_trap() {
        let text = "42 (a) b (c) S 7 42 9 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 76270 99 33 0";
        let stat = Stat::parse(text).unwrap();
        let expect = Stat {
            pid: 42,
            zombie: false,
            parent: 7,
            session: 9,
            cpu_ticks: 100,
            start_time: 76270,
            resident_pages: 33,
        };
        assert_eq!(stat, expect);
    }

    #[test]
    fn this_process_is_listed() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        assert!(all().iter().any(|stat| stat.pid == own && stat.start_time > 0));
    }
}
