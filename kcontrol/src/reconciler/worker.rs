//! Takes keys from the queue and has them reconciled.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use kcore::client::{ListOptions, Path};
use kcore::collections::HashMap;
use kcore::component::BoxError;
use kcore::name::NamespacedName;
use kcore::queue::{Claim, WorkQueue};
use kcore::stop::StopToken;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::client::NotingClient;
use super::{Action, Context, Expectations, Reconciler};
use crate::error::is_namespace_terminating;

/// How long a worker waits for the caches to show what the key's last reconcile wrote.
pub const LAG_WAIT: Duration = Duration::from_millis(250);
/// When a key whose caches lag further behind is looked at again.
pub const LAG_RETRY: Duration = Duration::from_secs(1);
/// The first pause between two looks at the caches.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// A reconciler whose error type is forgotten.
#[async_trait]
pub(super) trait Erased: fmt::Debug + Send + Sync {
    fn title(&self) -> &str;
    async fn once(&self, key: &NamespacedName, ctx: &Context) -> Result<Action, BoxError>;
}

#[async_trait]
impl<R: Reconciler> Erased for R {
    fn title(&self) -> &str {
        self.name()
    }

    async fn once(&self, key: &NamespacedName, ctx: &Context) -> Result<Action, BoxError> {
        self.reconcile(key, ctx).await.map_err(Into::into)
    }
}

type Noted = Arc<Mutex<Expectations>>;

/// What the workers of one controller share.
pub(super) struct Shared {
    reconciler: Arc<dyn Erased>,
    pub(super) queue: WorkQueue<NamespacedName>,
    pub(super) context: Context,
    /// One entry per key whose writes the caches do not show yet.
    expected: Mutex<HashMap<NamespacedName, Noted>>,
}

impl Shared {
    pub(super) fn new(
        reconciler: Arc<dyn Erased>,
        queue: WorkQueue<NamespacedName>,
        context: Context,
    ) -> Self {
        Self { reconciler, queue, context, expected: Mutex::default() }
    }

    /// Waits a moment until the caches show what the key wrote. Returns whether they do.
    async fn caught_up(&self, key: &NamespacedName) -> bool {
        let Some(noted) = self.expected.lock().get(key).cloned() else { return true };
        self.resolve(&noted).await;
        let (started, mut pause) = (Instant::now(), FIRST_LOOK);
        while !noted.lock().settle(&self.context.sources) {
            if started.elapsed() >= LAG_WAIT {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.expected.lock().remove(key);
        true
    }

    /// Finds out whether writes whose answer was lost took place.
    async fn resolve(&self, noted: &Mutex<Expectations>) {
        let unresolved = noted.lock().unresolved().to_vec();
        for (resource, namespace) in unresolved {
            let within = resource.namespaced.then_some(namespace.as_str());
            let path = Path::collection(&resource, within);
            let options = ListOptions::default().metadata_only();
            match self.context.client.list(path, &options).await {
                Ok(list) => {
                    let newest = list.items.iter().map(kcore::object::Object::resource_version);
                    let newest = newest.max().unwrap_or_default();
                    noted.lock().resolve(&resource, &namespace, newest);
                }
                Err(error) => tracing::debug!(%error, "a lost answer stays unresolved"),
            }
        }
    }

    async fn reconcile(&self, key: &NamespacedName) -> Result<Action, BoxError> {
        let noted = Noted::default();
        self.expected.lock().insert(key.clone(), Arc::clone(&noted));
        let client = NotingClient::new(Arc::clone(&self.context.client), Arc::clone(&noted));
        let context = Context { client: Arc::new(client), ..self.context.clone() };
        let once = AssertUnwindSafe(self.reconciler.once(key, &context)).catch_unwind();
        let outcome = once.await.unwrap_or_else(|panic| Err(describe(&*panic).into()));
        if noted.lock().is_empty() {
            self.expected.lock().remove(key);
        }
        outcome
    }

    async fn handle(&self, claim: Claim<NamespacedName>) {
        let key = NamespacedName::clone(&claim);
        if !self.caught_up(&key).await {
            self.queue.add_after(key, LAG_RETRY);
            return claim.done();
        }
        let began = Instant::now();
        match self.reconcile(&key).await {
            Ok(action) => {
                if let Action::RequeueAfter(delay) = action {
                    self.queue.add_after(key, delay);
                }
                claim.succeed_and_rest(compute_rest(began.elapsed()));
            }
            Err(error) => {
                let controller = self.reconciler.title();
                if is_usual(&*error) {
                    tracing::debug!(controller, %key, %error, "another write came between");
                } else {
                    tracing::warn!(controller, %key, %error, "reconcile failed and is tried again");
                }
                claim.retry();
            }
        }
    }
}

/// Works until `stop`. A key that is being reconciled then is finished first.
pub(super) async fn work(shared: Arc<Shared>, stop: StopToken) {
    loop {
        let claim = kcore::select! {
            () = stop.stopped() => return,
            claim = shared.queue.get() => claim,
        };
        let Some(claim) = claim else { return };
        shared.handle(claim).await;
    }
}

/// Whether an error is the usual course where many write: somebody else was faster, or the
/// namespace is on its way out. Trying again settles it.
fn is_usual(error: &(dyn std::error::Error + 'static)) -> bool {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut answers = chain.filter_map(|error| match error.downcast_ref::<crate::Error>() {
        // It is transparent: the chain has what is below the answer.
        Some(crate::Error::Api(answer)) => Some(answer),
        _ => error.downcast_ref::<kcore::Error>(),
    });
    answers.any(|error| error.is_conflict() || is_namespace_terminating(error))
}

/// How long a key rests after a reconciliation that took so long: one that is costly gathers its
/// changes, so that no key keeps a core busy.
fn compute_rest(took: Duration) -> Duration {
    if took < COSTLY { Duration::ZERO } else { took.saturating_mul(REST_FACTOR).min(MAX_REST) }
}

/// A reconciliation that takes this long is costly.
const COSTLY: Duration = Duration::from_millis(2);
/// How many times as long as it took a costly one rests: a tenth of a core is what a key gets.
const REST_FACTOR: u32 = 9;
/// The longest rest.
const MAX_REST: Duration = Duration::from_millis(250);

/// A panic in words.
fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the reconciler panicked: {}", words.unwrap_or("without words"))
}
