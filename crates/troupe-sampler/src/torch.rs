//! The noise that PyTorch draws on the CPU, so that its users get the same picture from the same seed.
//!
//! `torch.randn` with `torch.Generator("cpu")` (`aten/src/ATen/native/cpu/DistributionTemplates.h` and
//! `ATen/core/MT19937RNGEngine.h` of PyTorch 2.15) fills a tensor of 16 or more numbers with uniform
//! ones, and turns them, sixteen at a time, into normal ones by Box and Muller's transform: the first
//! eight give the radius, the last eight the angle. Smaller tensors are drawn one number at a time, in
//! double precision. Here logarithms, sines and cosines are those of `libm` and rounded once, so the
//! numbers are within a few units in the last place of PyTorch's, which differ between processors.

use std::f32::consts::TAU;

/// How many words MT19937 makes at once (Matsumoto and Nishimura 1998), and how far apart it mixes.
const WORDS: usize = 624;
const SHIFT: usize = 397;

/// PyTorch transforms so many uniform numbers at once, and smaller tensors otherwise.
const AT_ONCE: usize = 16;

/// `torch.Generator("cpu").manual_seed(seed)`.
#[derive(Clone, Debug)]
pub struct TorchCpuGenerator {
    state: [u32; WORDS],
    // Invariant: at most `WORDS`.
    next: usize,
    /// The second number of a pair, of which only the first was asked for.
    kept: Option<f64>,
}

impl TorchCpuGenerator {
    /// A generator; of the seed only the lower 32 bits count, as in PyTorch.
    pub fn new(seed: u64) -> Self {
        let mut state = [0; WORDS];
        let mut word = low(seed);
        state[0] = word;
        for (entry, index) in state[1..].iter_mut().zip(1_u32..) {
            word = 1_812_433_253_u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(index);
            *entry = word;
        }
        Self { state, next: WORDS, kept: None }
    }

    /// What `torch.randn` draws next for a tensor of `count` elements, in row-major order.
    ///
    /// The numbers of one call aren't those of two calls of half as many.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        if count < AT_ONCE {
            return (0..count).map(|_| self.normal()).collect();
        }
        let mut values: Vec<f32> = (0..count).map(|_| self.uniform()).collect();
        for sixteen in values.chunks_exact_mut(AT_ONCE) {
            box_muller(sixteen);
        }
        if !count.is_multiple_of(AT_ONCE) {
            // The last sixteen are drawn anew, over some that were there.
            let last = &mut values[count - AT_ONCE..];
            last.fill_with(|| self.uniform());
            box_muller(last);
        }
        values
    }

    /// A number of the scalar path.
    fn normal(&mut self) -> f32 {
        let value = self.kept.take().unwrap_or_else(|| {
            let angle = std::f64::consts::TAU * self.uniform_double();
            let radius = libm::sqrt(-2.0 * libm::log1p(-self.uniform_double()));
            self.kept = Some(radius * libm::sin(angle));
            radius * libm::cos(angle)
        });
        crate::config::single(value)
    }

    /// In `[0, 1)` on a grid of 2⁻²⁴.
    #[expect(clippy::cast_precision_loss, reason = "24 bits are what a f32 holds")]
    fn uniform(&mut self) -> f32 {
        const BITS: u32 = 1 << 24;
        (self.word() & (BITS - 1)) as f32 / BITS as f32
    }

    /// In `[0, 1)` on a grid of 2⁻⁵³.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a f64 holds")]
    fn uniform_double(&mut self) -> f64 {
        const BITS: u64 = 1 << 53;
        let (high, low) = (u64::from(self.word()), u64::from(self.word()));
        ((high << 32 | low) & (BITS - 1)) as f64 / BITS as f64
    }

    /// The next word of MT19937.
    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.refill();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn refill(&mut self) {
        const UPPER: u32 = 0x8000_0000;
        const MATRIX: u32 = 0x9908_b0df;
        for index in 0..WORDS {
            let following = self.state[(index + 1) % WORDS];
            let mixed = (self.state[index] & UPPER) | (following & !UPPER);
            let twisted = (mixed >> 1) ^ if following & 1 == 1 { MATRIX } else { 0 };
            self.state[index] = self.state[(index + SHIFT) % WORDS] ^ twisted;
        }
        self.next = 0;
    }
}

/// Turns sixteen uniform numbers into normal ones.
///
/// Shape `(16,)`.
fn box_muller(values: &mut [f32]) {
    let (radii, angles) = values.split_at_mut(AT_ONCE.div_euclid(2));
    for (first, second) in radii.iter_mut().zip(angles) {
        let radius = libm::sqrt(-2.0 * libm::log(f64::from(1.0 - *first)));
        let angle = f64::from(TAU * *second); // PyTorch rounds it to f32.
        *first = crate::config::single(radius * libm::cos(angle));
        *second = crate::config::single(radius * libm::sin(angle));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn low(seed: u64) -> u32 {
    seed as u32
}

#[cfg(test)]
mod tests {
    use troupe_testkit::{Golden, assert_close, golden_path};

    use super::*;

    /// Of what a generator draws one after the other: `tests/reference/sampler.py`.
    const COUNTS: [usize; 8] = [16, 5, 100, 7, 4096, 1, 15, 33];

    #[test]
    fn noise_is_that_of_torch() {
        let golden = Golden::read(golden_path("sampler/torch_cpu.safetensors"));
        for seed in [0, 7, (1 << 32) + 5, u64::MAX >> 1] {
            let mut generator = TorchCpuGenerator::new(seed);
            for (draw, count) in COUNTS.into_iter().enumerate() {
                let name = format!("torch_cpu.{seed}.{draw}");
                let (expected, shape) = golden.tensor(&name);
                let actual = generator.normals(count);
                let most = actual.iter().zip(&expected).map(|(a, b)| (a - b).abs());
                let most = most.fold(0.0, f32::max);
                assert!(most <= 1e-6, "{name}: a number is off by {most:e}");
                assert_close(&name, &actual, &(expected, shape), 3e-7);
            }
        }
    }

    #[test]
    fn words_are_those_of_the_published_generator() {
        // The first output for the default seed, and the 10,000th, which C++ prescribes (rand.predef).
        let mut generator = TorchCpuGenerator::new(5489);
        assert_eq!(generator.word(), 3_499_211_612);
        for _ in 2..10_000 {
            generator.word();
        }
        assert_eq!(generator.word(), 4_123_659_995);
    }

    #[test]
    fn only_the_lower_half_of_a_seed_counts() {
        let normals = |seed| TorchCpuGenerator::new(seed).normals(20);
        assert_eq!(normals(7), normals((1 << 32) + 7));
        assert_ne!(normals(7), normals(8));
        assert_eq!(TorchCpuGenerator::new(7).normals(0), [0.0; 0]);
    }
}
