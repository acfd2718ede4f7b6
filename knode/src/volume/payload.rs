//! What is in a volume of the API's making: files, from ConfigMaps, Secrets and the pod itself.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret};

use crate::env::{PodFacts, compute_metadata_field, compute_resource};
use crate::{Error, Result};

/// The longest path in a volume, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;
/// The longest name of a file, in bytes.
pub const MAX_FILE_NAME_BYTES: usize = 255;

/// A file of a volume.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileProjection {
    /// What is in it.
    pub data: Bytes,
    /// Its permission bits.
    pub mode: u32,
}

impl FileProjection {
    /// A file with `data` and permission bits `mode`.
    #[must_use]
    pub fn new(data: impl Into<Bytes>, mode: u32) -> Self {
        Self { data: data.into(), mode }
    }
}

/// Its size, never its content.
impl fmt::Debug for FileProjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileProjection({} bytes, {:04o})", self.data.len(), self.mode)
    }
}

/// The files of a volume, by their path in it: relative, without `..`, and none below another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    files: BTreeMap<String, FileProjection>,
}

impl Payload {
    /// The files, in the order of their paths.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, FileProjection> {
        &self.files
    }

    /// Adds permission bits to every file.
    pub(super) fn allow(&mut self, mode: u32) {
        self.files.values_mut().for_each(|file| file.mode |= mode);
    }

    /// Puts a file at `path`; one that is there is replaced, as later sources win.
    ///
    /// # Errors
    /// [`InvalidConfig`](Error::InvalidConfig) if the path leads out of the volume, into another
    /// file, or is too long; `field` is where it was asked for.
    pub fn put(&mut self, path: &str, file: FileProjection, field: &str) -> Result<()> {
        let fail = |reason: String| Error::InvalidConfig { field: field.to_owned(), reason };
        let path = clean_path(path).map_err(fail)?;
        let below = format!("{path}/");
        let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        let parent = parents.find(|parent| self.files.contains_key(*parent));
        let child = self.files.range(below.clone()..).next().map(|(other, _)| other.as_str());
        let other = parent.or(child.filter(|other| other.starts_with(&below)));
        if let Some(other) = other {
            return Err(fail(format!("invalid path: {path} conflicts with {other}")));
        }
        self.files.insert(path, file);
        Ok(())
    }
}

/// The path without empty and `.` parts.
fn clean_path(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err("invalid path: must not be empty".into());
    }
    if path.starts_with('/') {
        return Err(format!("invalid path: must be relative path: {path}"));
    }
    if path.len() > MAX_PATH_BYTES {
        let limit = MAX_PATH_BYTES;
        return Err(format!("invalid path: must be less than or equal to {limit} characters"));
    }
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    for part in &parts {
        if *part == ".." {
            return Err(format!("invalid path: must not contain '..': {path}"));
        }
        if part.len() > MAX_FILE_NAME_BYTES {
            let limit = MAX_FILE_NAME_BYTES;
            return Err(format!(
                "invalid path: filenames must be less than or equal to {limit} characters"
            ));
        }
        if part.contains('\0') {
            return Err(format!("invalid path: must not contain a zero byte: {path:?}"));
        }
    }
    match parts.first() {
        None => Err(format!("invalid path: must name a file: {path}")),
        // Names that begin so are the writer's own.
        Some(first) if first.starts_with("..") => {
            Err(format!("invalid path: must not start with '..': {path}"))
        }
        Some(_) => Ok(parts.join("/")),
    }
}

/// How the files of one source are made.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) items: &'a [KeyToPath],
    pub(super) default_mode: u32,
    pub(super) optional: bool,
    /// Where the source stands, for errors.
    pub(super) field: &'a str,
}

/// Adds a ConfigMap's keys.
pub(super) fn add_config_map(
    payload: &mut Payload,
    map: &ConfigMap,
    shape: Shape<'_>,
) -> Result<()> {
    let text = map.data.iter().flatten();
    let text = text.map(|(key, value)| (key.as_str(), value.as_bytes()));
    let binary = map.binary_data.iter().flatten();
    let data = binary.map(|(key, value)| (key.as_str(), &value.0[..])).chain(text).collect();
    add_keys(payload, &data, shape, "configmap references non-existent config key")
}

/// Adds a Secret's keys.
pub(super) fn add_secret(payload: &mut Payload, secret: &Secret, shape: Shape<'_>) -> Result<()> {
    let data = secret.data.iter().flatten();
    let data = data.map(|(key, value)| (key.as_str(), &value.0[..])).collect();
    add_keys(payload, &data, shape, "references non-existent secret key")
}

fn add_keys(
    payload: &mut Payload,
    data: &BTreeMap<&str, &[u8]>,
    shape: Shape<'_>,
    absent: &str,
) -> Result<()> {
    let file = |data: &[u8], mode: Option<i32>| {
        FileProjection::new(data.to_vec(), mode_of(mode).unwrap_or(shape.default_mode))
    };
    if shape.items.is_empty() {
        for (key, value) in data {
            payload.put(key, file(value, None), shape.field)?;
        }
        return Ok(());
    }
    for (index, item) in shape.items.iter().enumerate() {
        match data.get(item.key.as_str()) {
            Some(value) => {
                let field = format!("{}.items[{index}].path", shape.field);
                payload.put(&item.path, file(value, item.mode), &field)?;
            }
            None if shape.optional => {}
            None => {
                let field = format!("{}.items[{index}].key", shape.field);
                let reason = format!("{absent}: {}", item.key);
                return Err(Error::InvalidConfig { field, reason });
            }
        }
    }
    Ok(())
}

/// Adds fields of the pod.
pub(super) fn add_downward_api(
    payload: &mut Payload,
    items: &[DownwardAPIVolumeFile],
    default_mode: u32,
    (pod, facts): (&Pod, &PodFacts),
    field: &str,
) -> Result<()> {
    for (index, item) in items.iter().enumerate() {
        let field = format!("{field}.items[{index}]");
        let value = if let Some(selector) = &item.field_ref {
            compute_metadata_field(selector, pod, &format!("{field}.fieldRef"))?
        } else if let Some(selector) = &item.resource_field_ref {
            let place = format!("{field}.resourceFieldRef");
            compute_resource(selector, pod, None, &facts.allocatable, &place)?
        } else {
            let reason = "one of fieldRef and resourceFieldRef is needed".into();
            return Err(Error::InvalidConfig { field, reason });
        };
        let mode = mode_of(item.mode).unwrap_or(default_mode);
        payload.put(&item.path, FileProjection::new(value, mode), &format!("{field}.path"))?;
    }
    Ok(())
}

/// The permission bits that the API gives as a number.
pub(super) fn mode_of(mode: Option<i32>) -> Option<u32> {
    mode.and_then(|mode| u32::try_from(mode).ok()).map(|mode| mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_volume() {
        let check = |path: &str, expect: Result<&str, &str>| {
            let found = clean_path(path);
            let found = found.as_deref().map_err(String::as_str);
            assert_eq!(found, expect, "{path}");
        };
        check("a", Ok("a"));
        check("a/b", Ok("a/b"));
        check("./a//b/", Ok("a/b"));
        check("a..b", Ok("a..b"));
        check("a/..b", Ok("a/..b"));
        check("", Err("invalid path: must not be empty"));
        check(".", Err("invalid path: must name a file: ."));
        check("/a", Err("invalid path: must be relative path: /a"));
        check("..", Err("invalid path: must not contain '..': .."));
        check("a/../../b", Err("invalid path: must not contain '..': a/../../b"));
        check("..data", Err("invalid path: must not start with '..': ..data"));
        check("a\0", Err("invalid path: must not contain a zero byte: \"a\\0\""));
        let long = "x".repeat(MAX_FILE_NAME_BYTES + 1);
        assert!(clean_path(&long).unwrap_err().contains("filenames"), "{long}");
        let deep = "x/".repeat(MAX_PATH_BYTES);
        assert!(clean_path(&deep).unwrap_err().contains("4096 characters"));
    }

    proptest::proptest! {
        #[test]
        fn no_path_leads_out_x7(path in "[./a]{0,12}") {
            if let Ok(path) = clean_path(&path) {
                let parts = std::path::Path::new(&path).components();
                let mut parts = parts.map(|part| matches!(part, std::path::Component::Normal(_)));
                assert!(parts.all(|normal| normal), "{path}");
            }
        }
    }

    #[test]
    fn a_file_is_never_below_another() {
        let check = |paths: &[&str], expect: &str| {
            let mut payload = Payload::default();
            let put = |path: &&str| payload.put(path, FileProjection::new("", 0o644), "f");
            let failed = paths.iter().map(put).find_map(Result::err);
            let text = failed.map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(text, expect, "{paths:?}");
        };
        check(&["a", "b/c", "b/d", "a.b", "a-b/c"], "");
        check(&["a", "a"], "");
        check(&["a", "a/b"], "f: invalid path: a/b conflicts with a");
        check(&["a/b/c", "a"], "f: invalid path: a conflicts with a/b/c");
        check(&["a/b/c", "a/b"], "f: invalid path: a/b conflicts with a/b/c");
    }

    #[test]
    fn debug_shows_no_content_x8() {
        let mut payload = Payload::default();
        payload.put("key", FileProjection::new("hunter2", 0o600), "f").unwrap();
        let shown = format!("{payload:?}");
        assert!(shown.contains("7 bytes, 0600") && !shown.contains("hunter2"), "{shown}");
    }
}
