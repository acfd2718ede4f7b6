//! What preemption could do on each node, remembered by signature.

use std::sync::Arc;

use kcore::collections::HashMap;

use super::victims::Outcome;
use crate::snapshot::{Mark, PodInfo, Snapshot};

/// Signatures that are remembered at once; beyond, all are looked at anew.
const MAX_TABLES: usize = 16;

/// What could be done on a node, given the pods it is kept for.
#[derive(Debug)]
pub(super) struct Row {
    kept: Vec<Arc<str>>,
    outcome: Outcome,
}

impl Row {
    pub(super) fn new(kept: &[Arc<PodInfo>], outcome: Outcome) -> Self {
        let kept = kept.iter().map(|pod| Arc::clone(pod.shared_uid())).collect();
        Self { kept, outcome }
    }
}

/// The nodes, for the pods of one signature.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Option<Row>>,
    mark: Mark,
    budgets: u64,
}

impl Table {
    /// Whether a node was looked at already, with these pods kept.
    pub(super) fn has(&self, at: u32, kept: &[Arc<PodInfo>]) -> bool {
        self.rows[at as usize].as_ref().is_some_and(|row| {
            row.kept.len() == kept.len()
                && row.kept.iter().zip(kept).all(|(uid, pod)| uid == pod.shared_uid())
        })
    }

    pub(super) fn set(&mut self, at: u32, row: Row) {
        self.rows[at as usize] = Some(row);
    }

    pub(super) fn outcome(&self, at: u32) -> Option<&Outcome> {
        self.rows[at as usize].as_ref().map(|row| &row.outcome)
    }
}

/// The tables of all signatures.
#[derive(Debug, Default)]
pub(super) struct Tables {
    known: HashMap<u64, Table>,
}

impl Tables {
    /// The table of a signature, without the nodes that changed since.
    pub(super) fn take(&mut self, signature: Option<u64>, nodes: &Snapshot, budgets: u64) -> Table {
        let known = signature.and_then(|signature| self.known.remove(&signature));
        let fresh = || Table {
            rows: std::iter::repeat_with(|| None).take(nodes.len()).collect(),
            mark: nodes.mark(),
            budgets,
        };
        let Some(mut table) = known.filter(|table| table.budgets == budgets) else {
            return fresh();
        };
        let mark = std::mem::replace(&mut table.mark, nodes.mark());
        let Some(changes) = nodes.changes(&mark) else { return fresh() };
        for at in changes {
            table.rows[at as usize] = None;
        }
        table
    }

    /// Remembers it.
    pub(super) fn put(&mut self, signature: Option<u64>, table: Table) {
        let Some(signature) = signature else { return };
        if self.known.len() >= MAX_TABLES {
            self.known.clear();
        }
        self.known.insert(signature, table);
    }
}
