//! Linearizability per key, by the search of Wing and Gong with Lowe's memory of dead ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use kcore::collections::HashSet;

use super::Violation;

/// What a client asked of one key and was answered. Values must differ from each other, so that
/// one names the write that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A read that saw this value, or nothing.
    Read(Option<Bytes>),
    /// A write of a value, or a deletion, whatever was there.
    Write(Option<Bytes>),
    /// A write of `value` that was done because the key held `expected`.
    Swap {
        /// What the key had to hold.
        expected: Option<Bytes>,
        /// What it was to hold then.
        value: Option<Bytes>,
    },
    /// A write that was refused because the key did not hold `expected` but `seen`.
    Refused {
        /// What the key had to hold.
        expected: Option<Bytes>,
        /// What it held.
        seen: Option<Bytes>,
    },
}

/// An action with the interval in which it took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The key.
    pub key: Bytes,
    /// What was done.
    pub action: Action,
    /// When it was asked, in ticks of the [`Recorder`].
    pub called: u64,
    /// When it was answered; `None` if it never was: it may have taken effect, later, or not.
    pub returned: Option<u64>,
}

/// Collects the operations of concurrent clients under one logical clock.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    clock: Arc<AtomicU64>,
    operations: Arc<parking_lot::Mutex<Vec<Operation>>>,
}

impl Recorder {
    /// The time now; later calls return later times.
    #[must_use]
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes an operation that was asked at `called` and has just been answered.
    pub fn returned(&self, key: impl Into<Bytes>, called: u64, action: Action) {
        let returned = Some(self.tick());
        self.note(Operation { key: key.into(), action, called, returned });
    }

    /// Notes an operation that was asked at `called` and whose outcome is not known.
    pub fn unknown(&self, key: impl Into<Bytes>, called: u64, action: Action) {
        self.note(Operation { key: key.into(), action, called, returned: None });
    }

    fn note(&self, operation: Operation) {
        self.operations.lock().push(operation);
    }

    /// What was noted so far.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().clone()
    }
}

/// Whether there is, for each key, one order of its operations that respects when they were asked
/// and answered, starts with the key absent, and explains every answer.
///
/// # Errors
/// A [`Violation`] that names the key and shows its operations.
pub fn check_linearizable(operations: &[Operation]) -> Result<(), Violation> {
    let mut keys: BTreeMap<&Bytes, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    for (key, mut operations) in keys {
        operations.sort_by_key(|operation| operation.called);
        if !Search::new(&operations).run() {
            let detail = format!("key {} has no order for {operations:#?}", key.escape_ascii());
            return Err(Violation::new("linearizable", detail));
        }
    }
    Ok(())
}

/// The values of a history are numbered; 0 is absence.
type ValueId = usize;

/// An action over numbered values: what it needs to see, and what it leaves.
#[derive(Debug, Clone, Copy)]
struct Step {
    called: u64,
    returned: u64,
    optional: bool,
    needs: Option<ValueId>,
    refuses: Option<ValueId>,
    leaves: Option<ValueId>,
}

struct Search {
    steps: Vec<Step>,
    dead_ends: HashSet<(Vec<u64>, ValueId)>,
}

impl Search {
    fn new(operations: &[&Operation]) -> Self {
        let mut values: Vec<Option<Bytes>> = vec![None];
        let mut number = |value: &Option<Bytes>| {
            values.iter().position(|known| known == value).unwrap_or_else(|| {
                values.push(value.clone());
                values.len() - 1
            })
        };
        let steps = operations.iter().map(|operation| {
            let (needs, refuses, leaves) = match &operation.action {
                Action::Read(seen) => (Some(number(seen)), None, None),
                Action::Write(value) => (None, None, Some(number(value))),
                Action::Swap { expected, value } => {
                    (Some(number(expected)), None, Some(number(value)))
                }
                Action::Refused { expected, seen } => {
                    (Some(number(seen)), Some(number(expected)), None)
                }
            };
            Step {
                called: operation.called,
                returned: operation.returned.unwrap_or(u64::MAX),
                optional: operation.returned.is_none(),
                needs,
                refuses,
                leaves,
            }
        });
        Self { steps: steps.collect(), dead_ends: HashSet::default() }
    }

    fn run(&mut self) -> bool {
        let mut done = vec![0; self.steps.len().div_ceil(64)];
        self.extend(&mut done, 0)
    }

    /// Whether what is not done yet can follow in some order, with the key holding `state`.
    fn extend(&mut self, done: &mut Vec<u64>, state: ValueId) -> bool {
        let open = |done: &[u64], at: usize| done[at / 64] & (1 << (at % 64)) == 0;
        let waiting: Vec<usize> = (0..self.steps.len()).filter(|at| open(done, *at)).collect();
        if waiting.iter().all(|at| self.steps[*at].optional) {
            return true;
        }
        if self.dead_ends.contains(&(done.clone(), state)) {
            return false;
        }
        // Only what was asked before the first answer that is still due can come next.
        let due = waiting.iter().map(|at| self.steps[*at].returned).min().unwrap_or(u64::MAX);
        for at in waiting {
            let step = self.steps[at];
            let fits = step.called <= due
                && step.needs.is_none_or(|needed| needed == state)
                && step.refuses.is_none_or(|refused| refused != state);
            if !fits {
                continue;
            }
            done[at / 64] |= 1 << (at % 64);
            if self.extend(done, step.leaves.unwrap_or(state)) {
                return true;
            }
            done[at / 64] &= !(1 << (at % 64));
        }
        self.dead_ends.insert((done.clone(), state));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(called: u64, returned: impl Into<Option<u64>>, action: Action) -> Operation {
        Operation { key: "k".into(), action, called, returned: returned.into() }
    }

    fn write(value: &'static str) -> Action {
        Action::Write(Some(value.into()))
    }

    fn read(value: &'static str) -> Action {
        Action::Read(Some(value.into()))
    }

    #[test]
    fn accepts_overlapping_operations_in_any_order() {
        let history =
            [operation(0, 5, write("a")), operation(1, 4, write("b")), operation(6, 7, read("a"))];
        assert_eq!(check_linearizable(&history), Ok(()));
    }

    #[test]
    fn rejects_a_stale_read() {
        let history =
            [operation(0, 1, write("a")), operation(2, 3, write("b")), operation(4, 5, read("a"))];
        assert!(check_linearizable(&history).is_err());
    }

    #[test]
    fn rejects_a_value_that_comes_back() {
        let history = [
            operation(0, 9, write("a")),
            operation(1, 2, read("a")),
            operation(3, 4, Action::Read(None)),
        ];
        assert!(check_linearizable(&history).is_err());
    }

    #[test]
    fn an_unknown_write_may_happen_late_or_never() {
        let unknown = operation(0, None, write("a"));
        let never = [unknown.clone(), operation(1, 2, Action::Read(None))];
        let late = [never[0].clone(), never[1].clone(), operation(3, 4, read("a"))];
        assert_eq!(check_linearizable(&never), Ok(()));
        assert_eq!(check_linearizable(&late), Ok(()));
    }

    #[test]
    fn rejects_two_winners_of_one_swap() {
        let swap = |value: &'static str| Action::Swap { expected: None, value: Some(value.into()) };
        let history = [operation(0, 3, swap("a")), operation(1, 2, swap("b"))];
        assert!(check_linearizable(&history).is_err());
    }

    #[test]
    fn rejects_a_refusal_without_a_reason() {
        let refused = Action::Refused { expected: None, seen: None };
        assert!(check_linearizable(&[operation(0, 1, refused)]).is_err());
    }
}
