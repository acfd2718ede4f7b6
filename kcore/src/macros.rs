//! The one `select!` of this workspace.

/// Waits on several futures at once and runs the arm of the first one that is ready.
///
/// Arms are polled in the order they are written, so that a simulated cluster replays the same
/// way each time. Put the arm that must not starve (shutdown) first. Otherwise the syntax is
/// [`tokio::select!`](https://docs.rs/tokio/latest/tokio/macro.select.html)'s.
#[macro_export]
macro_rules! select {
    ($($arms:tt)*) => {
        $crate::__tokio::select! { biased; $($arms)* }
    };
}
