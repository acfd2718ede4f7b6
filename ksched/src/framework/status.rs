//! What a plugin answers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// How a plugin decided.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Go on.
    Success,
    /// Something went wrong inside: the pod is tried again after its backoff.
    Error,
    /// The pod does not fit now; preemption may help.
    Unschedulable,
    /// The pod does not fit, and removing other pods would not change that.
    UnschedulableAndUnresolvable,
    /// A Permit plugin wants the pod to wait.
    Wait,
    /// The plugin has nothing to say about this pod.
    Skip,
    /// The pod waits for something outside and must be tried as soon as it happens.
    Pending,
}

/// A [`Code`] with reasons. Success costs nothing; clones share their reasons.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Status(Option<Arc<Inner>>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    code: Code,
    reasons: Vec<Cow<'static, str>>,
}

impl Status {
    /// Go on.
    #[must_use]
    pub const fn success() -> Self {
        Self(None)
    }

    /// A code with one reason.
    #[must_use]
    pub fn new(code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::with_reasons(code, vec![reason.into()])
    }

    /// A code with any number of reasons.
    #[must_use]
    pub fn with_reasons(code: Code, reasons: Vec<Cow<'static, str>>) -> Self {
        if code == Code::Success {
            return Self(None);
        }
        Self(Some(Arc::new(Inner { code, reasons })))
    }

    /// The pod does not fit now.
    #[must_use]
    pub fn unschedulable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unschedulable, reason)
    }

    /// The pod does not fit, whatever else leaves.
    #[must_use]
    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::UnschedulableAndUnresolvable, reason)
    }

    /// Something went wrong inside.
    #[must_use]
    pub fn error(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Error, reason)
    }

    /// The plugin has nothing to say about this pod.
    #[must_use]
    pub fn skip() -> Self {
        Self::with_reasons(Code::Skip, Vec::new())
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.as_ref().map_or(Code::Success, |inner| inner.code)
    }

    /// The reasons, in upstream's words where it has words.
    #[must_use]
    pub fn reasons(&self) -> &[Cow<'static, str>] {
        self.0.as_ref().map_or(&[], |inner| &inner.reasons)
    }

    /// All reasons in one line.
    #[must_use]
    pub fn message(&self) -> String {
        self.reasons().join(", ")
    }

    /// Whether it says to go on.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it says that there is nothing to say.
    #[must_use]
    pub fn is_skip(&self) -> bool {
        self.code() == Code::Skip
    }

    /// Whether it turns the pod away, in whatever manner, without anything having gone wrong.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        matches!(
            self.code(),
            Code::Unschedulable | Code::UnschedulableAndUnresolvable | Code::Pending
        )
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Status").field(&self.code()).field(&self.reasons()).finish()
    }
}

impl std::error::Error for Status {}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}
