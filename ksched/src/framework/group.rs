//! What plugins say of groups of nodes.

/// What a filter says of the nodes of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupVerdict {
    /// Every node passes.
    Pass,
    /// Every node is turned away.
    Reject,
    /// Some may pass, and others not.
    Mixed,
}
