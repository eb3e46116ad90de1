//! The kinds of updates, and what each makes of a weight.
//!
//! With `f` = alpha / rank, `s` the user's scale and `W` the weight:
//!
//! * LoRA and LoCon: `W + s f · B A` (Hu et al. 2021, arXiv:2106.09685), and a full difference `W + s · Δ`;
//! * LoHa: `W + s f · (B₁A₁) ⊙ (B₂A₂)` (Hyeon-Woo et al. 2022, arXiv:2108.06098, as in `loha.py` of peft and LyCORIS);
//! * LoKr: `W + s f · C ⊗ D` (Edalati et al. 2022, arXiv:2212.10650, as in `lokr.py` of peft and LyCORIS);
//! * DoRA, around any of the first and the last two: see [`Magnitude`].

use std::sync::Arc;

use candle_core::Tensor;

use super::attach::LowRank;
use super::factor::{Factor, Measured, Shape};
use super::magnitude::{Magnitude, Moves};
use crate::weights::{TensorFile, WeightsError};

/// A change of one tensor of a network.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Update {
    pub(super) delta: Delta,
    /// alpha / rank, or what takes its place.
    pub(super) factor: f64,
    pub(super) magnitude: Option<Magnitude>,
}

/// What is added to a weight, before it is scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Delta {
    /// One factor: a product is LoRA, one in the Tucker form is LoCon's, and a whole one is a full difference.
    Plain(Factor),
    /// The elementwise product of two: LoHa.
    Hadamard(Factor, Factor),
    /// The Kronecker product of two: LoKr.
    Kronecker(Factor, Factor),
}

/// An update of a weight with the user's scale and the file that it is from.
#[derive(Clone)]
pub(super) struct Merge {
    pub(super) file: Arc<TensorFile>,
    pub(super) update: Update,
    pub(super) scale: f64,
}

impl Delta {
    /// Checks that its tensors belong together; the error says what is wrong.
    pub(super) fn measure(&self, file: &TensorFile) -> Result<Measured, String> {
        match self {
            Self::Plain(factor) => factor.measure(file),
            Self::Hadamard(first, second) => {
                let (first, second) = (first.measure(file)?, second.measure(file)?);
                if (first.shape.out, first.shape.columns())
                    != (second.shape.out, second.shape.columns())
                {
                    return Err(format!(
                        "its two products have the shapes {} and {}, and the same was wanted",
                        first.shape, second.shape
                    ));
                }
                Ok(Measured { rank: common_rank(&first, &second)?, shape: first.shape })
            }
            Self::Kronecker(first, second) => {
                let (first, second) = (first.measure(file)?, second.measure(file)?);
                let rank = common_rank(&first, &second)?;
                let (one, other) = (&first.shape, &second.shape);
                let out = one.out.checked_mul(other.out);
                let inputs = one.inputs.checked_mul(other.inputs);
                match (out, inputs) {
                    (Some(out), Some(inputs)) if one.kernel.is_empty() => {
                        let shape = Shape { out, inputs, kernel: other.kernel.clone() };
                        Ok(Measured { shape, rank })
                    }
                    (_, _) => Err(format!(
                        "the Kronecker product of shapes {one} and {other} is no weight's"
                    )),
                }
            }
        }
    }

    /// The matrix; that it is as large as the weight was measured before.
    ///
    /// Shape `(out, in · kernel)`.
    fn matrix(&self, file: &TensorFile) -> Result<Tensor, WeightsError> {
        let failed = |source| file.tensor_error(self.keys().first().unwrap_or(&""), source);
        match self {
            Self::Plain(factor) => factor.matrix(file),
            Self::Hadamard(first, second) => {
                (first.matrix(file)? * second.matrix(file)?).map_err(failed)
            }
            Self::Kronecker(first, second) => {
                kronecker(&first.matrix(file)?, &second.matrix(file)?).map_err(failed)
            }
        }
    }

    /// The names of its tensors.
    pub(super) fn keys(&self) -> Vec<&str> {
        match self {
            Self::Plain(factor) => factor.keys(),
            Self::Hadamard(first, second) | Self::Kronecker(first, second) => {
                first.keys().into_iter().chain(second.keys()).collect()
            }
        }
    }
}

/// `c ⊗ d`; the kernel is part of the columns of `d`.
///
/// Shapes `(a, b)`, `(c, d)` → `(a · c, b · d)`.
fn kronecker(first: &Tensor, second: &Tensor) -> candle_core::Result<Tensor> {
    let ((a, b), (c, d)) = (first.dims2()?, second.dims2()?);
    let product = first.reshape((a, 1, b, 1))?.broadcast_mul(&second.reshape((1, c, 1, d))?)?;
    product.reshape((a * c, b * d))
}

/// The rank of two factors, of which either may have none.
fn common_rank(first: &Measured, second: &Measured) -> Result<Option<usize>, String> {
    match (first.rank, second.rank) {
        (Some(one), Some(other)) if one != other => Err(format!(
            "its two products have the ranks {one} and {other}, and the same was wanted"
        )),
        (one, other) => Ok(other.or(one)),
    }
}

impl Update {
    /// The names of its tensors.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let magnitude = self.magnitude.as_ref().map(|magnitude| magnitude.key.as_str());
        self.delta.keys().into_iter().chain(magnitude)
    }

    /// Checks that it is for a weight of this shape; the error says what is wrong.
    pub(super) fn fits(&self, file: &TensorFile, weight: &[usize]) -> Result<(), String> {
        let Measured { shape, .. } = self.delta.measure(file)?;
        if !Shape::of(weight).is_some_and(|weight| shape.is_for(&weight)) {
            let shapes: Vec<String> = self
                .delta
                .keys()
                .into_iter()
                .filter_map(|key| Some(format!("{:?}", file.entry(key)?.shape)))
                .collect();
            let shapes = shapes.join(" and ");
            return Err(format!(
                "made for another model: shapes {shapes}, for a weight of shape {weight:?}"
            ));
        }
        match &self.magnitude {
            Some(magnitude) => magnitude.axis(file, weight).map(|_| ()),
            None => Ok(()),
        }
    }
}

impl Merge {
    /// The matrices of a plain LoRA; `None` of anything else.
    pub(super) fn low_rank(&self) -> Result<Option<LowRank>, WeightsError> {
        let Update { delta, factor, magnitude: None } = &self.update else { return Ok(None) };
        let Delta::Plain(Factor::Product { up, down }) = delta else { return Ok(None) };
        Ok(Some(LowRank {
            up: Factor::Whole(up.clone()).matrix(&self.file)?,
            down: Factor::Whole(down.clone()).matrix(&self.file)?,
            multiplier: self.scale * factor,
        }))
    }

    /// Whether it asks for the weight as it was before any update.
    pub(super) fn needs_base(&self) -> bool {
        self.update.magnitude.as_ref().is_some_and(Magnitude::needs_base)
    }

    /// Applies the update to `weight`, which others may have changed; `base` is it before all of them.
    pub(super) fn apply(
        &self,
        shape: &[usize],
        weight: Vec<f32>,
        base: Option<&[f32]>,
    ) -> Result<Vec<f32>, WeightsError> {
        let Update { delta, factor, magnitude } = &self.update;
        let delta: Vec<f32> =
            delta.matrix(&self.file)?.flatten_all().and_then(|delta| delta.to_vec1()).map_err(
                |source| self.file.tensor_error(delta.keys().first().unwrap_or(&""), source),
            )?;
        match magnitude {
            None => Ok(moved(weight, &delta, self.scale * factor)),
            Some(magnitude) => {
                let moves = Moves { delta: &delta, factor: *factor, scale: self.scale };
                magnitude.apply(&self.file, shape, weight, base, moves)
            }
        }
    }
}

/// `weight + multiplier · delta`.
pub(super) fn moved(mut weight: Vec<f32>, delta: &[f32], multiplier: f64) -> Vec<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
    let multiplier = multiplier as f32;
    for (weight, delta) in weight.iter_mut().zip(delta) {
        *weight += multiplier * delta;
    }
    weight
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
            && self.update == other.update
            && self.scale.to_bits() == other.scale.to_bits()
    }
}

impl std::fmt::Debug for Merge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge")
            .field("file", &self.file.name())
            .field("update", &self.update)
            .field("scale", &self.scale)
            .finish()
    }
}
