//! Every reference backend runs the suite, and the suite catches what is planted.

use async_trait::async_trait;
use knet::conformance::{CASES, Capabilities, run_case};
use knet::table::{ChangeSet, ServiceTable};
use knet::{NetworkProgrammer, RecordingProgrammer, Result, SyncReport, UserspaceProgrammer};

knet::conformance::suite!(recording, Capabilities::default(), || async {
    RecordingProgrammer::new()
});
knet::conformance::suite!(userspace, Capabilities::default().data_path().udp(), || async {
    UserspaceProgrammer::new()
});
knet::conformance::suite!(boxed, Capabilities::default().data_path().udp(), || async {
    Box::new(UserspaceProgrammer::new()) as Box<dyn NetworkProgrammer>
});

/// The lines of the Contract, out of the trait's own documentation.
#[test]
fn the_contract_and_the_cases_are_the_same_list() {
    let source = include_str!("../src/programmer.rs");
    let lines: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("/// - `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let cases: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(lines, cases);
}

/// A backend that does what another one does to a table first.
#[derive(Debug)]
struct Planted {
    inner: UserspaceProgrammer,
    spoil: fn(&mut ServiceTable),
}

#[async_trait]
impl NetworkProgrammer for Planted {
    async fn sync(&self, desired: &ServiceTable, changed: &ChangeSet) -> Result<SyncReport> {
        let mut table = desired.clone();
        (self.spoil)(&mut table);
        self.inner.sync(&table, changed).await
    }
}

fn ports(table: &mut ServiceTable) -> impl Iterator<Item = &mut knet::table::ServicePort> {
    table.services.values_mut()
}

/// Which cases fail for a planted fault.
async fn caught(spoil: fn(&mut ServiceTable)) -> Vec<&'static str> {
    let mut failed = Vec::new();
    for case in CASES {
        let run = tokio::spawn(async move {
            let planted = Planted { inner: UserspaceProgrammer::new(), spoil };
            run_case(case.name, Capabilities::default().data_path().udp(), &planted).await;
        });
        if run.await.is_err() {
            failed.push(case.name);
        }
    }
    failed
}

#[tokio::test]
async fn a_planted_fault_fails_the_case_that_names_it() {
    assert_eq!(caught(|_| {}).await, [""; 0], "the control passes");
    let ignores_readiness = |table: &mut ServiceTable| {
        for endpoint in ports(table).flat_map(|port| &mut port.endpoints) {
            endpoint.ready = true;
            endpoint.serving = true;
        }
    };
    assert_eq!(caught(ignores_readiness).await, ["routes_to_ready_endpoints"]);
    let forgets_affinity = |table: &mut ServiceTable| ports(table).for_each(|p| p.affinity = None);
    assert_eq!(caught(forgets_affinity).await, ["keeps_clients_on_their_endpoint"]);
    let only_the_first = |table: &mut ServiceTable| {
        for port in ports(table).filter(|port| port.endpoints.len() == 3) {
            port.endpoints.truncate(1);
        }
    };
    assert_eq!(caught(only_the_first).await, ["spreads_connections"]);
    let drops_udp = |table: &mut ServiceTable| {
        table.services.retain(|_, port| port.protocol != knet::table::Protocol::Udp);
    };
    assert_eq!(caught(drops_udp).await, ["routes_udp"]);
}
