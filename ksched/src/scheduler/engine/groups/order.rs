//! The states that nodes of one shape are in, in an order that keeps similar ones together.

use crate::snapshot::Amounts;

/// Parts in one block, at most.
const MOST_PARTS: usize = 64;

/// Where a state is in the order: states that are close to each other are alike.
pub(super) type Key = (u32, Amounts);

/// Nodes in one state.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) key: Key,
    /// Its number.
    pub(super) number: u32,
    pub(super) nodes: u32,
}

/// Parts that follow each other, and what is used at least and at most of their nodes.
#[derive(Debug, Default)]
pub(super) struct Block<T> {
    least: Amounts,
    most: Amounts,
    nodes: usize,
    parts: Vec<T>,
}

/// The states of a shape: three levels of blocks hold some hundred thousand of them in parts that
/// are quick to read, and more in parts that are not.
pub(super) type Order = Block<Block<Block<State>>>;

/// What a group is made of.
pub(super) enum Parts<'a> {
    Groups(Vec<&'a dyn Group>),
    States(&'a [State]),
}

/// States that follow each other in the order.
pub(super) trait Group {
    /// What is used of the nodes at least and at most.
    fn range(&self) -> (Amounts, Amounts);
    /// How many nodes there are.
    fn nodes(&self) -> usize;
    /// What it is made of.
    fn parts(&self) -> Parts<'_>;
}

/// What blocks are made of.
pub(super) trait Part: Sized {
    fn first(&self) -> Key;
    fn bounds(&self) -> (Amounts, Amounts);
    fn count(&self) -> usize;
    /// Puts a state among `parts`, or takes it out if it has no nodes.
    fn put(parts: &mut Vec<Self>, state: State);
    /// The number of a state.
    fn find(parts: &[Self], key: &Key) -> Option<u32>;
    fn list(parts: &[Self]) -> Parts<'_>;
}

impl Part for State {
    fn first(&self) -> Key {
        self.key
    }

    fn bounds(&self) -> (Amounts, Amounts) {
        (self.key.1, self.key.1)
    }

    fn count(&self) -> usize {
        self.nodes as usize
    }

    fn put(parts: &mut Vec<Self>, state: State) {
        match (parts.binary_search_by_key(&state.key, |known| known.key), state.nodes) {
            (Ok(at), 0) => drop(parts.remove(at)),
            (Ok(at), _) => parts[at] = state,
            (Err(_), 0) => {}
            (Err(at), _) => parts.insert(at, state),
        }
    }

    fn find(parts: &[Self], key: &Key) -> Option<u32> {
        let at = parts.binary_search_by_key(key, |known| known.key).ok()?;
        Some(parts[at].number)
    }

    fn list(parts: &[Self]) -> Parts<'_> {
        Parts::States(parts)
    }
}

impl<T: Part + Default> Part for Block<T>
where
    Self: Group,
{
    fn first(&self) -> Key {
        self.parts.first().map(Part::first).unwrap_or_default()
    }

    fn bounds(&self) -> (Amounts, Amounts) {
        (self.least, self.most)
    }

    fn count(&self) -> usize {
        self.nodes
    }

    fn put(parts: &mut Vec<Self>, state: State) {
        if parts.is_empty() {
            parts.push(Self::default());
        }
        let after = parts.partition_point(|part| part.first() <= state.key);
        let at = after.saturating_sub(1);
        let block = &mut parts[at];
        block.set(state);
        if block.parts.is_empty() {
            parts.remove(at);
        } else if block.parts.len() > MOST_PARTS {
            let half = block.parts.split_off(MOST_PARTS / 2);
            let mut rest = Self { parts: half, ..Self::default() };
            rest.refresh();
            block.refresh();
            parts.insert(at + 1, rest);
        }
    }

    fn find(parts: &[Self], key: &Key) -> Option<u32> {
        let after = parts.partition_point(|part| part.first() <= *key);
        parts.get(after.checked_sub(1)?)?.find(key)
    }

    fn list(parts: &[Self]) -> Parts<'_> {
        Parts::Groups(parts.iter().map(|part| part as &dyn Group).collect())
    }
}

impl<T: Part> Block<T> {
    /// Puts a state in, or takes it out if it has no nodes.
    pub(super) fn set(&mut self, state: State) {
        T::put(&mut self.parts, state);
        self.refresh();
    }

    /// The number of a state.
    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        T::find(&self.parts, key)
    }

    fn refresh(&mut self) {
        let mut bounds: Option<(Amounts, Amounts)> = None;
        self.nodes = 0;
        for part in &self.parts {
            let (least, most) = part.bounds();
            bounds = Some(match bounds {
                Some((known, highest)) => {
                    (Amounts::min(&known, &least), Amounts::max(&highest, &most))
                }
                None => (least, most),
            });
            self.nodes += part.count();
        }
        (self.least, self.most) = bounds.unwrap_or_default();
    }
}

impl<T: Part> Group for Block<T> {
    fn range(&self) -> (Amounts, Amounts) {
        (self.least, self.most)
    }

    fn nodes(&self) -> usize {
        self.nodes
    }

    fn parts(&self) -> Parts<'_> {
        T::list(&self.parts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn walk(group: &dyn Group, into: &mut Vec<State>) {
        let (least, most) = group.range();
        let before = into.len();
        match group.parts() {
            Parts::Groups(groups) => groups.into_iter().for_each(|group| walk(group, into)),
            Parts::States(states) => into.extend(states),
        }
        let mine = &into[before..];
        assert_eq!(mine.iter().map(|state| state.nodes as usize).sum::<usize>(), group.nodes());
        for state in mine {
            let amounts = state.key.1;
            assert_eq!(
                (Amounts::min(&amounts, &least), Amounts::max(&amounts, &most)),
                (least, most)
            );
        }
    }

    #[test]
    fn it_holds_what_a_map_holds() {
        let random = kcore::random::Random::seeded(3);
        let (mut order, mut known) = (Order::default(), BTreeMap::new());
        for step in 0..60_000_u32 {
            let drawn = i64::try_from(random.below(20_000)).unwrap();
            let amounts = Amounts { milli_cpu: drawn, pods: drawn % 7, ..Amounts::default() };
            let key = (u32::try_from(drawn / 3).unwrap(), amounts);
            let nodes = u32::try_from(random.below(3)).unwrap();
            order.set(State { key, number: step, nodes });
            if nodes == 0 {
                known.remove(&key);
            } else {
                known.insert(key, nodes);
            }
            if step % 6_000 == 0 {
                let mut found = Vec::new();
                walk(&order, &mut found);
                let found: Vec<(Key, u32)> =
                    found.into_iter().map(|state| (state.key, state.nodes)).collect();
                let expected: Vec<(Key, u32)> = known.iter().map(|(k, n)| (*k, *n)).collect();
                assert_eq!(found, expected);
            }
        }
    }
}
