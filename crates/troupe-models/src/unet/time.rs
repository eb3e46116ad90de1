//! What the network is told about the timestep.

use candle_core::{Device, Tensor};
use troupe_nn::{Linear, silu};

use super::{UNetError, build, config::UNetConfig};
use crate::weights::Weights;

/// Sines and cosines of the timestep, and two linear layers.
#[derive(Debug)]
pub(super) struct TimeEmbedding {
    frequencies: Vec<f32>,
    flip_sin_to_cos: bool,
    linear_1: Linear,
    linear_2: Linear,
}

impl TimeEmbedding {
    pub(super) fn new(config: &UNetConfig, weights: &Weights) -> Result<Self, UNetError> {
        let inputs = config.levels.first().map_or(0, |level| level.channels);
        let width = config.time_embedding_dim();
        let weights = weights.at("time_embedding");
        Ok(Self {
            frequencies: frequencies(inputs >> 1, config.freq_shift),
            flip_sin_to_cos: config.flip_sin_to_cos,
            linear_1: build::linear(&weights.at("linear_1"), [inputs, width])?,
            linear_2: build::linear(&weights.at("linear_2"), [width, width])?,
        })
    }

    /// Shape `(1, time_embedding_dim)`.
    #[expect(clippy::cast_possible_truncation, reason = "angles are single precision in diffusers")]
    pub(super) fn forward(&self, timestep: f64) -> Result<Tensor, UNetError> {
        let angles = || self.frequencies.iter().map(|frequency| timestep as f32 * frequency);
        let (sines, cosines) = (angles().map(f32::sin), angles().map(f32::cos));
        let values: Vec<f32> = if self.flip_sin_to_cos {
            cosines.chain(sines).collect()
        } else {
            sines.chain(cosines).collect()
        };
        let width = values.len();
        let x = Tensor::from_vec(values, (1, width), &Device::Cpu)?;
        Ok(self.linear_2.forward(&silu(&self.linear_1.forward(&x)?)?)?)
    }
}

/// `10000^(−i / (count − shift))`, the positional encoding of Vaswani et al. 2017.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2²⁴")]
fn frequencies(count: usize, shift: f32) -> Vec<f32> {
    let scale = -(10000.0_f64.ln());
    #[expect(clippy::cast_possible_truncation, reason = "exponents are single precision there too")]
    let scale = scale as f32;
    (0..count).map(|i| (scale * i as f32 / (count as f32 - shift)).exp()).collect()
}
