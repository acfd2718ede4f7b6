//! What becomes of a dependent, as a plain function.

use kcore::client::Propagation;
use kcore::object::Meta;

/// The finalizer of an owner that waits for its dependents to go.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner that waits for its dependents to forget it.
pub const ORPHAN: &str = "orphan";

/// What a live read says of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerState {
    /// It is there, the very one: by uid, not by name (D3).
    Solid,
    /// It is being deleted, and waits for its dependents to go before it.
    Waiting,
    /// It is not there, or only its namesake is.
    Absent,
    /// Nobody can tell: such a dependent is never collected (D4).
    Unresolvable,
}

/// What becomes of a dependent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays, and forgets the owners that are absent or waiting.
    Unlink,
    /// It goes.
    Delete(Propagation),
}

/// Decides over a dependent, by what a live read says of each of its owners.
/// <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>
#[must_use]
pub fn judge(meta: &Meta, owners: &[OwnerState], has_dependents: bool) -> Verdict {
    let any = |state| owners.contains(&state);
    if owners.is_empty() || meta.deletion.is_some() || any(OwnerState::Unresolvable) {
        return Verdict::Keep;
    }
    if any(OwnerState::Solid) {
        let others = any(OwnerState::Absent) || any(OwnerState::Waiting);
        return if others { Verdict::Unlink } else { Verdict::Keep };
    }
    if any(OwnerState::Waiting) && has_dependents {
        return Verdict::Delete(Propagation::Foreground);
    }
    let has = |finalizer: &str| meta.finalizers.iter().any(|one| one == finalizer);
    Verdict::Delete(if has(ORPHAN) {
        Propagation::Orphan
    } else if has(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependent_goes_only_when_no_owner_is_left() {
        use OwnerState::{Absent, Solid, Unresolvable, Waiting};
        let check = |owners: &[OwnerState], dependents, expect| {
            assert_eq!(judge(&Meta::default(), owners, dependents), expect, "{owners:?}");
        };
        check(&[], false, Verdict::Keep);
        check(&[Solid], false, Verdict::Keep);
        check(&[Solid, Absent], false, Verdict::Unlink);
        check(&[Solid, Waiting], true, Verdict::Unlink);
        check(&[Absent], true, Verdict::Delete(Propagation::Background));
        check(&[Waiting], false, Verdict::Delete(Propagation::Background));
        check(&[Waiting, Absent], true, Verdict::Delete(Propagation::Foreground));
        check(&[Absent, Unresolvable], false, Verdict::Keep);
        let held = Meta { finalizers: vec![ORPHAN.into()], ..Meta::default() };
        assert_eq!(judge(&held, &[Absent], true), Verdict::Delete(Propagation::Orphan));
    }
}
