//! How much is told by events while there is much to tell.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Happenings of one kind that are told of with an event each second. Beyond, they are not: an
/// event costs the API server as much as what it tells of, and says what the objects say too.
pub(crate) const EVENTS_PER_SECOND: u32 = 500;

/// Counts the events of one kind.
#[derive(Debug)]
pub(crate) struct Telling(Mutex<Second>);

/// How many more may be told of in this second.
#[derive(Debug)]
struct Second {
    since: Instant,
    left: u32,
}

impl Default for Telling {
    fn default() -> Self {
        Self(Mutex::new(Second { since: Instant::now(), left: EVENTS_PER_SECOND }))
    }
}

impl Telling {
    /// Whether one more is told of.
    pub(crate) fn one_more(&self) -> bool {
        let (now, mut second) = (Instant::now(), self.0.lock());
        if now - second.since >= Duration::from_secs(1) {
            *second = Second { since: now, left: EVENTS_PER_SECOND };
        }
        let tells = second.left > 0;
        second.left = second.left.saturating_sub(1);
        tells
    }
}
