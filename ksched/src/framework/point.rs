//! The names of the extension points.

use std::fmt;

/// An extension point by its name.
/// <https://kubernetes.io/docs/reference/scheduling/config/#extension-points>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Keeps pods out of the queue.
    PreEnqueue,
    /// Orders the queue.
    QueueSort,
    /// Looks at a pod once.
    PreFilter,
    /// Turns nodes away.
    Filter,
    /// Makes room.
    PostFilter,
    /// Looks at the feasible nodes once.
    PreScore,
    /// Ranks nodes.
    Score,
    /// Keeps something for the pod.
    Reserve,
    /// Holds the pod back.
    Permit,
    /// Prepares the binding.
    PreBind,
    /// Binds.
    Bind,
    /// Is told of bindings.
    PostBind,
}

impl Point {
    /// All of them, in the order a pod meets them.
    pub const ALL: [Self; 12] = [
        Self::PreEnqueue,
        Self::QueueSort,
        Self::PreFilter,
        Self::Filter,
        Self::PostFilter,
        Self::PreScore,
        Self::Score,
        Self::Reserve,
        Self::Permit,
        Self::PreBind,
        Self::Bind,
        Self::PostBind,
    ];

    /// Its name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreEnqueue => "preEnqueue",
            Self::QueueSort => "queueSort",
            Self::PreFilter => "preFilter",
            Self::Filter => "filter",
            Self::PostFilter => "postFilter",
            Self::PreScore => "preScore",
            Self::Score => "score",
            Self::Reserve => "reserve",
            Self::Permit => "permit",
            Self::PreBind => "preBind",
            Self::Bind => "bind",
            Self::PostBind => "postBind",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
