//! What happened while pods were being tried: none of it may be missed.

use std::collections::VecDeque;

use super::IN_FLIGHT_EVENTS;
use crate::framework::Happening;

/// Events that some pod in flight has not seen, numbered.
#[derive(Debug, Default)]
pub(super) struct Meanwhile {
    events: VecDeque<(u64, Happening)>,
    number: u64,
    /// Events up to this number were forgotten, though a pod had not seen them.
    forgotten: u64,
}

impl Meanwhile {
    /// The number of the last event: who is tried from now on has seen it.
    pub(super) fn now(&self) -> u64 {
        self.number
    }

    /// Something happened.
    pub(super) fn push(&mut self, happening: &Happening) {
        self.number += 1;
        self.events.push_back((self.number, happening.clone()));
        if self.events.len() > IN_FLIGHT_EVENTS
            && let Some((number, _)) = self.events.pop_front()
        {
            self.forgotten = number;
        }
    }

    /// What has happened since the event of this number; `None` if that is not known any more.
    pub(super) fn since(&self, number: u64) -> Option<impl Iterator<Item = &Happening>> {
        let seen = self.events.partition_point(|(known, _)| *known <= number);
        let missed = self.events.range(seen..).map(|(_, happening)| happening);
        (number >= self.forgotten).then_some(missed)
    }

    /// Every pod in flight has seen the events up to this number; all of them if there is none.
    pub(super) fn trim(&mut self, seen: Option<u64>) {
        let seen = seen.unwrap_or(u64::MAX);
        while self.events.front().is_some_and(|(number, _)| *number <= seen) {
            self.events.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }
}
