//! Seeds, and the named streams of random numbers that come from them.
//!
//! A stream is ChaCha20 keyed with SHA-256 of the seed and the stream's name, so that two streams
//! never share numbers and adding one leaves the others as they were. What is made of the raw
//! words (ranges, shuffles, normal deviates) is written out here, because a library's choice of
//! algorithm may change between versions and ours is promised not to.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The number that a run, or one picture of it, is a function of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

/// A stream of random numbers with a name of its own.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha20Rng);

impl Seed {
    /// The stream of this name: the same for the same seed and name, on any machine.
    pub fn stream(self, name: &str) -> Stream {
        let key = Sha256::new()
            .chain_update(b"troupe stream 1\0")
            .chain_update(self.0.to_le_bytes())
            .chain_update(name.as_bytes())
            .finalize();
        Stream(ChaCha20Rng::from_seed(key.into()))
    }

    /// The seed of the picture at `index` (the first is 1) of a run with this seed.
    ///
    /// It fits in 32 bits, since other tools of the field read no more.
    #[must_use]
    pub fn picture(self, index: u64) -> Self {
        Self(self.stream(&format!("picture/{index}")).below(1 << 32))
    }
}

impl Seed {
    /// The seed of a repainting of a part of a picture with this seed; a part that is repainted once
    /// more gets another one, for its picture has another.
    #[must_use]
    pub fn repainting(self, part: &str) -> Self {
        Self(self.stream(&format!("repaint/{part}")).below(1 << 32))
    }
}

impl Stream {
    /// A whole number in `0..bound`, each equally likely; 0 when `bound` is 0.
    ///
    /// Lemire's multiplication with rejection (arXiv:1805.10941).
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(bound);
            #[expect(clippy::cast_possible_truncation, reason = "the two halves of the product")]
            let (high, low) = ((product >> 64) as u64, product as u64);
            if threshold <= low {
                return high;
            }
        }
    }

    /// A number in `[0, 1)` on a grid of 2⁻⁵³.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a f64 holds")]
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Puts the items into an order, each order equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1);
            items.swap(last, usize::try_from(other).unwrap_or(last));
        }
    }

    /// `count` independent deviates of the standard normal distribution.
    ///
    /// Box and Muller's transform in f64, through `libm`, whose `log`, `cos` and `sin` are the same
    /// on every machine.
    #[expect(clippy::cast_possible_truncation, reason = "noise is kept in f32")]
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        let mut deviates = Vec::with_capacity(count + 1);
        while deviates.len() < count {
            let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
            let angle = 2.0 * std::f64::consts::PI * self.unit();
            deviates.push((radius * libm::cos(angle)) as f32);
            deviates.push((radius * libm::sin(angle)) as f32);
        }
        deviates.truncate(count);
        deviates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_pinned() {
        // Values of our own (golden: self); a change here changes every picture ever made.
        let mut stream = Seed(7).stream("noise");
        let drawn: Vec<u64> = (0..4).map(|_| stream.below(1000)).collect();
        assert_eq!(drawn, PINNED);
    }

    const PINNED: [u64; 4] = [244, 370, 237, 279];

    #[test]
    fn names_and_seeds_part_the_streams() {
        let first = |seed: u64, name: &str| Seed(seed).stream(name).below(u64::MAX);
        assert_ne!(first(1, "a"), first(1, "b"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_eq!(first(1, "a"), first(1, "a"));
    }

    #[test]
    fn picture_seeds_fit_other_tools() {
        for index in 1..200 {
            assert!(u32::try_from(Seed(u64::MAX).picture(index).0).is_ok());
        }
    }

    #[test]
    fn ranges_are_even_and_bounded() {
        let mut stream = Seed(3).stream("range");
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[usize::try_from(stream.below(7)).unwrap()] += 1;
        }
        for count in counts {
            assert!((9_600..10_400).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn normals_have_unit_variance() {
        let deviates = Seed(5).stream("noise").normals(100_001);
        assert_eq!(deviates.len(), 100_001);
        let count = 100_001.0;
        let mean = deviates.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let variance = deviates.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn shuffles_keep_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        Seed(1).stream("shuffle").shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
