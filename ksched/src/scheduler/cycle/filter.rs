//! Which nodes can take the pod, and why the others cannot.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Cycle, Memory, Stop};
use crate::framework::{Candidates, Code, Diagnosis, Filters, Rejections, Status};
use crate::queue::Kept;
use crate::scheduler::engine::{Asked, Passed};

/// The only nodes that can be meant, and which plugins say so.
pub(in crate::scheduler) type Narrowed = (BTreeSet<String>, BTreeSet<Arc<str>>);

/// The nodes that can take the pod.
pub(in crate::scheduler) enum Found<'a> {
    /// All that the entry has.
    Kept,
    /// Those of some groups.
    Grouped(Passed<'a>),
    /// These.
    List(Vec<u32>),
}

impl<'a> Cycle<'a> {
    /// The nodes that can take the pod: at least one.
    pub(in crate::scheduler) fn filter<'m>(
        &mut self,
        memory: &mut Memory<'m>,
        kept: &Kept,
    ) -> Result<Found<'m>, Stop> {
        let mut diagnosis = Diagnosis { nodes: self.snapshot.len(), ..Diagnosis::default() };
        if self.snapshot.is_empty() {
            // Nobody in particular turned it away: any event may help.
            diagnosis.blame(&Arc::from(""), Code::Unschedulable);
            return Err(Stop::Unschedulable(Box::new(diagnosis)));
        }
        let narrowed = self.pre_filter(&mut diagnosis)?;
        let active: Vec<usize> = (0..self.framework.points.filter.len())
            .filter(|at| !self.skipped.contains(&self.framework.points.filter[*at].name))
            .collect();
        let (mut candidates, rest) = match (&narrowed, memory) {
            (None, Memory::Entry(entry)) => {
                let keeps = |at: &&usize| self.framework.points.filter[**at].plugin.keeps();
                let keeping: Vec<usize> = active.iter().take_while(keeps).copied().collect();
                let rest = active[keeping.len()..].to_vec();
                let filters = Filters::new(self.framework, self.pod, &self.skipped, kept);
                let beside = rest.is_empty().then_some(filters);
                entry.filter(Asked { beside, ..self.asked() }, &self.state, &keeping)?;
                // Nodes that are kept for others are not like those of their class.
                let alike = rest.is_empty() || kept.positions(self.pod).next().is_none();
                if alike && entry.place(self.asked(), &self.state, &rest)?.unwrap_or(0) > 0 {
                    return Ok(Found::Kept);
                }
                if rest.is_empty() {
                    diagnosis.rejected = entry.rejections();
                    return Err(Stop::Unschedulable(refused(diagnosis)));
                }
                (Candidates::begun(entry.positions(), entry.rejections()), rest)
            }
            (Some((nodes, _)), _) => (self.named(nodes), active),
            (None, memory) => {
                if let Some(passed) = self.grouped(memory, kept, &active)? {
                    return Ok(Found::Grouped(passed));
                }
                (Candidates::all(self.snapshot.len()), active)
            }
        };
        for at in rest {
            self.ask(at, &mut candidates)?;
        }
        self.filter_kept(kept, &mut candidates)?;
        let (feasible, rejected) = candidates.into_parts();
        if !feasible.is_empty() {
            self.turned_away.set(rejected);
            self.narrowed = narrowed;
            return Ok(Found::List(feasible));
        }
        Err(Stop::Unschedulable(self.unschedulable(diagnosis, rejected, narrowed)))
    }

    /// Why no node can take the pod.
    pub(in crate::scheduler) fn unschedulable(
        &self,
        mut diagnosis: Diagnosis,
        rejected: Rejections,
        narrowed: Option<Narrowed>,
    ) -> Box<Diagnosis> {
        diagnosis.rejected = rejected;
        if let Some((nodes, plugins)) = narrowed {
            self.rest(&nodes, &plugins, &mut diagnosis);
        }
        refused(diagnosis)
    }

    /// The nodes of these names.
    fn named(&self, names: &BTreeSet<String>) -> Candidates {
        let positions = names.iter().filter_map(|node| self.snapshot.position(node));
        let mut positions: Vec<u32> = positions.collect();
        positions.sort_unstable();
        Candidates::of(positions)
    }

    /// Asks one filter about all candidates.
    fn ask(&self, at: usize, candidates: &mut Candidates) -> Result<(), Stop> {
        let plugged = &self.framework.points.filter[at];
        if candidates.feasible().is_empty() {
            return Ok(());
        }
        candidates.begin(&plugged.name);
        self.framework.guard(&plugged.name, self.pod, || {
            plugged.plugin.filter_nodes(&self.state, self.pod, self.snapshot, candidates);
            Ok(())
        })?;
        match candidates.failed() {
            Some(status) => Err(self.failed(&plugged.name, &status).into()),
            None => Ok(()),
        }
    }

    fn pre_filter(&mut self, diagnosis: &mut Diagnosis) -> Result<Option<Narrowed>, Stop> {
        let mut narrowed: Option<(BTreeSet<String>, BTreeSet<Arc<str>>)> = None;
        for plugged in &self.framework.points.pre_filter {
            let (state, name) = (&mut self.state, &plugged.name);
            let found = self.framework.guard(name, self.pod, || {
                Ok(plugged.plugin.pre_filter(state, self.pod, self.snapshot))
            })?;
            let status = found.status;
            if status.is_skip() {
                self.skipped.insert(Arc::clone(name));
            } else if status.is_rejected() {
                diagnosis.blame(name, status.code());
                diagnosis.pre_filter = Some(status);
                return Err(Stop::Unschedulable(Box::new(diagnosis.clone())));
            } else if !status.is_success() {
                return Err(self.failed(name, &status).into());
            }
            if let Some(nodes) = found.nodes {
                let (known, plugins) = narrowed.get_or_insert_with(|| (nodes.clone(), [].into()));
                known.retain(|node| nodes.contains(node));
                plugins.insert(Arc::clone(name));
            }
        }
        Ok(narrowed)
    }

    /// The nodes that were never looked at, as the pod names others.
    fn rest(
        &self,
        nodes: &BTreeSet<String>,
        plugins: &BTreeSet<Arc<str>>,
        diagnosis: &mut Diagnosis,
    ) {
        let names: Vec<&str> = plugins.iter().map(|name| &**name).collect();
        let reason = format!("node(s) didn't satisfy plugin(s) [{}]", names.join(" "));
        let status = Status::unresolvable(reason);
        let others = self.snapshot.nodes().iter().enumerate();
        let Some(first) = plugins.first() else { return };
        for (at, _) in others.filter(|(_, node)| !nodes.contains(node.name())) {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            diagnosis.rejected.push(at, first, status.clone());
        }
        for plugin in plugins {
            diagnosis.blame(plugin, Code::UnschedulableAndUnresolvable);
        }
    }

    /// A node that is kept for others must take this pod also with them.
    fn filter_kept(&self, kept: &Kept, candidates: &mut Candidates) -> Result<(), Stop> {
        if candidates.feasible().is_empty() {
            return Ok(());
        }
        let filters = Filters::new(self.framework, self.pod, &self.skipped, kept);
        let mut rejected = Vec::new();
        for at in kept.positions(self.pod).filter(|at| candidates.has(*at)) {
            let others = kept.at(at, self.pod);
            let answer = filters.with(&self.state, self.snapshot.node(at), &others);
            let Err((plugin, status)) = answer else { continue };
            if !status.is_rejected() {
                return Err(self.failed(&plugin, &status).into());
            }
            rejected.push((at, plugin, status));
        }
        candidates.reject(rejected);
        Ok(())
    }

    /// The node that others made room on for this pod, if it fits there by now: there is no need
    /// to look at others, and it would be a pity to.
    pub(in crate::scheduler) fn nominated(&mut self, kept: &Kept) -> Result<Option<u32>, Stop> {
        let Some(own) = kept.own().filter(|own| (*own as usize) < self.snapshot.len()) else {
            return Ok(None);
        };
        let mut diagnosis = Diagnosis { nodes: self.snapshot.len(), ..Diagnosis::default() };
        match self.pre_filter(&mut diagnosis) {
            Ok(narrowed) => {
                let name = self.snapshot.node(own).name();
                if narrowed.is_some_and(|(nodes, _)| !nodes.contains(name)) {
                    return Ok(None);
                }
            }
            Err(Stop::Unschedulable(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        let filters = Filters::new(self.framework, self.pod, &self.skipped, kept);
        let others = kept.at(own, self.pod);
        let fits = filters.fits(&self.state, self.snapshot.node(own), &others).is_success();
        Ok(fits.then_some(own))
    }
}

/// No node took the pod: whoever turned one away waits for events that may help.
fn refused(mut diagnosis: Diagnosis) -> Box<Diagnosis> {
    let kinds = diagnosis.rejected.kinds();
    let blamed: Vec<(Arc<str>, Code)> =
        kinds.map(|(plugin, status, _)| (Arc::clone(plugin), status.code())).collect();
    for (plugin, code) in blamed {
        diagnosis.blame(&plugin, code);
    }
    diagnosis.rejected.sort();
    Box::new(diagnosis)
}
