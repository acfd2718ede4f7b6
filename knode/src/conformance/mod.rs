//! The suite that every [`Runtime`] runs.
//!
//! ```text
//! knode::conformance::suite!(
//!     my_runtime,
//!     Capabilities::default().processes().exec(),
//!     || async { MyFixture::new() }
//! );
//! ```
//!
//! expands to one named test per contract line, in a module of that name. The fixture is made once
//! per case; [`Fixture::open`] may be called again on it, which is how adoption is tested. A
//! capability that is not declared skips its cases and prints their names.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a case fails by panicking")]

mod cases;
pub mod containers;
pub mod dropping;
pub mod extras;
pub mod images;
mod programs;
pub mod sandboxes;
mod world;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

pub use cases::{CASES, failing};
pub use programs::{Program, shell_program};
pub use world::World;

pub use crate::__runtime_suite as suite;
use crate::runtime::{ContainerConfig, Runtime};

/// What a backend says it can do. The default is the least: sandboxes, containers, exit codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    declared: u32,
    paused: bool,
}

/// One thing that a backend may be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Capability {
    /// Every backend can.
    Base = 0,
    /// Every sandbox has an address of its own.
    Addresses = 1,
    /// Programs are real: environment, missing commands, signals.
    Processes = 1 << 1,
    /// Mounts are visible.
    Mounts = 1 << 2,
    /// Logs are written to files in CRI's format.
    Logs = 1 << 3,
    /// Commands run in containers.
    Exec = 1 << 4,
    /// Containers outlive the agent and are adopted.
    Adoption = 1 << 5,
    /// Images can be removed.
    ImageRemoval = 1 << 6,
    /// Limits of running containers can be changed.
    Resources = 1 << 7,
    /// There are statistics.
    Stats = 1 << 8,
    /// There are events.
    Events = 1 << 9,
}

macro_rules! declare {
    ($($name:ident => $capability:ident, $doc:literal;)*) => { $(
        #[doc = $doc]
        #[must_use]
        pub fn $name(mut self) -> Self {
            self.declared |= Capability::$capability as u32;
            self
        }
    )* };
}

impl Capabilities {
    declare! {
        addresses => Addresses, "Every sandbox has an address of its own.";
        processes => Processes, "Programs are real: environment, missing commands, signals.";
        mounts => Mounts, "Mounts are visible.";
        logs => Logs, "Logs are written to files in CRI's format.";
        exec => Exec, "Commands run in containers.";
        adoption => Adoption, "Containers outlive the agent and are adopted.";
        image_removal => ImageRemoval, "Images can be removed.";
        resources => Resources, "Limits of running containers can be changed.";
        stats => Stats, "There are statistics.";
        events => Events, "There are events.";
    }

    /// Time is tokio's alone: the cases run under paused time.
    #[must_use]
    pub fn simulated(mut self) -> Self {
        self.paused = true;
        self
    }

    /// Whether a capability was declared.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        let bits = capability as u32;
        self.declared & bits == bits
    }
}

/// A place where a backend lives, and how to say things to it.
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// Opens the backend, again after the last one was dropped as a crash would drop it.
    async fn open(&self) -> Arc<dyn Runtime>;

    /// A container of this backend that does what `program` says: its image, command, arguments.
    fn program(&self, program: &Program) -> ContainerConfig;

    /// A directory of the host where pods may log and from where mounts come.
    fn scratch(&self) -> PathBuf;

    /// An image that cannot be pulled.
    fn unknown_image(&self) -> String {
        "kubrick.invalid/no-such-image:v0".to_owned()
    }

    /// What is left of removed sandboxes and containers: processes, directories, addresses.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Runs one case; [`suite!`] calls it.
pub fn run_case<F, Made, C, Done>(
    name: &str,
    need: Capability,
    capabilities: Capabilities,
    fixture: impl FnOnce() -> Made,
    case: C,
) where
    F: Fixture,
    Made: Future<Output = F>,
    C: FnOnce(World) -> Done,
    Done: Future<Output = ()>,
{
    if !capabilities.has(need) {
        #[allow(clippy::print_stdout, reason = "a case is never skipped in silence")]
        {
            println!("skipped: {name} needs the capability {need:?}, which is not declared");
        }
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(capabilities.paused)
        .build()
        .unwrap();
    runtime.block_on(async {
        let fixture = Arc::new(fixture().await);
        let world = World::new(fixture, capabilities).await;
        Box::pin(case(world)).await;
    });
}
