//! The nodes that are in one state.

/// With more members than these a state keeps them by rank.
const RANKED: usize = 512;
/// Bits of one word.
const WORD: usize = 64;

/// The positions of the nodes in one state.
#[derive(Debug)]
pub(in crate::scheduler::engine) enum Members {
    One(u32),
    /// In no particular order.
    Few(Vec<u32>),
    Many(Box<Ranked>),
}

/// A set of positions that knows how many there are below each.
#[derive(Debug)]
pub(in crate::scheduler::engine) struct Ranked {
    words: Vec<u64>,
    /// Sums over words, as a binary indexed tree.
    sums: Vec<u32>,
    len: usize,
}

impl Ranked {
    fn new(nodes: usize, members: &[u32]) -> Self {
        let words = nodes.div_ceil(WORD);
        let mut this = Self { words: vec![0; words], sums: vec![0; words + 1], len: 0 };
        for at in members {
            this.insert(*at);
        }
        this
    }

    fn change(&mut self, word: usize, adds: i32) {
        let mut at = word + 1;
        while at < self.sums.len() {
            self.sums[at] = self.sums[at].saturating_add_signed(adds);
            at += at & at.wrapping_neg();
        }
    }

    fn insert(&mut self, at: u32) {
        let (word, bit) = (at as usize / WORD, at as usize % WORD);
        self.words[word] |= 1 << bit;
        self.len += 1;
        self.change(word, 1);
    }

    fn remove(&mut self, at: u32) {
        let (word, bit) = (at as usize / WORD, at as usize % WORD);
        self.words[word] &= !(1 << bit);
        self.len -= 1;
        self.change(word, -1);
    }

    /// How many members are at a position or below.
    fn rank(&self, at: u32) -> usize {
        let (word, bit) = (at as usize / WORD, at as usize % WORD);
        let here = self.words[word] & (u64::MAX >> (WORD - 1 - bit));
        let (mut sum, mut below) = (here.count_ones() as usize, word);
        while below > 0 {
            sum += self.sums[below] as usize;
            below &= below - 1;
        }
        sum
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.words).flat_map(|(word, bits)| {
            let bits = *bits;
            (0..64_u32).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit)
        })
    }
}

impl Default for Members {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Members {
    pub(in crate::scheduler::engine) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(few) => few.len(),
            Self::Many(ranked) => ranked.len,
        }
    }

    /// A node that was in another state, of so many nodes in all.
    pub(in crate::scheduler::engine) fn insert(&mut self, at: u32, nodes: usize) {
        match self {
            Self::One(other) => *self = Self::Few(vec![*other, at]),
            Self::Few(few) if few.is_empty() => *self = Self::One(at),
            Self::Few(few) if few.len() >= RANKED => {
                let mut ranked = Ranked::new(nodes, few);
                ranked.insert(at);
                *self = Self::Many(Box::new(ranked));
            }
            Self::Few(few) => few.push(at),
            Self::Many(ranked) => ranked.insert(at),
        }
    }

    /// A node that is in this state leaves it.
    pub(in crate::scheduler::engine) fn remove(&mut self, at: u32) {
        match self {
            Self::One(_) => *self = Self::default(),
            Self::Few(few) => {
                if let Some(index) = few.iter().position(|known| *known == at) {
                    few.swap_remove(index);
                }
            }
            Self::Many(ranked) => {
                ranked.remove(at);
                if ranked.len < RANKED / 4 {
                    *self = Self::Few(ranked.iter().collect());
                }
            }
        }
    }

    /// Adds all of them to a list.
    pub(in crate::scheduler::engine) fn list(&self, into: &mut Vec<u32>) {
        match self {
            Self::One(at) => into.push(*at),
            Self::Few(few) => into.extend(few),
            Self::Many(ranked) => into.extend(ranked.iter()),
        }
    }
}

/// The position that has `nth` others below it, of all members of these states.
pub(in crate::scheduler::engine) fn nth<'a>(
    states: impl Iterator<Item = &'a Members>,
    nth: usize,
    nodes: usize,
) -> Option<u32> {
    let (mut few, mut many): (Vec<u32>, Vec<&Ranked>) = (Vec::new(), Vec::new());
    for members in states {
        match members {
            Members::One(at) => few.push(*at),
            Members::Few(positions) => few.extend(positions),
            Members::Many(ranked) => many.push(ranked),
        }
    }
    if many.is_empty() {
        return (nth < few.len()).then(|| *few.select_nth_unstable(nth).1);
    }
    let not_above = |at: u32| {
        let ranked: usize = many.iter().map(|ranked| ranked.rank(at)).sum();
        ranked + few.iter().filter(|position| **position <= at).count()
    };
    let (mut low, mut high) = (0, u32::try_from(nodes).unwrap_or(u32::MAX));
    while low < high {
        let middle = low + (high - low) / 2;
        if not_above(middle) > nth { high = middle } else { low = middle + 1 }
    }
    ((low as usize) < nodes).then_some(low)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_nth_is_the_one_that_a_sorted_list_has() {
        const NODES: u64 = 5_000;
        let random = kcore::random::Random::seeded(5);
        let mut states: Vec<(Members, BTreeSet<u32>)> = Vec::new();
        states.resize_with(4, Default::default);
        for step in 0..40_000 {
            let at = u32::try_from(random.below(NODES)).unwrap();
            let from = states.iter().position(|(_, known)| known.contains(&at));
            if let Some(from) = from {
                states[from].0.remove(at);
                states[from].1.remove(&at);
            }
            // One takes most of them, and then gives them away.
            let to = if step < 20_000 && random.chance(0.8) { 0 } else { random.below(4) };
            let (members, known) = &mut states[usize::try_from(to).unwrap()];
            members.insert(at, 5_000);
            known.insert(at);
            if step % 100 == 0 {
                let mut all: Vec<u32> =
                    states.iter().flat_map(|(_, known)| known).copied().collect();
                all.sort_unstable();
                let drawn = usize::try_from(random.below(all.len() as u64 + 1)).unwrap();
                let found = nth(states.iter().map(|(members, _)| members), drawn, 5_000);
                assert_eq!(found, all.get(drawn).copied(), "step {step}");
                for (members, known) in &states {
                    let mut listed = Vec::new();
                    members.list(&mut listed);
                    listed.sort_unstable();
                    assert!(listed.iter().eq(known) && members.len() == known.len());
                }
            }
        }
    }
}
