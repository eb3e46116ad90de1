//! What the network is told about the timestep, and, in SDXL, about text and picture as a whole.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use troupe_nn::{Linear, silu};

use super::{
    UNetError, build,
    conditioning::Added,
    config::{Addition, UNetConfig},
};
use crate::weights::Weights;

/// Sines and cosines of the timestep, and two linear layers.
#[derive(Debug)]
pub(super) struct TimeEmbedding {
    sinusoids: Sinusoids,
    layers: EmbeddingLayers,
}

/// What the network is told beside the timestep: `add_embedding` in diffusers.
#[derive(Debug)]
pub(super) struct AddedEmbedding {
    addition: Addition,
    sinusoids: Sinusoids,
    layers: EmbeddingLayers,
}

/// `Timesteps` in diffusers.
#[derive(Debug)]
struct Sinusoids {
    frequencies: Vec<f32>,
    flip_sin_to_cos: bool,
}

/// `TimestepEmbedding` in diffusers.
#[derive(Debug)]
struct EmbeddingLayers {
    linear_1: Arc<Linear>,
    linear_2: Arc<Linear>,
}

impl TimeEmbedding {
    pub(super) fn new(config: &UNetConfig, weights: &Weights) -> Result<Self, UNetError> {
        let inputs = config.levels.first().map_or(0, |level| level.channels);
        let sinusoids = Sinusoids::new(config, inputs);
        let layers = EmbeddingLayers::new(config, inputs, &weights.at("time_embedding"))?;
        Ok(Self { sinusoids, layers })
    }

    /// Shape `(1, time_embedding_dim)`.
    pub(super) fn forward(&self, timestep: f64) -> Result<Tensor, UNetError> {
        let values = self.sinusoids.of(timestep);
        let width = values.len();
        self.layers.forward(&Tensor::from_vec(values, (1, width), &Device::Cpu)?)
    }
}

impl AddedEmbedding {
    /// `None` where the network is told nothing but the timestep.
    pub(super) fn new(config: &UNetConfig, weights: &Weights) -> Result<Option<Self>, UNetError> {
        let Some(addition) = config.addition else { return Ok(None) };
        let sinusoids = Sinusoids::new(config, addition.time_embed_dim);
        let layers = EmbeddingLayers::new(config, addition.inputs(), &weights.at("add_embedding"))?;
        Ok(Some(Self { addition, sinusoids, layers }))
    }

    /// Shape `(rows, time_embedding_dim)`.
    pub(super) fn forward(&self, rows: &[Added]) -> Result<Tensor, UNetError> {
        let mut values = Vec::with_capacity(rows.len() * self.addition.inputs());
        for Added { pooled, time_ids } in rows {
            if pooled.dims() != [self.addition.pooled] {
                let found = pooled.dims().to_vec();
                return Err(UNetError::Pooled { width: self.addition.pooled, found });
            }
            values.extend(pooled.to_vec1::<f32>()?);
            values.extend(time_ids.iter().flat_map(|&id| self.sinusoids.of(id)));
        }
        let shape = (rows.len(), self.addition.inputs());
        self.layers.forward(&Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

impl Sinusoids {
    fn new(config: &UNetConfig, width: usize) -> Self {
        let frequencies = frequencies(width >> 1, config.freq_shift);
        Self { frequencies, flip_sin_to_cos: config.flip_sin_to_cos }
    }

    /// Shape `(width,)`.
    #[expect(clippy::cast_possible_truncation, reason = "angles are single precision in diffusers")]
    fn of(&self, number: f64) -> Vec<f32> {
        let angles = || self.frequencies.iter().map(|frequency| number as f32 * frequency);
        let (sines, cosines) = (angles().map(f32::sin), angles().map(f32::cos));
        if self.flip_sin_to_cos {
            cosines.chain(sines).collect()
        } else {
            sines.chain(cosines).collect()
        }
    }
}

impl EmbeddingLayers {
    fn new(config: &UNetConfig, inputs: usize, weights: &Weights) -> Result<Self, UNetError> {
        let width = config.time_embedding_dim();
        Ok(Self {
            linear_1: build::linear(&weights.at("linear_1"), [inputs, width])?,
            linear_2: build::linear(&weights.at("linear_2"), [width, width])?,
        })
    }

    /// Shape `(rows, inputs)` → `(rows, time_embedding_dim)`.
    fn forward(&self, x: &Tensor) -> Result<Tensor, UNetError> {
        Ok(self.linear_2.forward(&silu(&self.linear_1.forward(x)?)?)?)
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
