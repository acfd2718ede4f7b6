//! What preemption could do on each node, remembered by signature and kept as nodes change.

use std::collections::BTreeSet;
use std::sync::Arc;

use kcore::collections::HashMap;

use super::budget::Budgets;
use super::victims::{Cost, Outcome, Victims};
use crate::framework::{Code, Filters, Rejections, Status};
use crate::snapshot::{Mark, PodInfo, Snapshot};

/// Nodes that are remembered at once, those of all signatures together; beyond, all are looked at
/// anew.
const MAX_ROWS: usize = 2_000_000;

/// What could be done on one node.
#[derive(Debug)]
enum Row {
    /// The pod fits there, or does not whoever leaves.
    NotHelpful,
    Victims(Victims),
    /// Why nobody's leaving helps, as a number in the list of reasons.
    Refused(usize),
}

/// The nodes, for the pods of one signature.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// Where a pod that could leave is protected by a budget.
    protected: BTreeSet<u32>,
    /// The nodes on which victims were found, where it hurts least first.
    order: BTreeSet<(Cost, u32)>,
    /// Why nobody's leaving helps, and on how many nodes.
    reasons: Vec<(Status, usize)>,
    /// The snapshot, and the nodes that were kept for pods, as they were.
    marks: Option<(Mark, Mark)>,
    budgets: Arc<Budgets>,
    /// The node that was looked at for one pod alone, as it was kept for that pod.
    own: Option<u32>,
}

/// What a table is filled from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) nodes: &'a Snapshot,
    pub(super) rejected: &'a Rejections,
    pub(super) filters: &'a Filters<'a>,
}

impl Sources<'_> {
    /// Whether somebody's leaving may help on a node.
    fn helpful(&self, at: u32) -> bool {
        let said = self.rejected.of(at);
        said.is_some_and(|status| status.code() != Code::UnschedulableAndUnresolvable)
    }

    fn own(&self) -> Option<u32> {
        let own = self.filters.kept().own();
        own.filter(|own| (*own as usize) < self.nodes.len())
    }
}

impl Table {
    /// A table of which nothing is known yet.
    pub(super) fn new(nodes: usize, budgets: Arc<Budgets>) -> Self {
        Self {
            rows: std::iter::repeat_with(|| Row::NotHelpful).take(nodes).collect(),
            protected: BTreeSet::new(),
            order: BTreeSet::new(),
            reasons: Vec::new(),
            marks: None,
            budgets,
            own: None,
        }
    }

    /// Brings it up to date: `look` says what could be done on a node where somebody's leaving
    /// may help.
    pub(super) fn follow(
        &mut self,
        sources: Sources<'_>,
        budgets: &Arc<Budgets>,
        look: impl Fn(u32) -> Outcome,
    ) {
        let changed = self.marks.take().and_then(|marks| self.changes(sources, budgets, &marks));
        if changed.is_none() {
            *self = Self::new(sources.nodes.len(), Arc::clone(budgets));
        }
        self.budgets = Arc::clone(budgets);
        self.own = sources.own();
        let all = || (0_u32..).take(sources.nodes.len()).collect();
        for at in changed.unwrap_or_else(all) {
            self.set(sources, at, &look);
        }
        self.marks = Some((sources.nodes.mark(), sources.filters.kept().mark()));
    }

    /// The same for nodes that were turned away for one pod, with nothing to remember.
    pub(super) fn fill(&mut self, sources: Sources<'_>, look: impl Fn(u32) -> Outcome) {
        let helpful = sources.rejected.iter();
        let helpful =
            helpful.filter(|(.., status)| status.code() != Code::UnschedulableAndUnresolvable);
        for at in helpful.map(|(at, ..)| at) {
            self.put(at, look(at));
        }
    }

    /// The nodes to look at; `None` if those are all.
    fn changes(
        &self,
        sources: Sources<'_>,
        budgets: &Arc<Budgets>,
        marks: &(Mark, Mark),
    ) -> Option<Vec<u32>> {
        let mut changed: Vec<u32> = sources.nodes.changes(&marks.0)?.collect();
        changed.extend(sources.filters.kept().changes(&marks.1)?);
        changed.extend([self.own, sources.own()].into_iter().flatten());
        if !Arc::ptr_eq(&self.budgets, budgets) {
            if !self.budgets.protect_the_same(budgets) {
                return None;
            }
            changed.extend(&self.protected);
        }
        changed.sort_unstable();
        changed.dedup();
        Some(changed)
    }

    fn set(&mut self, sources: Sources<'_>, at: u32, look: impl Fn(u32) -> Outcome) {
        match std::mem::replace(&mut self.rows[at as usize], Row::NotHelpful) {
            Row::NotHelpful => {}
            Row::Victims(victims) => drop(self.order.remove(&(victims.cost().clone(), at))),
            Row::Refused(reason) => self.reasons[reason].1 -= 1,
        }
        self.protected.remove(&at);
        if sources.helpful(at) {
            let on = sources.nodes.node(at).pods();
            if on.iter().any(|pod| self.budgets.protect(pod)) {
                self.protected.insert(at);
            }
            self.put(at, look(at));
        }
    }

    fn put(&mut self, at: u32, outcome: Outcome) {
        self.rows[at as usize] = match outcome {
            Outcome::Victims(victims) => {
                self.order.insert((victims.cost().clone(), at));
                Row::Victims(victims)
            }
            Outcome::Status(status) => {
                let known = self.reasons.iter().position(|(known, _)| *known == status);
                let reason = known.unwrap_or_else(|| {
                    self.reasons.push((status, 0));
                    self.reasons.len() - 1
                });
                self.reasons[reason].1 += 1;
                Row::Refused(reason)
            }
        };
    }

    /// The node on which it hurts least, and who has to leave it; of equal ones the first.
    pub(super) fn best(&self) -> Option<(u32, &[Arc<PodInfo>])> {
        self.candidates().next().map(|(at, victims)| (at, victims.pods()))
    }

    /// The nodes on which room can be made, where it hurts least first.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (u32, &Victims)> {
        self.order.iter().filter_map(|(_, at)| match &self.rows[*at as usize] {
            Row::Victims(victims) => Some((*at, victims)),
            Row::NotHelpful | Row::Refused(_) => None,
        })
    }

    /// Why nobody's leaving helps, and on how many nodes.
    pub(super) fn reasons(&self) -> impl Iterator<Item = (&Status, usize)> {
        let found = self.reasons.iter().filter(|(_, count)| *count > 0);
        found.map(|(status, count)| (status, *count))
    }
}

/// The tables of all signatures, and the budgets as they were read last.
#[derive(Debug, Default)]
pub(super) struct Tables {
    known: HashMap<u64, Table>,
    rows: usize,
    budgets: Option<(u64, Arc<Budgets>)>,
}

impl Tables {
    /// The budgets of a version; `read` reads them.
    pub(super) fn budgets(&mut self, version: u64, read: impl Fn() -> Budgets) -> Arc<Budgets> {
        match &self.budgets {
            Some((known, budgets)) if *known == version => Arc::clone(budgets),
            _ => {
                let budgets = Arc::new(read());
                self.budgets = Some((version, Arc::clone(&budgets)));
                budgets
            }
        }
    }

    /// Takes the table of a signature out, to be put back.
    pub(super) fn take(&mut self, signature: u64) -> Option<Table> {
        let table = self.known.remove(&signature)?;
        self.rows -= table.rows.len();
        Some(table)
    }

    /// Remembers it.
    pub(super) fn put(&mut self, signature: u64, table: Table) {
        if self.rows + table.rows.len() > MAX_ROWS {
            (self.known, self.rows) = (HashMap::default(), 0);
        }
        self.rows += table.rows.len();
        self.known.insert(signature, table);
    }
}
