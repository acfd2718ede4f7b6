//! What a component is given to run with.

use super::HealthReporter;
use crate::clock::Clock;
use crate::random::Random;
use crate::stop::StopToken;

/// One run's surroundings: when to stop, whom to tell how it goes, time and chance.
#[derive(Debug, Clone)]
pub struct Context {
    stop: StopToken,
    health: HealthReporter,
    clock: Clock,
    random: Random,
}

impl Context {
    /// Surroundings outside of any distribution, for tests and for programs that run one
    /// component by hand.
    #[must_use]
    pub fn new(clock: Clock, random: Random) -> Self {
        Self { stop: StopToken::new(), health: HealthReporter::new("detached"), clock, random }
    }

    /// The same, but stopped by `stop`.
    #[must_use]
    pub fn with_stop(mut self, stop: StopToken) -> Self {
        self.stop = stop;
        self
    }

    /// The same, but reporting to `health`.
    #[must_use]
    pub fn with_health(mut self, health: HealthReporter) -> Self {
        self.health = health;
        self
    }

    /// Given when the component has to stop.
    #[must_use]
    pub fn stop(&self) -> &StopToken {
        &self.stop
    }

    /// Where the component says whether it is ready.
    #[must_use]
    pub fn health(&self) -> &HealthReporter {
        &self.health
    }

    /// The wall clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The component's own source of randomness.
    #[must_use]
    pub fn random(&self) -> &Random {
        &self.random
    }
}
