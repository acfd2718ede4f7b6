//! The best nodes, found without looking at all of them.

/// What a node that is not feasible has.
const NONE: i64 = i64::MIN;

/// Scores by position, with the highest of each half, of each quarter and so on, and how many
/// have it: a change costs the logarithm of the number of nodes, and so does the draw among the
/// best.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// A heap-shaped tree: the root is at 1, the leaves begin at `leaves`.
    cells: Vec<(i64, u32)>,
    leaves: usize,
}

impl Tree {
    /// A tree of these scores.
    pub(super) fn fill(&mut self, scores: impl ExactSizeIterator<Item = Option<i64>>) {
        self.leaves = scores.len().next_power_of_two();
        self.cells.clear();
        self.cells.resize(self.leaves * 2, (NONE, 0));
        for (cell, score) in self.cells[self.leaves..].iter_mut().zip(scores) {
            *cell = leaf(score);
        }
        for at in (1..self.leaves).rev() {
            self.cells[at] = join(self.cells[at * 2], self.cells[at * 2 + 1]);
        }
    }

    /// A node's score is another one.
    pub(super) fn set(&mut self, at: u32, score: Option<i64>) {
        let mut at = self.leaves + at as usize;
        let new = leaf(score);
        if self.cells[at] == new {
            return;
        }
        self.cells[at] = new;
        while at > 1 {
            at /= 2;
            let joined = join(self.cells[at * 2], self.cells[at * 2 + 1]);
            if self.cells[at] == joined {
                return;
            }
            self.cells[at] = joined;
        }
    }

    /// A node's score, if it is feasible.
    pub(super) fn get(&self, at: u32) -> Option<i64> {
        let (score, count) = self.cells[self.leaves + at as usize];
        (count > 0).then_some(score)
    }

    /// The highest score, and how many have it.
    pub(super) fn best(&self) -> Option<(i64, u32)> {
        self.cells.get(1).copied().filter(|(_, count)| *count > 0)
    }

    /// The position of one of the best, counted from the first.
    pub(super) fn nth_best(&self, mut nth: u32) -> u32 {
        let mut at = 1;
        let Some((highest, _)) = self.best() else { return 0 };
        while at < self.leaves {
            at *= 2;
            let (score, count) = self.cells[at];
            let here = if score == highest { count } else { 0 };
            if nth >= here {
                nth -= here;
                at += 1;
            }
        }
        u32::try_from(at - self.leaves).unwrap_or(u32::MAX)
    }
}

fn leaf(score: Option<i64>) -> (i64, u32) {
    score.map_or((NONE, 0), |score| (score, 1))
}

fn join(a: (i64, u32), b: (i64, u32)) -> (i64, u32) {
    match a.0.cmp(&b.0) {
        std::cmp::Ordering::Equal => (a.0, a.1 + b.1),
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Less => b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_a_scan_finds() {
        let random = kcore::random::Random::seeded(9);
        for size in [1_usize, 2, 3, 7, 64, 100] {
            let mut scores: Vec<Option<i64>> = vec![None; size];
            let mut tree = Tree::default();
            tree.fill(scores.iter().copied());
            for _ in 0..500 {
                let at = usize::try_from(random.below(size as u64)).unwrap();
                let score = i64::try_from(random.below(5)).unwrap();
                scores[at] = random.chance(0.7).then_some(score);
                tree.set(u32::try_from(at).unwrap(), scores[at]);
                let highest = scores.iter().flatten().max().copied();
                let best: Vec<u32> = (0_u32..)
                    .zip(&scores)
                    .filter(|(_, score)| score.is_some() && **score == highest)
                    .map(|(at, _)| at)
                    .collect();
                let count = u32::try_from(best.len()).unwrap();
                assert_eq!(tree.best(), highest.map(|highest| (highest, count)));
                let found: Vec<u32> = (0..count).map(|nth| tree.nth_best(nth)).collect();
                assert_eq!(found, best);
            }
        }
    }
}
