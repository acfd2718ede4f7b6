//! Filters whose answers depend on other nodes, asked by class.

use super::partition::Partition;
use super::{Asked, Entry};
use crate::framework::{Basis, CycleState, Status};

/// The nodes that passed what is kept, in the classes of the other filters.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The other filters, and what their classes were made by.
    basis: Vec<(usize, Basis)>,
    nodes: Partition<()>,
    /// Of each class: whether it passes.
    passes: Vec<bool>,
    /// Nodes whose class is out of date.
    stale: Vec<u32>,
    /// How many nodes pass.
    pub(super) feasible: usize,
    /// How often all classes were made anew.
    pub(super) generation: u64,
    valid: bool,
    /// There are no other filters: all that is kept is all there is.
    alone: bool,
    /// What classes of no use were made by.
    useless: Option<Vec<(usize, Basis)>>,
}

impl Places {
    /// A node, of so many, has changed.
    pub(super) fn touch(&mut self, at: u32, nodes: usize) {
        if self.stale.len() >= nodes {
            self.valid = false;
            self.stale.clear();
        }
        self.stale.push(at);
    }

    /// Whether a node that passed what is kept passes the other filters too.
    pub(super) fn pass(&self, at: u32) -> bool {
        self.alone || self.nodes.class_of(at).is_some_and(|class| self.passes[class])
    }

    /// A node's class, as a number.
    pub(super) fn number_of(&self, at: u32) -> i64 {
        let class = self.nodes.class_of(at).filter(|_| !self.alone);
        class.and_then(|class| i64::try_from(class).ok()).unwrap_or(-1)
    }

    /// Whether the nodes of a class pass.
    pub(super) fn class_passes(&self, class: i64) -> bool {
        self.alone || usize::try_from(class).is_ok_and(|class| self.passes[class])
    }
}

impl Entry {
    /// How many nodes pass these filters besides; `None` if that has to be asked of each.
    pub(in crate::scheduler) fn place(
        &mut self,
        asked: Asked<'_>,
        state: &CycleState,
        filters: &[usize],
    ) -> Result<Option<usize>, Status> {
        let alone = filters.is_empty();
        if std::mem::replace(&mut self.places.alone, alone) != alone || alone {
            // Classes that nobody asked for are not kept up to date.
            self.places.valid = false;
            self.places.stale.clear();
        }
        if alone {
            self.places.feasible = self.verdicts.feasible();
            return Ok(Some(self.places.feasible));
        }
        let mut basis = Vec::with_capacity(filters.len());
        for number in filters {
            let plugged = &asked.framework.points.filter[*number];
            let Some(classes) = plugged.plugin.classes() else { return Ok(None) };
            let call = || Ok(classes.basis(state));
            basis.push((*number, asked.framework.guard(&plugged.name, asked.pod, call)?));
        }
        let places = &mut self.places;
        if places.useless.as_ref() == Some(&basis) {
            return Ok(None);
        }
        let valid = std::mem::replace(&mut places.valid, false) && !places.nodes.is_worn();
        if !valid || places.basis != basis {
            let generation = places.generation + 1;
            let nodes = Partition::of_nodes(self.verdicts.len());
            *places = Places { basis, nodes, generation, ..Places::default() };
            places.stale = self.verdicts.positions();
        }
        for at in std::mem::take(&mut self.places.stale) {
            if !self.put(asked, state, at)? || self.places.nodes.is_useless() {
                self.places.useless = Some(std::mem::take(&mut self.places.basis));
                return Ok(None);
            }
        }
        self.ask_classes(asked, state)?;
        self.places.valid = true;
        Ok(Some(self.places.feasible))
    }

    /// Puts a node into its class; false if that cannot be told.
    fn put(&mut self, asked: Asked<'_>, state: &CycleState, at: u32) -> Result<bool, Status> {
        let before = self.places.nodes.class_of(at);
        self.places.nodes.leave(at);
        if !self.verdicts.has(at) {
            return Ok(true);
        }
        let (node, mut numbers) = (asked.nodes.node(at), Vec::new());
        for (number, _) in &self.places.basis {
            let plugged = &asked.framework.points.filter[*number];
            let Some(classes) = plugged.plugin.classes() else { return Ok(false) };
            let call = || Ok(classes.class(state, asked.pod, at, node, &mut numbers));
            if !asked.framework.guard(&plugged.name, asked.pod, call)? {
                return Ok(false);
            }
            // What follows is the next filter's.
            numbers.push(SEPARATOR);
        }
        self.places.nodes.enter(at, &numbers);
        if self.places.nodes.class_of(at) != before {
            self.scores.touch(at, self.verdicts.len());
        }
        Ok(true)
    }

    fn ask_classes(&mut self, asked: Asked<'_>, state: &CycleState) -> Result<(), Status> {
        let places = &mut self.places;
        let classes = places.nodes.classes();
        places.passes.clear();
        places.feasible = 0;
        for class in classes {
            let mut passes = class.nodes > 0;
            let mut parts = class.numbers.split(|number| *number == SEPARATOR);
            for (number, _) in places.basis.iter().take_while(|_| class.nodes > 0) {
                let plugged = &asked.framework.points.filter[*number];
                let (Some(filter), Some(part)) = (plugged.plugin.classes(), parts.next()) else {
                    break;
                };
                let call = || Ok(filter.filter_class(state, asked.pod, part));
                let status = asked.framework.guard(&plugged.name, asked.pod, call)?;
                passes = asked.checked(&plugged.name, status)?.is_success();
                if !passes {
                    break;
                }
            }
            places.passes.push(passes);
            places.feasible += if passes { class.nodes } else { 0 };
        }
        Ok(())
    }
}

/// Stands between the numbers of two plugins, and is none of them.
pub(super) const SEPARATOR: i64 = i64::MIN;
