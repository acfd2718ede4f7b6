//! Components, and the bag that starts, supervises and stops them.
//!
//! A [`Component`] is anything that runs: a controller, a scheduler, a listener. A
//! [`Distribution`] is a bag of them: the cluster as a value. Components never call each other;
//! they meet in API objects, so any of them can start first, fail and come back.

mod context;
mod distribution;
mod health;
mod running;
mod supervise;
#[cfg(test)]
mod tests;

use std::fmt::{self, Debug};
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

pub use context::Context;
pub use distribution::{Distribution, RESTART_BACKOFF, STOP_GRACE};
pub use health::{ComponentHealth, Health, HealthBoard, HealthReporter, State};
pub use running::{LAST_GRACE, Running, Stopped};

/// Whatever ended a component: each brings errors of its own.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a component's run returns.
pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// A part of a cluster that runs until it is told to stop.
///
/// **Contract**, for whoever implements one:
/// - `run` builds all mutable state inside, so that it can be called again after a failure.
/// - `run` returns `Ok` soon after [`Context::stop`] is given; earlier, `Ok` means that the work
///   is done for good and is not to be started again.
/// - An error or a panic ends this run alone: the supervisor starts another one, after a backoff.
/// - Dropping the future of `run` leaves nothing behind that works on.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no component",
    note = "implement `Component`, or make one of a closure with `component_fn(name, f)`"
)]
pub trait Component: Debug + Send + Sync + 'static {
    /// What it is called in health reports and logs.
    fn name(&self) -> &str;
    /// Runs until it is told to stop.
    async fn run(&self, ctx: Context) -> Result;
}

macro_rules! forward {
    ($($wrapper:ident),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<C: Component + ?Sized> Component for $wrapper<C> {
            fn name(&self) -> &str {
                (**self).name()
            }
            async fn run(&self, ctx: Context) -> Result {
                (**self).run(ctx).await
            }
        }
    )*};
}

forward!(Arc, Box);

/// Makes a component of an async closure.
///
/// ```
/// use kcore::component::{Context, component_fn};
/// let ticker = component_fn("ticker", |ctx: Context| async move {
///     ctx.stop().stopped().await;
///     Ok(())
/// });
/// ```
pub fn component_fn<F, Fut>(name: impl Into<String>, run: F) -> impl Component
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    ComponentFn { name: name.into(), run }
}

struct ComponentFn<F> {
    name: String,
    run: F,
}

impl<F> Debug for ComponentFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ComponentFn").field(&self.name).finish()
    }
}

#[async_trait]
impl<F, Fut> Component for ComponentFn<F>
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, ctx: Context) -> Result {
        (self.run)(ctx).await
    }
}
