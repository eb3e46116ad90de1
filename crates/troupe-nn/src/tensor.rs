//! Between candle's tensors and the slices that kernels take.

use candle_core::{CpuStorage, DType, Device, Shape, Storage, Tensor};

use crate::NnError;

/// Calls `function` with the values of `x` in row-major order, copied only if they lie otherwise.
pub(crate) fn with_values<T>(x: &Tensor, function: impl FnOnce(&[f32]) -> T) -> Result<T, NnError> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let start = layout.start_offset();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
        return Err(wrong_kind(&x));
    };
    Ok(function(&values[start..start + x.elem_count()]))
}

/// The error for a tensor that isn't of f32 on the CPU.
pub(crate) fn wrong_kind(x: &Tensor) -> NnError {
    let (expected, got) = (DType::F32, x.dtype());
    let msg = "layers take tensors on the CPU";
    candle_core::Error::UnexpectedDType { msg, expected, got }.into()
}

/// The values of `x`, in row-major order.
pub(crate) fn to_values(x: &Tensor) -> Result<Vec<f32>, NnError> {
    with_values(x, <[f32]>::to_vec)
}

/// A tensor of `values`.
pub(crate) fn from_values(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor, NnError> {
    Ok(Tensor::from_vec(values, shape.into(), &Device::Cpu)?)
}

/// The values of an optional vector, which must have `length` of them.
pub(crate) fn vector(what: &'static str, x: &Tensor, length: usize) -> Result<Vec<f32>, NnError> {
    if x.dims() != [length] {
        return Err(NnError::shape(what, format!("[{length}]"), x.dims()));
    }
    to_values(x)
}

#[cfg(test)]
pub(crate) mod testing {
    use candle_core::Tensor;

    /// Numbers in `[-1, 1)` from a linear congruential generator.
    pub(crate) fn pseudo_random(length: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(state >> 16).unwrap()) / 32768.0 - 1.0
        };
        (0..length).map(|_| next()).collect()
    }

    /// Fails unless ‖x − expected‖₂ ≤ 2e-6 · ‖expected‖₂.
    #[track_caller]
    pub(crate) fn assert_near(x: &Tensor, expected: &[f32]) {
        let x: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(x.len(), expected.len());
        let square = |x: f32| f64::from(x) * f64::from(x);
        let difference: f64 = x.iter().zip(expected).map(|(x, y)| square(x - y)).sum();
        let norm: f64 = expected.iter().map(|&y| square(y)).sum();
        let error = (difference / norm).sqrt();
        assert!(error <= 2e-6, "relative error {error}\n{x:?}\n{expected:?}");
    }
}
