//! The suite that every backend of the seam runs.
//!
//! ```
//! # mod mine {
//! use knet::conformance::Capabilities;
//! use knet::UserspaceProgrammer;
//!
//! knet::conformance::suite!(userspace, Capabilities::default().data_path().udp(), || async {
//!     UserspaceProgrammer::new()
//! });
//! # }
//! ```

mod cases;
mod fixture;

use std::pin::Pin;

use crate::NetworkProgrammer;

/// What a backend can do. What is not declared is not tried, and its cases say so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Capabilities {
    data_path: bool,
    udp: bool,
}

impl Capabilities {
    /// Traffic from this process to loopback addresses really takes the way of the table.
    #[must_use]
    pub fn data_path(mut self) -> Self {
        self.data_path = true;
        self
    }

    /// Datagrams do too.
    #[must_use]
    pub fn udp(mut self) -> Self {
        self.udp = true;
        self
    }
}

type CaseFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One line of the Contract, as a test.
pub struct Case {
    /// The line's name.
    pub name: &'static str,
    needs: fn(Capabilities) -> bool,
    run: for<'a> fn(&'a dyn NetworkProgrammer) -> CaseFuture<'a>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! cases {
    ($($name:ident: $needs:expr),* $(,)?) => {
        /// Every case, in the order of the Contract.
        pub const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            needs: $needs,
            run: |programmer| Box::pin(cases::$name(programmer)),
        }),*];
    };
}

cases! {
    routes_to_ready_endpoints: |can| can.data_path,
    spreads_connections: |can| can.data_path,
    follows_endpoint_changes: |can| can.data_path,
    refuses_without_endpoints: |can| can.data_path,
    forgets_removed_services: |can| can.data_path,
    keeps_open_connections: |can| can.data_path,
    keeps_clients_on_their_endpoint: |can| can.data_path,
    syncing_twice_changes_nothing: |_| true,
    reports_what_it_cannot_serve: |can| can.data_path,
    routes_udp: |can| can.udp,
}

/// Runs one case against a backend; a case it has no capability for is skipped, by name.
///
/// # Panics
/// If the backend breaks the line of the Contract, or there is no such case.
pub async fn run_case(name: &str, capabilities: Capabilities, programmer: &dyn NetworkProgrammer) {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name}"));
    if (case.needs)(capabilities) {
        (case.run)(programmer).await;
    } else {
        tracing::info!(case = name, "skipped: the capability is not declared");
    }
}

/// Expands to one test per line of the [`NetworkProgrammer`] Contract: a module's name, the
/// backend's capabilities, and a function that makes a fresh backend each time.
#[macro_export]
macro_rules! __knet_suite {
    ($module:ident, $capabilities:expr, $make:expr) => {
        $crate::__knet_suite!(@ $module, $capabilities, $make,
            routes_to_ready_endpoints, spreads_connections, follows_endpoint_changes,
            refuses_without_endpoints, forgets_removed_services, keeps_open_connections,
            keeps_clients_on_their_endpoint, syncing_twice_changes_nothing,
            reports_what_it_cannot_serve, routes_udp);
    };
    (@ $module:ident, $capabilities:expr, $make:expr, $($case:ident),*) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    let programmer = ($make)().await;
                    let capabilities: $crate::conformance::Capabilities = $capabilities;
                    $crate::conformance::run_case(stringify!($case), capabilities, &programmer)
                        .await;
                }
            )*
        }
    };
}

#[doc(inline)]
pub use crate::__knet_suite as suite;
