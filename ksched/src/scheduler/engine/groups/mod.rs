//! Nodes that no plugin tells apart, kept together: for pods whose like was never seen before.

mod order;
mod search;

use std::cell::Cell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use kcore::collections::HashMap;

use super::Asked;
use super::members::{self, Members};
use crate::framework::{CycleState, Status};
use crate::snapshot::{Amounts, Mark, NodeInfo, Snapshot};
use order::{Key, Order, State};
use search::{Search, Stop};

/// With more shapes than these there is little to gain.
const MAX_SHAPES: usize = 1_024;
/// To follow so many changes is never dear.
const FEW_CHANGES: usize = 64;
/// To follow one change costs as much as to look at so many nodes.
const CHANGE_COST: usize = 64;
/// After so many pods for which it was too dear it is brought up to date all the same: there seem
/// to be many.
const PATIENCE: u32 = 16;
/// If more than this part of the nodes changed, all are read anew.
const REBUILD_PART: usize = 4;

/// The nodes of a cluster by shape (what is there to be had, taints) and state (how much of it is
/// used). Filters and scorers say of whole groups of states whether their nodes pass, and between
/// which bounds their scores are, so that the best are found without a look at most of the nodes:
/// a state is looked at only if it may be among the best.
///
/// What is found is what a pass over every node finds: as many feasible nodes, the same score, and
/// the same draw among the best.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Groups {
    mark: Option<Mark>,
    shapes: Vec<Shape>,
    by_hash: HashMap<u64, Vec<u32>>,
    /// Of each node: its shape and the number of its state.
    places: Vec<(u32, u32)>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Since when there are too many shapes.
    too_many: Option<Mark>,
    missed: u32,
}

/// Nodes that differ only in what is used of them.
#[derive(Debug)]
struct Shape {
    node: Arc<NodeInfo>,
    order: Order,
}

/// One state.
#[derive(Debug, Default)]
struct Slot {
    key: Key,
    members: Members,
}

impl Groups {
    /// Brings it up to date; false if that costs more than it saves.
    pub(in crate::scheduler) fn follow(&mut self, nodes: &Snapshot) -> bool {
        if self.too_many.as_ref().is_some_and(|mark| nodes.changes(mark).is_some()) {
            return false;
        }
        let changes = self.mark.as_ref().and_then(|mark| nodes.changes(mark));
        let mut changes: Option<Vec<u32>> = changes.map(Iterator::collect);
        if let Some(changes) = &mut changes {
            changes.sort_unstable();
            changes.dedup();
        }
        let cheap = nodes.len() / CHANGE_COST + FEW_CHANGES;
        if changes.as_ref().is_none_or(|changes| changes.len() > cheap) {
            self.missed += 1;
            if self.missed < PATIENCE {
                return false;
            }
        }
        self.missed = 0;
        match changes.filter(|changes| changes.len() <= nodes.len() / REBUILD_PART + FEW_CHANGES) {
            Some(changes) => changes.into_iter().for_each(|at| self.update(nodes, at)),
            None => self.rebuild(nodes),
        }
        if self.shapes.len() > MAX_SHAPES {
            *self = Self { too_many: Some(nodes.mark()), ..Self::default() };
            return false;
        }
        self.mark = Some(nodes.mark());
        true
    }

    fn rebuild(&mut self, nodes: &Snapshot) {
        *self = Self::default();
        for at in (0_u32..).take(nodes.len()) {
            let shape = self.shape(nodes, at);
            if self.shapes.len() > MAX_SHAPES {
                return;
            }
            self.places.push((shape, 0));
            self.enter(nodes, at, shape);
        }
    }

    fn update(&mut self, nodes: &Snapshot, at: u32) {
        let node = nodes.node(at);
        let (shape, state) = self.places[at as usize];
        let known = &self.shapes[shape as usize];
        let same = known.node.is_like(node);
        if same && self.slots[state as usize].key == key(node) {
            return;
        }
        let slot = &mut self.slots[state as usize];
        slot.members.remove(at);
        let left = State { key: slot.key, number: state, nodes: count(&slot.members) };
        self.shapes[shape as usize].order.set(left);
        if left.nodes == 0 {
            self.free.push(state);
        }
        let shape = if same { shape } else { self.shape(nodes, at) };
        self.enter(nodes, at, shape);
    }

    /// A node is in a state of a shape now.
    fn enter(&mut self, nodes: &Snapshot, at: u32, shape: u32) {
        let key = key(nodes.node(at));
        let order = &mut self.shapes[shape as usize].order;
        let number = order.find(&key).unwrap_or_else(|| {
            let slot = Slot { key, members: Members::default() };
            if let Some(number) = self.free.pop() {
                self.slots[number as usize] = slot;
                return number;
            }
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let members = &mut self.slots[number as usize].members;
        members.insert(at, nodes.len());
        order.set(State { key, number, nodes: count(members) });
        self.places[at as usize] = (shape, number);
    }

    /// The number of a node's shape.
    fn shape(&mut self, nodes: &Snapshot, at: u32) -> u32 {
        let node = &nodes.nodes()[at as usize];
        let numbers = self.by_hash.entry(shape_hash(node)).or_default();
        let known = numbers.iter().find(|number| self.shapes[**number as usize].node.is_like(node));
        if let Some(number) = known {
            return *number;
        }
        let number = u32::try_from(self.shapes.len()).unwrap_or(u32::MAX);
        numbers.push(number);
        self.shapes.push(Shape { node: Arc::clone(node), order: Order::default() });
        number
    }

    /// How many nodes pass the filters of these numbers; `None` if one of them says nothing of
    /// groups.
    pub(in crate::scheduler) fn filter(
        &self,
        asked: Asked<'_>,
        state: &CycleState,
        filters: &[usize],
    ) -> Result<Option<Passed<'_>>, Status> {
        let search = Search { groups: self, asked, state, filters, plugin: Cell::new("") };
        let by_shape: Result<Vec<usize>, Stop> = search.guard(|| {
            let shapes = self.shapes.iter().enumerate();
            shapes.map(|(at, shape)| search.count(at, &shape.order)).collect()
        });
        Ok(known(by_shape)?.map(|by_shape| Passed {
            filters: filters.to_vec(),
            by_shape,
            groups: self,
        }))
    }
}

/// What is known, or the error that ended the search.
fn known<T>(found: Result<T, Stop>) -> Result<Option<T>, Status> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Stop::Unknown) => Ok(None),
        Err(Stop::Failed(status)) => Err(status),
    }
}

/// The nodes that passed the filters, by the groups they are in.
pub(in crate::scheduler) struct Passed<'a> {
    filters: Vec<usize>,
    by_shape: Vec<usize>,
    groups: &'a Groups,
}

impl Passed<'_> {
    /// How many there are.
    pub(in crate::scheduler) fn len(&self) -> usize {
        self.by_shape.iter().sum()
    }

    fn search<'s>(&'s self, asked: Asked<'s>, state: &'s CycleState) -> Search<'s> {
        let plugin = Cell::new("");
        Search { groups: self.groups, asked, state, filters: &self.filters, plugin }
    }

    /// Their positions.
    pub(in crate::scheduler) fn positions(
        &self,
        asked: Asked<'_>,
        state: &CycleState,
    ) -> Result<Option<Vec<u32>>, Status> {
        let (search, mut list) = (self.search(asked, state), Vec::with_capacity(self.len()));
        let listed = search.guard(|| {
            let mut shapes = self.groups.shapes.iter().enumerate();
            shapes.try_for_each(|(at, shape)| search.list(at, &shape.order, &mut list))
        });
        list.sort_unstable();
        Ok(known(listed)?.map(|()| list))
    }

    /// Draws one of the best by the scorers of these numbers: its position and score; `None` if
    /// one of them says nothing of groups.
    pub(in crate::scheduler) fn draw(
        &self,
        asked: Asked<'_>,
        state: &CycleState,
        scorers: &[usize],
        below: impl FnOnce(u64) -> u64,
    ) -> Result<Option<(u32, i64)>, Status> {
        let search = self.search(asked, state);
        let Some((score, ties)) = known(search.guard(|| search.best(scorers, &self.by_shape)))?
        else {
            return Ok(None);
        };
        let members = || ties.iter().map(|state| &self.groups.slots[*state as usize].members);
        let count: usize = members().map(Members::len).sum();
        let nth = if count > 1 { below(count as u64) } else { 0 };
        let nth = usize::try_from(nth).unwrap_or_default();
        let drawn = members::nth(members(), nth, self.groups.places.len());
        Ok(drawn.map(|at| (at, score)))
    }
}

fn count(members: &Members) -> u32 {
    u32::try_from(members.len()).unwrap_or(u32::MAX)
}

/// What is used of a node, and where that is in the order.
fn key(node: &NodeInfo) -> Key {
    let amounts = Amounts::of(node);
    let part = |used: i64, of: i64| {
        let part = i128::from(used.max(0)) * i128::from(u16::MAX) / i128::from(of.max(1));
        u16::try_from(part).unwrap_or(u16::MAX)
    };
    let has = node.allocatable();
    let cpu = part(amounts.scoring_milli_cpu, has.milli_cpu);
    let memory = part(amounts.scoring_memory, has.memory);
    (spread_bits(cpu) << 1 | spread_bits(memory), amounts)
}

/// Puts a zero before each bit. Two numbers interleaved make an order in which neighbors are alike
/// in both.
fn spread_bits(number: u16) -> u32 {
    let mut bits = u32::from(number);
    for (shift, mask) in [(8, 0x00ff_00ff), (4, 0x0f0f_0f0f), (2, 0x3333_3333), (1, 0x5555_5555)] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Equal for nodes of one shape, and mostly different for others.
fn shape_hash(node: &NodeInfo) -> u64 {
    let mut hasher = HashMap::<(), ()>::default().hasher().clone().build_hasher();
    let has = node.allocatable();
    (has.milli_cpu, has.memory, has.ephemeral_storage, has.pods).hash(&mut hasher);
    (node.unschedulable(), node.requested().extended()).hash(&mut hasher);
    for taint in node.taints() {
        (&taint.key, &taint.value, &taint.effect).hash(&mut hasher);
    }
    hasher.finish()
}
