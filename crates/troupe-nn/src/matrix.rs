//! A layer's weights, kept in the precision in which they came.

use std::ops::Range;

use candle_core::{CpuStorage, DType, Storage, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::NnError;
use crate::cpu::{widen_bf16, widen_f16};
use crate::tensor::wrong_kind;

/// Up to so many weights are widened once, for speed: 2 MiB. A network's memory is in its larger matrices.
const SMALL: usize = 512 * 1024;

/// A weight matrix `(outputs, inputs)`, row-major.
///
/// Many sixteen-bit weights stay so, half as large, and are widened a few rows at a time where they are multiplied: every one
/// of them is a number in f32, too, so the products are those of the same weights in f32, to the bit.
#[derive(Clone, Debug)]
pub struct Matrix {
    // Invariant: `outputs · inputs` values.
    values: Values,
    outputs: usize,
    inputs: usize,
}

#[derive(Clone, Debug)]
enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl Matrix {
    /// Takes the values of `weight`, of f32, f16 or bf16, of shape `(outputs, channels, …)`.
    ///
    /// What follows the channels, a kernel's rows and columns, comes before them afterwards: a row is
    /// `(…, channels)`, as a window of channels-last pixels has it.
    ///
    /// # Errors
    ///
    /// If `weight` has no more than one dimension, or is of another type or device.
    pub(crate) fn of(what: &'static str, weight: &Tensor) -> Result<Self, NnError> {
        let &[outputs, channels, ref kernel @ ..] = weight.dims() else {
            return Err(NnError::shape(what, "(out, in, ..)", weight.dims()));
        };
        let taps: usize = kernel.iter().product();
        let small =
            weight.elem_count() <= SMALL && matches!(weight.dtype(), DType::F16 | DType::BF16);
        let dtype = if small { DType::F32 } else { weight.dtype() };
        let weight = weight.to_dtype(dtype)?.contiguous()?;
        let (storage, layout) = weight.storage_and_layout();
        let range = layout.start_offset()..layout.start_offset() + weight.elem_count();
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "every other type and device is refused"
        )]
        let values = match &*storage {
            Storage::Cpu(CpuStorage::F32(values)) => {
                Values::F32(channels_last(&values[range], channels, taps))
            }
            Storage::Cpu(CpuStorage::F16(values)) => {
                Values::F16(channels_last(&values[range], channels, taps))
            }
            Storage::Cpu(CpuStorage::BF16(values)) => {
                Values::Bf16(channels_last(&values[range], channels, taps))
            }
            _ => return Err(wrong_kind(&weight)),
        };
        Ok(Self { values, outputs, inputs: channels * taps })
    }

    /// The length of a row: what goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of rows: what comes out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Some of the rows as f32; `scratch` holds them where they have to be widened.
    ///
    /// # Panics
    ///
    /// If there aren't so many rows.
    pub(crate) fn rows<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let range = rows.start * self.inputs..rows.end * self.inputs;
        match &self.values {
            Values::F32(values) => return &values[range],
            Values::F16(values) => {
                scratch.resize(range.len(), 0.0);
                widen_f16(&values[range], scratch);
            }
            Values::Bf16(values) => {
                scratch.resize(range.len(), 0.0);
                widen_bf16(&values[range], scratch);
            }
        }
        scratch
    }
}

/// Each row from `(channels, taps)` to `(taps, channels)`.
fn channels_last<T: Copy + Default + Send + Sync>(
    values: &[T],
    channels: usize,
    taps: usize,
) -> Vec<T> {
    if taps == 1 || values.is_empty() {
        return values.to_vec();
    }
    let mut turned = vec![T::default(); values.len()];
    let rows = values.par_chunks(channels * taps);
    turned.par_chunks_mut(channels * taps).zip(rows).for_each(|(turned, row)| {
        for (channel, row) in row.chunks_exact(taps).enumerate() {
            let column = turned.iter_mut().skip(channel).step_by(channels);
            column.zip(row).for_each(|(turned, &value)| *turned = value);
        }
    });
    turned
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Every sixteen-bit pattern that is a finite number of `T`.
    fn all<T: Copy>(from: fn(u16) -> T, finite: fn(T) -> bool) -> Vec<T> {
        (0..=u16::MAX).map(from).filter(|&it| finite(it)).collect()
    }

    #[test]
    fn every_number_is_widened_exactly() {
        let halves = all(f16::from_bits, f16::is_finite);
        let brains = all(bf16::from_bits, bf16::is_finite);
        let wanted: [Vec<u32>; 2] = [
            halves.iter().map(|it| it.to_f32().to_bits()).collect(),
            brains.iter().map(|it| it.to_f32().to_bits()).collect(),
        ];
        let lengths = [halves.len(), brains.len()];
        let tensors = [
            Tensor::from_vec(halves, (1, lengths[0]), &Device::Cpu).unwrap(),
            Tensor::from_vec(brains, (1, lengths[1]), &Device::Cpu).unwrap(),
        ];
        for (tensor, wanted) in tensors.iter().zip(wanted) {
            // A row is small and widened once; of twenty, each where it is asked for.
            for rows in [1, 20] {
                let matrix = Matrix::of("test", &tensor.repeat((rows, 1)).unwrap()).unwrap();
                assert_eq!(matches!(matrix.values, Values::F32(_)), rows == 1);
                let mut scratch = Vec::new();
                let last = matrix.rows(rows - 1..rows, &mut scratch);
                let found: Vec<u32> = last.iter().map(|it| it.to_bits()).collect();
                assert!(found == wanted);
            }
        }
    }

    #[test]
    fn a_kernel_is_turned_row_by_row() {
        let values: Vec<f32> = (0..300_u16).map(f32::from).collect();
        let weight = Tensor::from_vec(values, (100, 3, 1), &Device::Cpu).unwrap();
        let weight = Tensor::cat(&[&weight, &(&weight + 0.5).unwrap()], 2).unwrap();
        let matrix = Matrix::of("test", &weight.reshape((100, 3, 1, 2)).unwrap()).unwrap();
        assert_eq!([matrix.outputs(), matrix.inputs()], [100, 6]);
        let mut scratch = Vec::new();
        assert_eq!(matrix.rows(1..2, &mut scratch), [3.0, 4.0, 5.0, 3.5, 4.5, 5.5]);
        assert_eq!(matrix.rows(99..100, &mut scratch)[..2], [297.0, 298.0]);
    }

    #[test]
    fn other_types_are_refused() {
        let weight = Tensor::zeros((2, 2), DType::I64, &Device::Cpu).unwrap();
        assert!(Matrix::of("test", &weight).is_err());
        let weight = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
        let error = Matrix::of("weight of linear", &weight).unwrap_err();
        assert_eq!(error.to_string(), "weight of linear: expected (out, in, ..), got [2]");
    }
}
