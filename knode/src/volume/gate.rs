//! Who may pass into a pod's directory on the host (X8).
//!
//! What is in a volume is for whomever its modes let, as everywhere: a container that runs as
//! another user reads the `0644` of its Secret. So it is the pod's directory above that keeps
//! others out. It is the node's alone, but that the users whom the pod's containers run as may
//! pass: an access control list says so, since their groups may be anybody's.
//! <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

use crate::{Error, Result};

/// The mode of a pod's directory, as far as it has no list.
pub(super) const POD_DIRECTORY_MODE: u32 = 0o700;
/// What lets others pass through a directory and not look into it.
const PASS: u32 = 0o001;

/// The extended attribute that a list is kept in.
const LIST: &str = "system.posix_acl_access";
/// The version of its form, and what entries are for (`linux/posix_acl_xattr.h`).
const VERSION: u32 = 2;
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// Permissions, and the identity of entries that need none.
const ALL: u16 = 7;
const SEARCH: u16 = 1;
const NOBODY: u32 = u32::MAX;

/// The users whom a pod's containers run as, as far as the pod says so; root needs no leave.
#[must_use]
pub fn compute_users(pod: &Pod) -> BTreeSet<u32> {
    let Some(spec) = &pod.spec else { return BTreeSet::new() };
    let ordinary = spec.init_containers.iter().flatten().chain(&spec.containers);
    let ordinary = ordinary.map(|container| container.security_context.as_ref());
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|container| container.security_context.as_ref());
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let users = ordinary.chain(ephemeral);
    let users = users.filter_map(|own| own.and_then(|own| own.run_as_user).or(of_pod));
    users.filter_map(|user| u32::try_from(user).ok()).filter(|user| *user != 0).collect()
}

/// The list of a directory that is its owner's, and through which `users` may pass.
fn compute_list(users: &BTreeSet<u32>) -> Vec<u8> {
    let owner = [(OWNER, ALL, NOBODY)].into_iter();
    let users = users.iter().map(|user| (USER, SEARCH, *user));
    let rest = [(GROUP, 0, NOBODY), (MASK, SEARCH, NOBODY), (OTHER, 0, NOBODY)];
    let mut list = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in owner.chain(users).chain(rest) {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&permissions.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

/// Makes a pod's directory the node's, and lets `users` pass through it and the two above.
///
/// A file system without access control lists keeps them out, which is logged: what is below may
/// be a Secret.
pub(super) fn guard(pod: &Path, users: &BTreeSet<u32>) -> Result<()> {
    if users.is_empty() {
        // This takes the effect of a list too.
        return set_mode(pod, |_| POD_DIRECTORY_MODE);
    }
    for above in pod.ancestors().skip(1).take(2) {
        set_mode(above, |mode| mode | PASS)?;
    }
    let list = compute_list(users);
    let mut old = vec![0; list.len() + 1];
    // One that says the same stays: whoever passes just now is not to be stopped.
    if getxattr(pod, LIST, &mut old[..]).is_ok_and(|length| old[..length] == list) {
        return Ok(());
    }
    match setxattr(pod, LIST, &list, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) => {
            tracing::warn!(
                pod = %pod.display(), ?users,
                "the file system has no access control lists: containers that run as another \
                 user cannot reach their volumes"
            );
            set_mode(pod, |_| POD_DIRECTORY_MODE)
        }
        set => set.map_err(|error| Error::io("let users into", pod)(error.into())),
    }
}

/// Changes a directory's mode, if it is another one.
fn set_mode(path: &Path, change: impl Fn(u32) -> u32) -> Result<()> {
    let meta = fs::metadata(path).map_err(Error::io("inspect", path))?;
    let old = meta.permissions().mode() & 0o7777;
    let new = change(old);
    if old == new {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(new))
        .map_err(Error::io("set the mode of", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn users_are_those_of_containers_and_then_the_pods() {
        let check = |spec: Value, expect: &[u32]| {
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            let users: Vec<u32> = compute_users(&pod).into_iter().collect();
            assert_eq!(users, expect, "{spec}");
        };
        let as_user = |user: i64| json!({"name": "c", "securityContext": {"runAsUser": user}});
        let any = json!({"name": "d"});
        check(json!({"containers": [any]}), &[]);
        check(json!({"containers": [as_user(7), any]}), &[7]);
        let of_pod = json!({"runAsUser": 9});
        check(json!({"containers": [as_user(7), any], "securityContext": of_pod}), &[7, 9]);
        check(json!({"containers": [as_user(7)], "securityContext": of_pod}), &[7]);
        check(json!({"containers": [as_user(0), as_user(-1)]}), &[]);
        let all = json!({"containers": [as_user(3)], "initContainers": [as_user(1)],
            "ephemeralContainers": [as_user(2)]});
        check(all, &[1, 2, 3]);
    }

    #[test]
    fn a_list_lets_users_pass_and_nobody_look() {
        let list = compute_list(&[5, 1234].into());
        let entries: Vec<(u16, u16, u32)> = list[4..]
            .chunks(8)
            .map(|entry| {
                let (tag, permissions) = (entry[..2].try_into(), entry[2..4].try_into());
                let id = entry[4..].try_into().unwrap();
                (
                    u16::from_le_bytes(tag.unwrap()),
                    u16::from_le_bytes(permissions.unwrap()),
                    u32::from_le_bytes(id),
                )
            })
            .collect();
        let any = u32::MAX;
        let expect =
            [(1, 7, any), (2, 1, 5), (2, 1, 1234), (4, 0, any), (16, 1, any), (32, 0, any)];
        assert_eq!((&list[..4], &entries[..]), (&[2, 0, 0, 0][..], &expect[..]));
    }

    #[test]
    fn a_directory_is_opened_for_users_and_closed_again_x8() {
        let root = tempfile::tempdir().unwrap();
        let (pods, pod) = (root.path().join("pods"), root.path().join("pods/u1"));
        fs::create_dir_all(&pod).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for dir in [root.path(), &pods, &pod] {
            fs::set_permissions(dir, Permissions::from_mode(0o750)).unwrap();
        }
        guard(&pod, &BTreeSet::new()).unwrap();
        assert_eq!((mode(&pods), mode(&pod)), (0o750, 0o700));
        guard(&pod, &[1234].into()).unwrap();
        guard(&pod, &[1234].into()).unwrap();
        // The group's bits show the most that the list gives to anybody but the owner.
        assert_eq!((mode(root.path()), mode(&pods), mode(&pod)), (0o751, 0o751, 0o710));
        guard(&pod, &BTreeSet::new()).unwrap();
        assert_eq!(mode(&pod), 0o700);
    }

    /// What a user reads of a file, or whether he is turned away.
    fn read_as(user: u32, group: u32, path: &Path) -> Option<String> {
        let output = Command::new("cat").arg(path).uid(user).gid(group).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    #[tokio::test]
    async fn a_containers_user_reads_its_own_volumes_and_no_others_x8() {
        use crate::env::PodFacts;
        use crate::sources::{PodSources, Source};
        use crate::volume::Volumes;

        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o711)).unwrap();
        let clock = kcore::clock::Clock::starting_at(Default::default());
        let volumes = Volumes::new(root.path().join("node"), clock);
        let secret = json!({"data": {"p": "cHc="}});
        let secret = Source::found(serde_json::from_value(secret).unwrap());
        let sources = PodSources::default().secret("s", secret);
        let mut files = Vec::new();
        for (uid, user) in [("u1", 1234), ("u2", 4321)] {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": uid, "namespace": "ns", "uid": uid},
                "spec": {"securityContext": {"runAsUser": user},
                    "containers": [{"name": "c", "volumeMounts": [
                        {"name": "open", "mountPath": "/a"},
                        {"name": "shut", "mountPath": "/b"},
                        {"name": "scratch", "mountPath": "/c"}]}],
                    "volumes": [{"name": "open", "secret": {"secretName": "s"}},
                        {"name": "shut", "secret": {"secretName": "s", "defaultMode": 0o400}},
                        {"name": "scratch", "emptyDir": {}}]},
            }))
            .unwrap();
            let ready = volumes.set_up(&pod, &sources, &PodFacts::default()).await.unwrap();
            let path = |name: &str| ready.volumes[name].host_path.clone();
            files.push((path("open").join("p"), path("shut").join("p"), path("scratch")));
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            let (open, shut, scratch) = &files[files.len() - 1];
            assert_eq!((mode(open), mode(shut), mode(scratch)), (0o644, 0o400, 0o777));
            let dir = volumes.pod_dir(uid);
            assert_eq!((mode(&dir) & 0o067, mode(&dir) & 0o700), (0, 0o700), "X8");
        }
        // Only root can be somebody else; who may do what is in the tests above for all others.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let ((own, shut, scratch), (other, ..)) = (&files[0], &files[1]);
        for group in [0, 1234] {
            assert_eq!(read_as(1234, group, own).as_deref(), Some("pw"), "group {group}");
            assert_eq!(read_as(1234, group, shut), None, "as its mode says");
            assert_eq!(read_as(1234, group, other), None, "another pod's");
            assert_eq!(read_as(99, group, own), None, "a stranger");
        }
        assert_eq!(read_as(4321, 4321, other).as_deref(), Some("pw"));
        let made = scratch.join("made");
        let touched = Command::new("touch").arg(&made).uid(1234).gid(1234).status().unwrap();
        assert!(touched.success() && made.exists());
    }
}
