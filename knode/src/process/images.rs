//! Images of processes: the program table and the host.

use async_trait::async_trait;

use super::launch::{self, HOST_IMAGE};
use super::{ProcessRuntime, blocking};
use crate::runtime::{FsUsage, Image, Images, PullOptions};
use crate::{Error, Result};

#[async_trait]
impl Images for ProcessRuntime {
    async fn pull(&self, image: &str, _options: PullOptions) -> Result<String> {
        let known = || self.inner.options.programs.keys().map(String::as_str);
        match launch::resolve_image(&self.inner.options, image) {
            Some(_) => Ok(image.to_owned()),
            None => Err(Error::ImagePull {
                image: image.to_owned(),
                reason: format!(
                    "no such program, known are {}",
                    std::iter::once(HOST_IMAGE).chain(known()).collect::<Vec<_>>().join(", ")
                ),
            }),
        }
    }

    async fn status(&self, image: &str) -> Result<Option<Image>> {
        let found = launch::resolve_image(&self.inner.options, image);
        Ok(found.map(|_| Image::new(image, image).pinned(true)))
    }

    async fn list(&self) -> Result<Vec<Image>> {
        let programs = self.inner.options.programs.keys().map(String::as_str);
        let names = std::iter::once(HOST_IMAGE).chain(programs);
        Ok(names.map(|name| Image::new(name, name).pinned(true)).collect())
    }

    /// Every image is pinned: a program of the host is not the runtime's to remove.
    async fn remove(&self, _image: &str) -> Result<()> {
        Ok(())
    }

    async fn fs_info(&self) -> Result<Vec<FsUsage>> {
        let root = self.inner.root.clone();
        blocking(move || {
            let stat = rustix::fs::statvfs(&root)
                .map_err(|error| Error::io("inspect", &root)(error.into()))?;
            let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
            let inodes = stat.f_files.saturating_sub(stat.f_ffree);
            Ok(vec![FsUsage::new(root).used_bytes(used).used_inodes(inodes)])
        })
        .await
    }
}
