//! How components are, as a value.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// How a component is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It has not run yet.
    Starting,
    /// It runs, and has said nothing to the contrary.
    Ready,
    /// It runs, but says that it cannot do its work yet: why.
    NotReady(String),
    /// It failed and is about to be started again: the error or panic.
    Failed(String),
    /// Its work was done before it was told to stop.
    Finished,
    /// It was told to stop, and did or was made to.
    Stopped,
}

/// One component's health.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComponentHealth {
    /// The component's name.
    pub name: String,
    /// How it is.
    pub state: State,
    /// How often it was started again after an error or a panic.
    pub restarts: u32,
}

impl ComponentHealth {
    /// Whether it does its work, or has done it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready | State::Finished)
    }
}

/// The health of all components of a distribution, in the order they were put in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Health {
    /// Each component's health.
    pub components: Vec<ComponentHealth>,
}

impl Health {
    /// Whether every component is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.components.iter().all(ComponentHealth::is_ready)
    }

    /// A component's health, by its name.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&ComponentHealth> {
        self.components.iter().find(|component| component.name == name)
    }
}

/// As `/readyz?verbose` shows it.
/// <https://kubernetes.io/docs/reference/using-api/health-checks/>
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for component in &self.components {
            let name = &component.name;
            match &component.state {
                State::Ready | State::Finished => writeln!(f, "[+]{name} ok")?,
                State::Starting => writeln!(f, "[-]{name} failed: not started")?,
                State::NotReady(why) | State::Failed(why) => {
                    writeln!(f, "[-]{name} failed: {why}")?;
                }
                State::Stopped => writeln!(f, "[-]{name} failed: stopped")?,
            }
        }
        Ok(())
    }
}

/// Where a component says how it is. Clones report for the same component.
#[derive(Debug, Clone)]
pub struct HealthReporter(Arc<watch::Sender<ComponentHealth>>);

impl HealthReporter {
    /// A reporter for the component called `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let health = ComponentHealth { name: name.into(), state: State::Starting, restarts: 0 };
        Self(Arc::new(watch::Sender::new(health)))
    }

    /// The component can do its work.
    pub fn ready(&self) {
        self.set(State::Ready);
    }

    /// The component cannot do its work yet. Said before the first `await` of a run, it keeps the
    /// component from ever looking ready in between.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.set(State::NotReady(why.into()));
    }

    /// What was last reported.
    #[must_use]
    pub fn current(&self) -> ComponentHealth {
        self.0.borrow().clone()
    }

    pub(super) fn set(&self, state: State) {
        self.0.send_if_modified(|health| {
            let changed = health.state != state;
            health.state = state;
            changed
        });
    }

    pub(super) fn set_failed(&self, error: String) {
        self.0.send_modify(|health| {
            health.state = State::Failed(error);
            health.restarts = health.restarts.saturating_add(1);
        });
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<ComponentHealth> {
        self.0.subscribe()
    }
}

/// The health of a distribution, for whoever serves it. Clones show the same.
///
/// It is there before anything runs, so that a listener that is a component itself can serve it.
#[derive(Debug, Clone, Default)]
pub struct HealthBoard(Arc<Mutex<Vec<HealthReporter>>>);

impl HealthBoard {
    pub(super) fn put(&self, reporter: HealthReporter) {
        self.0.lock().push(reporter);
    }

    /// The health now.
    #[must_use]
    pub fn health(&self) -> Health {
        Health { components: self.0.lock().iter().map(HealthReporter::current).collect() }
    }

    /// Waits until every component has been ready; returns at once if all are.
    pub async fn ready(&self) {
        let reporters = self.0.lock().clone();
        while !self.health().is_ready() {
            for reporter in &reporters {
                let mut health = reporter.subscribe();
                // The reporter is held here, so the channel is open.
                let _ = health.wait_for(ComponentHealth::is_ready).await;
            }
        }
    }
}
