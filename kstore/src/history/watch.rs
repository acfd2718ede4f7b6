//! Nine properties of a watch, each checked apart from the others, so that a failure names what
//! is broken.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Truth, Violation};
use crate::{Event, KeyRange, Revision, WatchBatch};

/// What a watch was asked for and told, up to a revision.
#[derive(Debug, Clone)]
pub struct Told {
    /// The range watched.
    pub range: KeyRange,
    /// The revision after which it started.
    pub after: Revision,
    /// Whether previous records were asked for.
    pub previous: bool,
    /// What it told, in order.
    pub batches: Vec<WatchBatch>,
    /// Whatever happened up to here had to be told.
    pub through: Revision,
}

impl Told {
    fn events(&self) -> impl Iterator<Item = &Event> {
        self.batches.iter().flat_map(|batch| match batch {
            WatchBatch::Events { events, .. } => &events[..],
            WatchBatch::Progress(_) => &[],
        })
    }

    fn keys(&self) -> impl Iterator<Item = (Revision, Bytes)> {
        self.events().map(|event| (event.record.modified, event.record.key.clone()))
    }
}

fn fail(property: &'static str, event: &Event) -> Violation {
    Violation::new(property, format!("wrong event {event:?}"))
}

/// Only keys of the range, and only after the start.
///
/// # Errors
/// The first event that is neither.
pub fn filter(told: &Told) -> Result<(), Violation> {
    let wanted = |e: &Event| told.range.contains(&e.record.key) && e.record.modified > told.after;
    told.events().find(|event| !wanted(event)).map_or(Ok(()), |e| Err(fail("filter", e)))
}

/// Revisions never go back.
///
/// # Errors
/// The first event that is older than the one before.
pub fn ordered(told: &Told) -> Result<(), Violation> {
    let mut last = Revision(0);
    for event in told.events() {
        if event.record.modified < last {
            return Err(fail("ordered", event));
        }
        last = event.record.modified;
    }
    Ok(())
}

/// No change is told twice.
///
/// # Errors
/// The first event that was told before.
pub fn unique(told: &Told) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    let twice = told.keys().find(|key| !seen.insert(key.clone()));
    twice.map_or(Ok(()), |key| Err(Violation::new("unique", format!("told twice: {key:?}"))))
}

/// All changes of one revision come in one batch.
///
/// # Errors
/// The first revision that comes in two.
pub fn atomic(told: &Told) -> Result<(), Violation> {
    let mut batch_of = BTreeMap::new();
    for (at, batch) in told.batches.iter().enumerate() {
        let WatchBatch::Events { events, .. } = batch else { continue };
        for event in events {
            if *batch_of.entry(event.record.modified).or_insert(at) != at {
                return Err(fail("atomic", event));
            }
        }
    }
    Ok(())
}

/// After progress at a revision, or a batch that names it, nothing up to it follows.
///
/// # Errors
/// The first event that comes too late.
pub fn bookmarkable(told: &Told) -> Result<(), Violation> {
    let mut progress = Revision(0);
    for batch in &told.batches {
        match batch {
            WatchBatch::Progress(revision) => progress = progress.max(*revision),
            WatchBatch::Events { events, .. } => {
                if let Some(late) = events.iter().find(|e| e.record.modified <= progress) {
                    return Err(fail("bookmarkable", late));
                }
            }
        }
    }
    Ok(())
}

/// Nothing is missing and nothing is invented.
///
/// # Errors
/// The changes that are.
pub fn reliable(told: &Told, truth: &Truth) -> Result<(), Violation> {
    let in_range = |(_, key): &(Revision, Bytes)| told.range.contains(key);
    let seen: BTreeSet<_> = told.keys().filter(in_range).collect();
    let due: BTreeSet<_> = truth
        .events(&told.range, told.after, told.through)
        .into_iter()
        .map(|event| (event.record.modified, event.record.key))
        .collect();
    let missing: Vec<_> = due.difference(&seen).collect();
    let invented: Vec<_> =
        seen.difference(&due).filter(|(r, _)| *r > told.after && *r <= told.through).collect();
    if missing.is_empty() && invented.is_empty() {
        return Ok(());
    }
    Err(Violation::new("reliable", format!("missing {missing:?}, invented {invented:?}")))
}

/// A watch that was cut and resumed after the last revision seen told exactly what is true, in
/// order, as if it had not been cut.
///
/// # Errors
/// Where it differs.
pub fn resumable(told: &Told, truth: &Truth) -> Result<(), Violation> {
    let due = truth.events(&told.range, told.after, told.through);
    let key = |event: &Event| (event.record.modified, event.record.key.clone());
    let mut due: Vec<_> = due.iter().map(key).collect();
    let mut seen: Vec<_> = told.keys().filter(|(r, _)| *r <= told.through).collect();
    // Within one revision the order of keys is the backend's.
    due.sort();
    let in_order = seen.is_sorted_by_key(|(revision, _)| *revision);
    seen.sort();
    if in_order && due == seen {
        return Ok(());
    }
    let detail = format!("in order: {in_order}, due {due:?}, told {seen:?}");
    Err(Violation::new("resumable", detail))
}

/// `is_create` is true exactly where the key was absent before.
///
/// # Errors
/// The first event that says otherwise.
pub fn is_create(told: &Told, truth: &Truth) -> Result<(), Violation> {
    for event in told.events() {
        let Some(change) = truth.change(event.record.modified, &event.record.key) else { continue };
        let created = change.before.is_none() && change.now.is_some();
        if event.is_create() != created {
            return Err(fail("is create", event));
        }
    }
    Ok(())
}

/// The previous record is the true one where asked for, and absent elsewhere; the record itself
/// is the true one, too.
///
/// # Errors
/// The first event whose records are not.
pub fn previous_value(told: &Told, truth: &Truth) -> Result<(), Violation> {
    for event in told.events() {
        let Some(change) = truth.change(event.record.modified, &event.record.key) else { continue };
        let due = change.before.as_ref().filter(|_| told.previous);
        let right = change.now.as_ref().is_none_or(|now| now.value == event.record.value);
        if event.previous.as_ref() != due || !right {
            return Err(fail("previous value", event));
        }
    }
    Ok(())
}
