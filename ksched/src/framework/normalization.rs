//! How a plugin's scores are brought into range.

use super::MAX_NODE_SCORE;

/// How scores are brought to the range from zero to [`MAX_NODE_SCORE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Normalization {
    /// They are in range.
    None,
    /// In proportion to the highest; the other way round if fewer is better.
    Highest {
        /// Whether fewer is better.
        reverse: bool,
    },
}

impl Normalization {
    /// Brings one score into range, of scores the highest of which is this.
    #[must_use]
    pub fn one(self, score: i64, highest: i64) -> i64 {
        match self {
            Self::None => score,
            Self::Highest { reverse } => {
                let score = if highest == 0 { 0 } else { MAX_NODE_SCORE * score / highest };
                if reverse { MAX_NODE_SCORE - score } else { score }
            }
        }
    }

    /// Brings all scores into range.
    pub fn all(self, scores: &mut [i64]) {
        let highest = scores.iter().copied().max().unwrap_or_default();
        for score in scores {
            *score = self.one(*score, highest);
        }
    }
}
