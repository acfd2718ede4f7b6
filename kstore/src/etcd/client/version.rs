//! Which version a member has, and what that means.

use super::failure::EtcdError;

/// The oldest etcd that is supported.
const OLDEST: (u64, u64) = (3, 4);

/// A version as three numbers; none if it has no such form.
pub(super) fn parse(version: &str) -> Option<(u64, u64, u64)> {
    // `3.5.13-rc.1` is older than `3.5.13`, but no promise is made of pre-releases.
    let plain = version.split(['-', '+']).next()?;
    let mut numbers = plain.split('.').map(|number| number.parse::<u64>().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// Refuses what is too old.
pub(super) fn check(url: &str, version: &str) -> Result<(), EtcdError> {
    match parse(version) {
        Some((major, minor, _)) if (major, minor) >= OLDEST => Ok(()),
        _ => {
            let what = format!("has version {version:?}; 3.4 or newer is needed");
            Err(EtcdError::new(url, what))
        }
    }
}

/// Whether a member of that version answers a progress request only after the events before it:
/// [3.4.31](https://github.com/etcd-io/etcd/blob/main/CHANGELOG/CHANGELOG-3.4.md) and
/// [3.5.13](https://github.com/etcd-io/etcd/blob/main/CHANGELOG/CHANGELOG-3.5.md) on, the versions
/// from which Kubernetes trusts it, too.
pub(super) fn native_progress(version: &str) -> bool {
    match parse(version) {
        Some((3, 4, patch)) => patch >= 31,
        Some((3, 5, patch)) => patch >= 13,
        Some((major, minor, _)) => (major, minor) > (3, 5),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_trusted_from_the_fixed_versions_on() {
        for (version, expect) in [
            ("3.4.23", false),
            ("3.4.30", false),
            ("3.4.31", true),
            ("3.5.0", false),
            ("3.5.12", false),
            ("3.5.13", true),
            ("3.6.0-rc.1", true),
            ("4.0.0", true),
            ("3.3.99", false),
            ("nonsense", false),
        ] {
            assert_eq!(native_progress(version), expect, "{version}");
        }
    }

    #[test]
    fn old_and_foreign_servers_are_refused() {
        assert!(check("http://x", "3.4.0").is_ok() && check("http://x", "3.6.1").is_ok());
        for version in ["3.3.27", "2.3.8", "", "nginx"] {
            let error = check("http://x", version).unwrap_err();
            assert!(error.to_string().contains("http://x"), "{error}");
        }
    }
}
