//! The two networks: a residual one, and a plain one of pooled convolutions.

use candle_core::Tensor;
use troupe_models::weights::Weights;
use troupe_nn::{Conv2d, GroupNorm, Linear, add, silu};

use crate::config::{Architecture, JudgeConfig};
use crate::crop::{CHANNELS, HEIGHT, WIDTH};
use crate::error::AuditError;

/// Rows and columns of what both networks make of a crop: a sixteenth of its sides.
const PLACES: (usize, usize) = (9, 6);
const _: () = assert!(PLACES.0 * 16 == HEIGHT && PLACES.1 * 16 == WIDTH);

/// What is added to a variance; PyTorch's default.
const EPS: f64 = 1e-5;

/// The trunk of a judge and its heads.
#[derive(Debug)]
pub(crate) struct Network {
    trunk: Trunk,
    heads: Vec<Linear>,
}

#[derive(Debug)]
enum Trunk {
    Residual {
        down: Vec<Conv2d>,
        /// One for each `down` but the first.
        blocks: Vec<(Conv2d, Conv2d)>,
        /// `(places, channels)`.
        pool: Tensor,
    },
    Pooled {
        stages: Vec<(Conv2d, GroupNorm)>,
        dense: Linear,
    },
}

impl Network {
    pub(crate) fn new(config: &JudgeConfig, weights: &Weights) -> Result<Self, AuditError> {
        let channels = config.channels;
        let inputs = [CHANNELS, channels[0], channels[1], channels[2]];
        let (trunk, width) = match config.architecture {
            Architecture::Residual => {
                let down = inputs.iter().zip(channels).enumerate();
                let down = down.map(|(at, (&inputs, outputs))| {
                    convolution(&weights.at("down").at(at), inputs, outputs, 3, 2)
                });
                let blocks = channels[1..].iter().enumerate().map(|(at, &channels)| {
                    let weights = weights.at("blocks").at(at);
                    let side = |name| convolution(&weights.at(name), channels, channels, 3, 1);
                    Ok((side("first")?, side("second")?))
                });
                let pool = weights.get("pool", &[channels[3], PLACES.0, PLACES.1])?;
                let pool = pool.flatten(1, 2)?.t()?.contiguous()?;
                let down = down.collect::<Result<_, AuditError>>()?;
                let blocks = blocks.collect::<Result<_, AuditError>>()?;
                (Trunk::Residual { down, blocks, pool }, channels[3])
            }
            Architecture::Pooled { groups, width } => {
                let stages = inputs.iter().zip(channels).enumerate();
                let stages = stages.map(|(at, (&inputs, outputs))| {
                    let (kernel, stride) = if at == 0 { (5, 2) } else { (3, 1) };
                    let convs = weights.at("convs").at(at);
                    let conv = convolution(&convs, inputs, outputs, kernel, stride)?;
                    let norm = weights.at("norms").at(at);
                    let vector = |name: &str| norm.get(name, &[outputs]);
                    let norm = GroupNorm::new(vector("weight")?, vector("bias")?, groups, EPS)?;
                    Ok((conv, norm))
                });
                let stages = stages.collect::<Result<_, AuditError>>()?;
                let inputs = channels[3] * PLACES.0 * PLACES.1;
                let dense = linear(&weights.at("dense"), inputs, width)?;
                (Trunk::Pooled { stages, dense }, width)
            }
        };
        let heads = config.heads.iter();
        let heads = heads
            .map(|it| linear(&weights.at("heads").at(&it.name), width, it.classes()))
            .collect::<Result<_, AuditError>>()?;
        Ok(Self { trunk, heads })
    }

    /// The logits of every head, `(crops, classes)` each.
    ///
    /// Shape `(crops, 144, 96, 5)`.
    pub(crate) fn forward(&self, crops: &Tensor) -> Result<Vec<Tensor>, AuditError> {
        let features = self.trunk.forward(crops)?;
        self.heads.iter().map(|head| Ok(head.forward(&features)?)).collect()
    }
}

impl Trunk {
    /// Shape `(crops, 144, 96, 5)` → `(crops, channels)`.
    fn forward(&self, x: &Tensor) -> Result<Tensor, AuditError> {
        let mut x = x.clone();
        match self {
            Self::Residual { down, blocks, pool } => {
                for (at, down) in down.iter().enumerate() {
                    x = down.forward(&x)?.relu()?;
                    let block = at.checked_sub(1).and_then(|it| blocks.get(it));
                    if let Some((first, second)) = block {
                        let beside = second.forward(&first.forward(&x)?.relu()?)?;
                        x = add(&x, &beside)?.relu()?;
                    }
                }
                Ok(x.flatten(1, 2)?.broadcast_mul(pool)?.sum(1)?)
            }
            Self::Pooled { stages, dense } => {
                for (at, (conv, norm)) in stages.iter().enumerate() {
                    x = conv.forward(&x)?;
                    if at + 1 < stages.len() {
                        x = largest_of_four(&x)?;
                    }
                    x = norm.forward_silu(&x)?;
                }
                Ok(silu(&dense.forward(&x.flatten_from(1)?)?)?)
            }
        }
    }
}

/// Max pooling over squares of two by two.
///
/// Shape `(batch, height, width, channels)` → `(batch, height / 2, width / 2, channels)`.
#[expect(clippy::integer_division, reason = "sides are multiples of 16 at the start")]
fn largest_of_four(x: &Tensor) -> Result<Tensor, candle_core::Error> {
    let (batch, height, width, channels) = x.dims4()?;
    let rows = x.reshape((batch * height / 2, 2, width * channels))?.max(1)?;
    let columns = rows.reshape((batch * height / 2 * width / 2, 2, channels))?.max(1)?;
    columns.reshape((batch, height / 2, width / 2, channels))
}

/// A convolution that keeps the size, or halves it with a stride of two.
#[expect(clippy::integer_division, reason = "kernels are odd")]
fn convolution(
    weights: &Weights,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
) -> Result<Conv2d, AuditError> {
    let weight = weights.get("weight", &[outputs, inputs, kernel, kernel])?;
    Ok(Conv2d::new(weight, Some(weights.get("bias", &[outputs])?), stride, kernel / 2)?)
}

fn linear(weights: &Weights, inputs: usize, outputs: usize) -> Result<Linear, AuditError> {
    let weight = weights.get("weight", &[outputs, inputs])?;
    Ok(Linear::new(weight, Some(weights.get("bias", &[outputs])?))?)
}
