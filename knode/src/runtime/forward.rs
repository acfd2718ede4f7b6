//! An `Arc` or a `Box` of a backend is a backend.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::*;

macro_rules! forward {
    ($($pointer:ident),*) => { $(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<T: Sandboxes + ?Sized> Sandboxes for $pointer<T> {
            async fn run(&self, config: SandboxConfig) -> Result<SandboxId> {
                (**self).run(config).await
            }
            async fn stop(&self, id: &SandboxId) -> Result<()> {
                (**self).stop(id).await
            }
            async fn remove(&self, id: &SandboxId) -> Result<()> {
                (**self).remove(id).await
            }
            async fn status(&self, id: &SandboxId) -> Result<SandboxStatus> {
                (**self).status(id).await
            }
            async fn list(&self, filter: SandboxFilter) -> Result<Vec<SandboxSummary>> {
                (**self).list(filter).await
            }
        }

        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<T: Containers + ?Sized> Containers for $pointer<T> {
            async fn create(
                &self,
                sandbox: &SandboxId,
                config: ContainerConfig,
            ) -> Result<ContainerId> {
                (**self).create(sandbox, config).await
            }
            async fn start(&self, id: &ContainerId) -> Result<()> {
                (**self).start(id).await
            }
            async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
                (**self).stop(id, grace).await
            }
            async fn remove(&self, id: &ContainerId) -> Result<()> {
                (**self).remove(id).await
            }
            async fn status(&self, id: &ContainerId) -> Result<ContainerStatus> {
                (**self).status(id).await
            }
            async fn list(&self, filter: ContainerFilter) -> Result<Vec<ContainerSummary>> {
                (**self).list(filter).await
            }
            async fn update(&self, id: &ContainerId, resources: Resources) -> Result<()> {
                (**self).update(id, resources).await
            }
            async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
                (**self).reopen_log(id).await
            }
        }

        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<T: Images + ?Sized> Images for $pointer<T> {
            async fn pull(&self, image: &str, options: PullOptions) -> Result<String> {
                (**self).pull(image, options).await
            }
            async fn status(&self, image: &str) -> Result<Option<Image>> {
                (**self).status(image).await
            }
            async fn list(&self) -> Result<Vec<Image>> {
                (**self).list().await
            }
            async fn remove(&self, image: &str) -> Result<()> {
                (**self).remove(image).await
            }
            async fn fs_info(&self) -> Result<Vec<FsUsage>> {
                (**self).fs_info().await
            }
        }

        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<T: Exec + ?Sized> Exec for $pointer<T> {
            async fn exec_sync(
                &self,
                id: &ContainerId,
                command: &[String],
                options: ExecOptions,
            ) -> Result<ExecOutput> {
                (**self).exec_sync(id, command, options).await
            }
            fn streaming(&self) -> Option<Box<dyn Streaming>> {
                (**self).streaming()
            }
        }

        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<T: Streaming + ?Sized> Streaming for $pointer<T> {
            async fn exec(
                &self,
                id: &ContainerId,
                command: &[String],
                streams: StreamOptions,
            ) -> Result<Session> {
                (**self).exec(id, command, streams).await
            }
            async fn attach(&self, id: &ContainerId, streams: StreamOptions) -> Result<Session> {
                (**self).attach(id, streams).await
            }
            async fn port_forward(&self, id: &SandboxId, port: u16) -> Result<Session> {
                (**self).port_forward(id, port).await
            }
        }

        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<T: Stats + ?Sized> Stats for $pointer<T> {
            async fn list(&self, filter: ContainerFilter) -> Result<Vec<ContainerStats>> {
                (**self).list(filter).await
            }
        }

        #[deny(clippy::missing_trait_methods)]
        impl<T: Events + ?Sized> Events for $pointer<T> {
            fn subscribe(&self) -> BoxStream<'static, Result<ContainerEvent>> {
                (**self).subscribe()
            }
        }

        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<T: Runtime + ?Sized> Runtime for $pointer<T> {
            fn sandboxes(&self) -> &dyn Sandboxes {
                (**self).sandboxes()
            }
            fn containers(&self) -> &dyn Containers {
                (**self).containers()
            }
            fn images(&self) -> &dyn Images {
                (**self).images()
            }
            fn exec(&self) -> &dyn Exec {
                (**self).exec()
            }
            fn stats(&self) -> Option<&dyn Stats> {
                (**self).stats()
            }
            fn events(&self) -> Option<&dyn Events> {
                (**self).events()
            }
            async fn version(&self) -> Result<Version> {
                (**self).version().await
            }
            async fn status(&self) -> Result<RuntimeStatus> {
                (**self).status().await
            }
        }
    )* };
}

forward!(Arc, Box);
