//! The reconciler: an async function from a key to a cluster that is as its object says.
//!
//! [`Reconciler`] is the seam, [`reconciler_fn`] makes one of a closure, and [`Controller`] feeds
//! it with the keys of what changed. <https://kubernetes.io/docs/concepts/architecture/controller/>

mod action;
mod client;
mod context;
mod controller;
mod expectations;
mod worker;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use kcore::component::BoxError;
use kcore::name::NamespacedName;

pub use action::Action;
pub use context::Context;
pub use controller::{Controller, RESYNC_JITTER, RESYNC_PERIOD, WORKERS};
pub use expectations::Expectations;
pub use worker::{LAG_RETRY, LAG_WAIT};

/// Brings the cluster to what the object at a key says.
///
/// **Contract**, for whoever implements one:
/// - It is level-driven: it looks at what is, not at what changed, and the object may be gone.
/// - Reconciling what is as it should be writes nothing (C1).
/// - It may be dropped or fail between any two writes; the next reconcile goes on (C6).
/// - Updates and deletes carry a resource version or a uid (C8).
///
/// **Contract**, for whoever calls one:
/// - No key is reconciled twice at once.
/// - A reconcile never sees a state older than what the key's earlier ones wrote (C4).
/// - After an error or a panic the key comes back, with backoff.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no reconciler",
    note = "implement `Reconciler`, or make one of a closure with `reconciler_fn(name, f)`"
)]
pub trait Reconciler: fmt::Debug + Send + Sync + 'static {
    /// Why a reconcile failed.
    type Error: Into<BoxError> + Send;
    /// What the controller is called in health reports, logs and events.
    fn name(&self) -> &str;
    /// Reconciles the object at `key`.
    async fn reconcile(&self, key: &NamespacedName, ctx: &Context) -> Result<Action, Self::Error>;
}

macro_rules! forward {
    ($($wrapper:ident),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<R: Reconciler + ?Sized> Reconciler for $wrapper<R> {
            type Error = R::Error;
            fn name(&self) -> &str {
                (**self).name()
            }
            async fn reconcile(
                &self,
                key: &NamespacedName,
                ctx: &Context,
            ) -> Result<Action, Self::Error> {
                (**self).reconcile(key, ctx).await
            }
        }
    )*};
}

forward!(Arc, Box);

/// Makes a reconciler of an async closure.
pub fn reconciler_fn<F, Fut, E>(name: impl Into<String>, f: F) -> impl Reconciler<Error = E>
where
    F: Fn(NamespacedName, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    ReconcilerFn { name: name.into(), f }
}

struct ReconcilerFn<F> {
    name: String,
    f: F,
}

impl<F> fmt::Debug for ReconcilerFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReconcilerFn").field(&self.name).finish()
    }
}

#[async_trait]
impl<F, Fut, E> Reconciler for ReconcilerFn<F>
where
    F: Fn(NamespacedName, Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    type Error = E;

    fn name(&self) -> &str {
        &self.name
    }

    async fn reconcile(&self, key: &NamespacedName, ctx: &Context) -> Result<Action, E> {
        (self.f)(key.clone(), ctx.clone()).await
    }
}
