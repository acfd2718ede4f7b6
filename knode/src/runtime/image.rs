//! Images.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::Result;
use crate::runtime::chain::chainable;

/// The images of a runtime.
/// <https://kubernetes.io/docs/concepts/containers/images/>
#[cfg_attr(
    not(feature = "mock"),
    diagnostic::on_unimplemented(
        message = "`{Self}` is not a backend of images",
        note = "implement `knode::runtime::Images`, or pass an `Arc` or `Box` of a type that does"
    )
)]
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Images: Debug + Send + Sync + 'static {
    /// Makes an image present and returns its identity. Pulling a present one is fine. Fails with
    /// [`ImagePull`](crate::Error::ImagePull).
    ///
    /// **Contract**
    /// - `pull_makes_an_image_present`
    /// - `pull_of_an_unknown_image_fails`
    async fn pull(&self, image: &str, options: PullOptions) -> Result<String>;

    /// The image, `None` if it is absent.
    ///
    /// **Contract**
    /// - `status_of_an_absent_image_is_none`
    async fn status(&self, image: &str) -> Result<Option<Image>>;

    /// The images that are present.
    ///
    /// **Contract**
    /// - `list_images_holds_what_was_pulled`
    async fn list(&self) -> Result<Vec<Image>>;

    /// Removes an image. Removing an absent one is fine.
    ///
    /// **Contract**
    /// - `remove_image_is_idempotent`
    async fn remove(&self, image: &str) -> Result<()>;

    /// Where images are kept and what they take, one entry a file system.
    ///
    /// **Contract**
    /// - `fs_info_names_where_images_are`
    async fn fs_info(&self) -> Result<Vec<FsUsage>>;
}

/// How to pull. The default pulls without credentials.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullOptions {
    /// Who asks the registry.
    pub auth: Option<RegistryAuth>,
    /// Annotations of the pod that needs it.
    pub annotations: BTreeMap<String, String>,
}

chainable!(PullOptions { auth: into Option<RegistryAuth>, annotations: pairs String });

impl Debug for PullOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // X8: a secret never reaches a log.
        f.debug_struct("PullOptions").field("auth", &self.auth.is_some()).finish_non_exhaustive()
    }
}

/// Credentials of a registry.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryAuth {
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

impl RegistryAuth {
    /// A user with a password.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into() }
    }
}

impl Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth").field("username", &self.username).finish_non_exhaustive()
    }
}

/// An image that is present.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// Its identity, a digest where the backend has one.
    pub id: String,
    /// The names it goes by.
    pub tags: Vec<String>,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// It must not be collected.
    pub pinned: bool,
}

impl Image {
    /// An image with one name and no size.
    #[must_use]
    pub fn new(id: impl Into<String>, tag: impl Into<String>) -> Self {
        Self { id: id.into(), tags: vec![tag.into()], size_bytes: 0, pinned: false }
    }
}

chainable!(Image { tags: each String, size_bytes: into u64, pinned: into bool });

/// What a file system holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsUsage {
    /// Where it is mounted, or a directory on it.
    pub mount_point: PathBuf,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Inodes in use.
    pub used_inodes: u64,
}

impl FsUsage {
    /// An empty file system at `mount_point`.
    #[must_use]
    pub fn new(mount_point: impl Into<PathBuf>) -> Self {
        Self { mount_point: mount_point.into(), used_bytes: 0, used_inodes: 0 }
    }
}

chainable!(FsUsage { used_bytes: into u64, used_inodes: into u64 });
