//! A runtime of mocks.

use async_trait::async_trait;

use super::*;

/// A runtime whose halves are mocks: set expectations on the fields.
#[derive(Debug, Default)]
pub struct MockRuntime {
    /// Answers for [`Runtime::sandboxes`].
    pub sandboxes: MockSandboxes,
    /// Answers for [`Runtime::containers`].
    pub containers: MockContainers,
    /// Answers for [`Runtime::images`].
    pub images: MockImages,
    /// Answers for [`Runtime::exec`].
    pub exec: MockExec,
    /// Answers for [`Runtime::stats`].
    pub stats: Option<MockStats>,
    /// Answers for [`Runtime::events`].
    pub events: Option<MockEvents>,
    /// What [`Runtime::status`] says.
    pub status: RuntimeStatus,
}

#[async_trait]
impl Runtime for MockRuntime {
    fn sandboxes(&self) -> &dyn Sandboxes {
        &self.sandboxes
    }

    fn containers(&self) -> &dyn Containers {
        &self.containers
    }

    fn images(&self) -> &dyn Images {
        &self.images
    }

    fn exec(&self) -> &dyn Exec {
        &self.exec
    }

    fn stats(&self) -> Option<&dyn Stats> {
        self.stats.as_ref().map(|stats| stats as &dyn Stats)
    }

    fn events(&self) -> Option<&dyn Events> {
        self.events.as_ref().map(|events| events as &dyn Events)
    }

    async fn version(&self) -> Result<Version> {
        Ok(Version::new("mock", env!("CARGO_PKG_VERSION")))
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        Ok(self.status.clone())
    }
}
