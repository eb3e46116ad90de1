//! Kernels for the CPU: work in blocks that fit the cache, `gemm` for the products, and loops
//! that are compiled for several instruction sets and pick one at run time.
//!
//! How the work is cut depends on shapes only, never on the number of threads, so neither do
//! the results.

mod attention;
mod convolution;
mod elementwise;
mod norm;
mod product;
mod vectorised;
mod widen;

pub(crate) use elementwise::{add, geglu, gelu, quick_gelu, silu};
pub(crate) use norm::layer_norm;
pub(crate) use widen::{widen_bf16, widen_f16};

use crate::kernels::{Activation, AttentionShape, Convolution, GroupNormShape, Kernels, Mask};
use crate::matrix::Matrix;

/// The kernels for the CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuKernels;

impl Kernels for CpuKernels {
    fn linear(&self, x: &[f32], weight: &Matrix, bias: Option<&[f32]>, out: &mut [f32]) {
        convolution::linear(x, weight, bias, out);
    }

    fn conv2d(
        &self,
        x: &[f32],
        shape: &Convolution,
        weight: &Matrix,
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) {
        convolution::conv2d(x, shape, weight, bias, out);
    }

    fn attention(
        &self,
        query_key_value: [&[f32]; 3],
        shape: AttentionShape,
        mask: Option<Mask<'_>>,
        out: &mut [f32],
        sums: Option<&mut [f32]>,
    ) {
        attention::attention(query_key_value, shape, mask, out, sums);
    }

    fn group_norm(
        &self,
        x: &[f32],
        shape: GroupNormShape,
        weight: &[f32],
        bias: &[f32],
        activation: Activation,
        out: &mut [f32],
    ) {
        norm::group_norm(x, shape, [weight, bias], activation, out);
    }
}
