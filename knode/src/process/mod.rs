//! A runtime whose containers are processes of the host. It needs no root.
//!
//! * A container is a process in a session and a process group of its own, below a small shim (the
//!   embedding program, run again, see [`shim_main`]) that owns its log and its exit code. So it
//!   outlives its agent, and [`ProcessRuntime::new`] on the same directory adopts it. When the
//!   process ends, what it left behind is killed, as the end of a PID namespace would.
//! * An image is a name in a table of programs ([`Options::program`]), or `host`, which runs the
//!   container's command from the host's `PATH`.
//! * A sandbox is a loopback address out of [`Options::pod_cidr`]; its processes see it as
//!   `POD_IP`. Nothing keeps a process from binding another one.
//! * The environment is `PATH`, `HOSTNAME`, `POD_IP`, `KUBRICK_ROOT`, `KUBRICK_CONTAINER` and what
//!   the image and the config say; nothing else is inherited.
//! * **Mounts.** There is no mount namespace, so a container path `/p` is found at
//!   `$KUBRICK_ROOT/p`: each mount is a link there. In commands, arguments and environment values
//!   `$(KUBRICK_ROOT)` becomes that directory. A read-only mount is not enforced, and mounts inside
//!   one another are refused.
//! * **Working directory.** `KUBRICK_ROOT`, unless the config names one: below a mount it is that
//!   mount's, else the host's directory of that path if there is one, else one made below
//!   `KUBRICK_ROOT`.
//! * A read-only root file system makes `KUBRICK_ROOT` itself read-only (root can still write).
//!   Limits, privileges and terminals are kept in the config and have no effect.

mod address;
mod containers;
mod exec;
mod images;
mod launch;
mod observe;
mod options;
mod procfs;
mod record;
mod sandboxes;
mod shim;
mod state;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;

pub use address::Cidr;
pub use options::{Options, Program};
pub use shim::shim_main;

use crate::runtime::{
    ContainerFilter, ContainerState, Containers, Events, Exec, Images, Runtime, RuntimeCondition,
    RuntimeStatus, Sandboxes, Stats, Version,
};
use crate::{Error, Result};

/// The name under which it goes, in a Node's `containerRuntimeVersion` too.
const NAME: &str = "kubrick-process";

/// A runtime whose containers are processes of the host; see the [module](self).
///
/// Dropping it leaves the containers running, for its successor to adopt; [`shutdown`] ends them.
/// Clones are the same runtime.
///
/// [`shutdown`]: ProcessRuntime::shutdown
#[derive(Debug, Clone)]
pub struct ProcessRuntime {
    inner: Arc<state::Inner>,
}

impl ProcessRuntime {
    /// Opens the runtime in `root`, making the directory, and adopts what runs there. It is called
    /// within a tokio runtime that has its I/O and time drivers.
    ///
    /// # Errors
    /// [`InUse`](Error::InUse) if another runtime uses the directory, [`Io`](Error::Io) if it
    /// cannot be read or written, [`Backend`](Error::Backend) outside of a tokio runtime.
    pub fn new(root: impl AsRef<Path>, options: Options) -> Result<Self> {
        let handle = tokio::runtime::Handle::try_current().map_err(|error| Error::Backend {
            what: "a process runtime needs a tokio runtime".to_owned(),
            source: error.into(),
        })?;
        Ok(Self { inner: state::Inner::open(root.as_ref(), options, handle)? })
    }

    /// Ends every container, giving each `grace`, all at once.
    ///
    /// # Errors
    /// The first of those that ending a container had.
    pub async fn shutdown(&self, grace: Duration) -> Result<()> {
        let running = ContainerFilter::default().state(ContainerState::Running);
        let containers = self.matching(&running);
        let stops = containers.iter().map(|container| self.stop_container(&container.id, grace));
        join_all(stops).await.into_iter().collect()
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn sandboxes(&self) -> &dyn Sandboxes {
        self
    }

    fn containers(&self) -> &dyn Containers {
        self
    }

    fn images(&self) -> &dyn Images {
        self
    }

    fn exec(&self) -> &dyn Exec {
        self
    }

    fn stats(&self) -> Option<&dyn Stats> {
        Some(self)
    }

    fn events(&self) -> Option<&dyn Events> {
        Some(self)
    }

    async fn version(&self) -> Result<Version> {
        Ok(Version::new(NAME, env!("CARGO_PKG_VERSION")))
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        Ok(RuntimeStatus::new(RuntimeCondition::ready(), RuntimeCondition::ready()))
    }
}

/// Runs what waits for the disk or a process apart from the async runtime. Once begun it is
/// finished, even if the future is dropped.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Backend {
        what: "an operation of the process runtime broke off".to_owned(),
        source: error.into(),
    })?
}
