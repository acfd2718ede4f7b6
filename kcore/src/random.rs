//! Randomness, as a seeded value.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// The letters of generated names: no vowels and no digits that look like them, so that no word
/// appears. <https://kubernetes.io/docs/reference/using-api/api-concepts/#generated-values>
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A shared, seeded source of randomness. Clones draw from the same sequence.
///
/// It is for jitter, tie-breaking, generated names and uids, never for keys or secrets.
#[derive(Debug, Clone)]
pub struct Random {
    rng: Arc<Mutex<fastrand::Rng>>,
}

impl Random {
    /// The sequence of `seed`: the same at each run and on each machine.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { rng: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))) }
    }

    /// A sequence that nobody can predict, for programs that serve real users.
    #[must_use]
    pub fn from_entropy() -> Self {
        #[allow(clippy::disallowed_methods, reason = "the one place that draws a seed")]
        Self { rng: Arc::new(Mutex::new(fastrand::Rng::new())) }
    }

    /// A source of its own, seeded from this one. Give each component one, so that what one of
    /// them draws does not shift what the next one sees.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { rng: Arc::new(Mutex::new(self.rng.lock().fork())) }
    }

    /// A number from the whole range.
    #[must_use]
    pub fn next_u64(&self) -> u64 {
        self.rng.lock().u64(..)
    }

    /// A number below `bound`; zero if `bound` is zero.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.rng.lock().u64(..bound) }
    }

    /// A number in `[0, 1)`.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.rng.lock().f64()
    }

    /// True with `probability` (0 never, 1 always).
    #[must_use]
    pub fn chance(&self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// `base` lengthened by a random share of up to `factor` of itself, so that many clients that
    /// started together do not act together.
    #[must_use]
    pub fn jitter(&self, base: Duration, factor: f64) -> Duration {
        base.mul_f64(1.0 + self.fraction() * factor.max(0.0))
    }

    /// A random name suffix of `length` letters, in the alphabet Kubernetes uses for
    /// `generateName`.
    #[must_use]
    pub fn name_suffix(&self, length: usize) -> String {
        let mut rng = self.rng.lock();
        (0..length).map(|_| char::from(NAME_LETTERS[rng.usize(..NAME_LETTERS.len())])).collect()
    }

    /// A version 4 UUID in its usual text form.
    #[must_use]
    pub fn uuid(&self) -> String {
        let (high, low) = {
            let mut rng = self.rng.lock();
            (rng.u64(..), rng.u64(..))
        };
        let high = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
        let low = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(a.uuid(), b.uuid());
        assert_eq!(a.name_suffix(5), b.name_suffix(5));
        assert_ne!(a.uuid(), Random::seeded(8).uuid());
    }

    #[test]
    fn uuids_carry_version_and_variant() {
        let uuid = Random::seeded(1).uuid();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }

    #[test]
    fn jitter_only_lengthens() {
        let random = Random::seeded(3);
        for _ in 0..100 {
            let jittered = random.jitter(Duration::from_secs(10), 0.5);
            assert!(jittered >= Duration::from_secs(10) && jittered < Duration::from_secs(15));
        }
    }
}
