//! The pods of one node.

use std::sync::Arc;

use super::PodInfo;

/// Pods in one piece, which copies of a node share.
const PIECE: usize = 64;

/// The pods of one node, in no particular order. Copies share them in pieces, so that a copy of a
/// node with tens of thousands of pods costs no more than one with a few.
#[derive(Debug, Clone, Default)]
pub struct Pods {
    pieces: Vec<Arc<Vec<Arc<PodInfo>>>>,
    len: usize,
}

impl Pods {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pods.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<PodInfo>> + Clone {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }

    pub(super) fn push(&mut self, pod: Arc<PodInfo>) {
        self.len += 1;
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => Arc::make_mut(piece).push(pod),
            _ => {
                self.pieces.reserve_exact(1);
                self.pieces.push(Arc::new(vec![pod]));
            }
        }
    }

    /// Takes a pod out: the last one comes in its place.
    pub(super) fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let (piece, at) = self.find(uid)?;
        let last = Arc::make_mut(self.pieces.last_mut()?).pop()?;
        self.len -= 1;
        if self.pieces.last().is_some_and(|piece| piece.is_empty()) {
            self.pieces.pop();
        }
        if last.uid() == uid {
            return Some(last);
        }
        let piece = Arc::make_mut(self.pieces.get_mut(piece)?);
        Some(std::mem::replace(&mut piece[at], last))
    }

    /// Puts a newer state of a pod in the place of the one before.
    pub(super) fn replace(&mut self, pod: &Arc<PodInfo>) {
        let Some((piece, at)) = self.find(pod.uid()) else { return };
        Arc::make_mut(&mut self.pieces[piece])[at] = Arc::clone(pod);
    }

    /// Where a pod is. Those that came last are looked at first: they are who is asked for most.
    fn find(&self, uid: &str) -> Option<(usize, usize)> {
        let pieces = self.pieces.iter().enumerate().rev();
        let mut found = pieces.filter_map(|(piece, pods)| {
            Some((piece, pods.iter().rposition(|pod| pod.uid() == uid)?))
        });
        found.next()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::pod;

    #[test]
    fn copies_keep_what_they_had() {
        let random = kcore::random::Random::seeded(4);
        let template = pod("p").info();
        let (mut pods, mut known) = (Pods::default(), BTreeSet::new());
        for at in 0..2_000 {
            let (copy, before) = (pods.clone(), known.clone());
            let uid = format!("u{}", random.below(300));
            if random.chance(0.6) && known.insert(uid.clone()) {
                pods.push(Arc::new(template.replica(&uid)));
            } else {
                let removed = pods.remove(&uid).map(|pod| pod.uid().to_owned());
                assert_eq!(removed, known.take(&uid), "step {at}");
            }
            let uids = |pods: &Pods| -> BTreeSet<String> {
                pods.iter().map(|pod| pod.uid().to_owned()).collect()
            };
            assert_eq!((uids(&copy), uids(&pods)), (before, known.clone()), "step {at}");
            assert_eq!(pods.len(), known.len());
        }
    }
}
