//! In which precision a network's large weights are kept.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::Weights;
use super::file::{Stored, widened};

/// The precision in which the weights of large matrices are kept in memory, as [`Weights::stored`] gives them; products
/// of them are computed in f32 whichever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Their file's. What a LoRA changes is f32.
    #[default]
    Stored,
    /// f32.
    F32,
    /// f16, to the nearest; a tensor with a number beyond 65504, which f16 hasn't got, stays as it is.
    F16,
    /// bf16, to the nearest.
    Bf16,
}

impl Weights {
    /// The same tensors, kept in another precision.
    #[must_use]
    pub fn kept_in(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
}

impl Stored {
    /// The same numbers, or those of `precision` that are nearest.
    pub(super) fn kept_in(self, precision: Precision) -> Self {
        let narrow = match (precision, &self) {
            (Precision::Stored, _)
            | (Precision::F16, Self::F16(_))
            | (Precision::Bf16, Self::Bf16(_)) => return self,
            (Precision::F32, _) => return Self::F32(self.widened()),
            (Precision::F16, Self::F32(values)) => Self::F16(narrowed(f16::ZERO, values)),
            (Precision::F16, Self::Bf16(values)) => {
                Self::F16(narrowed(f16::ZERO, &widened(values)))
            }
            (Precision::Bf16, Self::F32(values)) => Self::Bf16(narrowed(bf16::ZERO, values)),
            (Precision::Bf16, Self::F16(values)) => {
                Self::Bf16(narrowed(bf16::ZERO, &widened(values)))
            }
        };
        if narrow.is_finite() { narrow } else { self }
    }
}

fn narrowed<T: Clone>(zero: T, values: &[f32]) -> Vec<T>
where
    [T]: HalfFloatSliceExt,
{
    let mut narrow = vec![zero; values.len()];
    narrow.convert_from_f32_slice(values);
    narrow
}
