//! How a [`ProcessRuntime`](super::ProcessRuntime) works.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kcore::clock::Clock;
use kcore::random::Random;

use super::address::Cidr;
use crate::Result;
use crate::logs::Rotation;
use crate::runtime::chain::chainable;

/// How a [`ProcessRuntime`](super::ProcessRuntime) works. The default knows the image `host`
/// alone and gives addresses out of `127.64.0.0/16`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The images besides `host`.
    pub programs: BTreeMap<String, Program>,
    /// The program that becomes a shim; `None` for the running one, whose `main` then calls
    /// [`shim_main`](super::shim_main) first.
    pub shim_path: Option<PathBuf>,
    /// The `PATH` of containers; `None` for the usual one.
    pub path: Option<String>,
    /// Where pod addresses come from.
    pub pod_cidr: Cidr,
    /// When logs are rotated.
    pub rotation: Rotation,
    /// The wall clock.
    pub clock: Clock,
    /// Where ids come from.
    pub random: Random,
}

impl Default for Options {
    fn default() -> Self {
        // 127.64.0.0/16 is a valid range, which a test holds.
        let pod_cidr = "127.64.0.0/16".parse().expect("a valid range");
        Self {
            programs: BTreeMap::new(),
            shim_path: None,
            path: std::env::var("PATH").ok(),
            pod_cidr,
            rotation: Rotation::default(),
            clock: Clock::system(),
            random: Random::from_entropy(),
        }
    }
}

chainable!(Options {
    shim_path: into Option<PathBuf>,
    path: into Option<String>,
    rotation: into Rotation,
    clock: into Clock,
    random: into Random,
});

impl Options {
    /// Adds an image.
    #[must_use]
    pub fn program(mut self, image: impl Into<String>, program: Program) -> Self {
        self.programs.insert(image.into(), program);
        self
    }

    /// Takes pod addresses out of `range`, as `127.65.0.0/16`. Two runtimes on one machine need
    /// ranges that do not meet.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::Error::InvalidConfig) if it is no loopback range.
    pub fn pod_cidr(mut self, range: &str) -> Result<Self> {
        self.pod_cidr = range.parse()?;
        Ok(self)
    }
}

/// A program of the host that an image stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments, unless the container has its own.
    pub args: Vec<String>,
    /// Its environment, before the container's.
    pub envs: Vec<(String, String)>,
}

impl Program {
    /// Runs `path` without arguments.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args: Vec::new(), envs: Vec::new() }
    }
}

chainable!(Program { args: each String, envs: pairs String });
