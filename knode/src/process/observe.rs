//! Statistics out of `/proc`, and events.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::state::Phase;
use super::{ProcessRuntime, blocking, procfs};
use crate::Result;
use crate::runtime::{
    ContainerEvent, ContainerFilter, ContainerStats, Events, Stats, event_stream,
};

#[async_trait]
impl Stats for ProcessRuntime {
    async fn list(&self, filter: ContainerFilter) -> Result<Vec<ContainerStats>> {
        let containers = self.matching(&filter);
        let now = self.inner.now();
        blocking(move || {
            // Every process of a container is in the session that its shim leads.
            let mut sessions: BTreeMap<i32, Vec<procfs::Stat>> = BTreeMap::new();
            for stat in procfs::all().into_iter().filter(|stat| stat.pid != stat.session) {
                sessions.entry(stat.session).or_default().push(stat);
            }
            let ticks = rustix::param::clock_ticks_per_second().max(1);
            let page_bytes = rustix::param::page_size() as u64;
            let usage = |container: &super::state::Container| {
                let Phase::Running(running) = &*container.phase.borrow() else { return None };
                let processes = sessions.get(&running.shim.pid)?;
                let cpu: u64 = processes.iter().map(|stat| stat.cpu_ticks).sum();
                let pages: u64 = processes.iter().map(|stat| stat.resident_pages).sum();
                let stats = ContainerStats::new(container.id.clone(), now)
                    .cpu_usage_ns(cpu.saturating_mul(1_000_000_000 / ticks))
                    .memory_bytes(pages.saturating_mul(page_bytes))
                    .processes(processes.len() as u64);
                Some(stats)
            };
            Ok(containers.iter().filter_map(|container| usage(container)).collect())
        })
        .await
    }
}

impl Events for ProcessRuntime {
    fn subscribe(&self) -> BoxStream<'static, Result<ContainerEvent>> {
        event_stream(self.inner.events.subscribe())
    }
}
