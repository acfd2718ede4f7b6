//! A component that runs only while it leads.

use std::sync::Arc;

use async_trait::async_trait;

use super::{LeaderConfig, LeaderElector, Term};
use crate::client::DynClient;
use crate::component::{self, Component, Context};

/// Runs a component only while this replica leads, and lines up again when it is leader no more.
///
/// A candidate that waits is ready. If the component fails while it leads, the lease is given up
/// and the failure is handed on, so that another replica may do better in the meantime.
#[derive(Debug)]
pub struct Elected<C> {
    client: DynClient,
    config: LeaderConfig,
    component: Arc<C>,
}

impl<C: Component> Elected<C> {
    /// Runs `component` while this replica holds the lease that `config` names.
    #[must_use]
    pub fn new(client: DynClient, config: LeaderConfig, component: C) -> Self {
        Self { client, config, component: Arc::new(component) }
    }
}

#[async_trait]
impl<C: Component> Component for Elected<C> {
    fn name(&self) -> &str {
        self.component.name()
    }

    async fn run(&self, ctx: Context) -> component::Result {
        let (clock, random) = (ctx.clock().clone(), ctx.random().fork());
        let client = DynClient::clone(&self.client);
        let elector = LeaderElector::new(client, self.config.clone(), clock, random);
        loop {
            ctx.health().ready();
            let component = Arc::clone(&self.component);
            let work = |told| {
                let ctx = ctx.clone().with_stop(told);
                async move { component.run(ctx).await }
            };
            match elector.run(ctx.stop(), work).await {
                Term::Ended(result) => return result,
                Term::NeverLed => return Ok(()),
                Term::Lost if ctx.stop().is_stopped() => return Ok(()),
                Term::Lost => {}
            }
        }
    }
}
