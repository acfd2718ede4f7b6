//! The bag of all stock controllers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kcore::client::DynClient;
use kcore::component::{self, Component, Distribution};
use kcore::informer::Informers;
use kcore::kind::Kind;

use crate::garbage::GarbageCollector;
use crate::node::NodeLifecycle;
use crate::reconciler::Controller;
use crate::{accounts, deployment, endpoints, namespace, node, replicaset};

type Make = Arc<dyn Fn(&Informers) -> Arc<dyn Component> + Send + Sync>;

/// Controllers that run together and share one informer per kind: one [`Component`].
///
/// Each is supervised by itself: one that fails is started again, and the others go on.
#[derive(Clone)]
pub struct Controllers {
    client: DynClient,
    makes: Vec<Make>,
}

impl Controllers {
    /// A bag without controllers.
    #[must_use]
    pub fn new(client: DynClient) -> Self {
        Self { client, makes: Vec::new() }
    }

    /// The stock controllers; the README lists them.
    #[must_use]
    pub fn stock(client: DynClient) -> Self {
        Self::new(client)
            .controller(replicaset::controller)
            .controller(deployment::controller)
            .controller(endpoints::slice_controller)
            .controller(endpoints::controller)
            .controller(namespace::controller)
            .controller(accounts::service_account_controller)
            .controller(node::eviction_controller)
            .component(|informers| {
                let lifecycle = NodeLifecycle::new(Arc::clone(informers.client()));
                Arc::new(lifecycle.informers(informers.clone()))
            })
            .component(|informers| {
                let collector = GarbageCollector::new(Arc::clone(informers.client()));
                Arc::new(collector.informers(informers.clone()))
            })
    }

    /// Also gives every namespace the cluster's root certificate, in PEM.
    #[must_use]
    pub fn root_ca(self, certificate: impl Into<Arc<str>>) -> Self {
        let certificate = certificate.into();
        self.controller(move |client| {
            accounts::root_ca_controller(client, Arc::clone(&certificate))
        })
    }

    /// Adds a controller, which shares the bag's informers.
    #[must_use]
    pub fn controller<K: Kind>(
        self,
        make: impl Fn(DynClient) -> Controller<K> + Send + Sync + 'static,
    ) -> Self {
        let client = Arc::clone(&self.client);
        self.component(move |informers| {
            Arc::new(make(Arc::clone(&client)).informers(informers.clone()))
        })
    }

    /// Adds a component of any sort, made for the bag's informers.
    #[must_use]
    pub fn component(
        mut self,
        make: impl Fn(&Informers) -> Arc<dyn Component> + Send + Sync + 'static,
    ) -> Self {
        self.makes.push(Arc::new(make));
        self
    }
}

#[async_trait]
impl Component for Controllers {
    fn name(&self) -> &str {
        "controllers"
    }

    async fn run(&self, ctx: component::Context) -> component::Result {
        ctx.health().not_ready("not every controller is ready");
        let informers = Informers::new(Arc::clone(&self.client), ctx.random().fork());
        let mut bag = Distribution::new().clock(ctx.clock().clone()).random(ctx.random().fork());
        for make in &self.makes {
            bag = bag.with(make(&informers));
        }
        let running = bag.start();
        kcore::select! {
            () = ctx.stop().stopped() => {}
            () = running.ready() => {
                ctx.health().ready();
                ctx.stop().stopped().await;
            }
        }
        if !running.stop().await.is_clean() {
            tracing::warn!("a controller did not stop in time");
        }
        Ok(())
    }
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controllers")
            .field("controllers", &self.makes.len())
            .finish_non_exhaustive()
    }
}
