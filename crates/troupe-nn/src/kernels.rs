//! The heavy operations as a trait over slices, and the shapes that they take.

use std::fmt::Debug;

use crate::cpu::CpuKernels;
use crate::matrix::Matrix;

/// The operations that cost time. A layer checks shapes first; a kernel may rely on them.
///
/// All slices are dense, row-major and channels-last.
pub trait Kernels: Debug + Send + Sync {
    /// `out = x · weightᵀ + bias`.
    ///
    /// `x` is `(rows, weight.inputs)`, `bias` is `(weight.outputs,)`, `out` is `(rows, weight.outputs)`.
    fn linear(&self, x: &[f32], weight: &Matrix, bias: Option<&[f32]>, out: &mut [f32]);

    /// A two-dimensional convolution; `weight` is `(out, kernel height · kernel width · in)`.
    ///
    /// `x` is `(batch, height, width, in)`, `out` is `(batch, out height, out width, out)`.
    fn conv2d(
        &self,
        x: &[f32],
        shape: &Convolution,
        weight: &Matrix,
        bias: Option<&[f32]>,
        out: &mut [f32],
    );

    /// `softmax(query · keyᵀ / √dim) · value` for each head, `-∞` before the softmax where masked.
    ///
    /// `query` and `out` are `(batch, queries, heads · dim)`, `key` and `value` are
    /// `(batch, keys, heads · dim)`. `sums`, if it is wanted, becomes the logarithm of the softmax's denominator,
    /// `(batch, queries, heads)`.
    fn attention(
        &self,
        query_key_value: [&[f32]; 3],
        shape: AttentionShape,
        mask: Option<Mask<'_>>,
        out: &mut [f32],
        sums: Option<&mut [f32]>,
    );

    /// Group normalisation (Wu and He 2018, arXiv:1803.08494), then `activation`.
    ///
    /// `x` and `out` are `(batch, tokens, channels)`, `weight` and `bias` are `(channels,)`.
    fn group_norm(
        &self,
        x: &[f32],
        shape: GroupNormShape,
        weight: &[f32],
        bias: &[f32],
        activation: Activation,
        out: &mut [f32],
    );
}

/// The kernels that all layers use.
pub fn kernels() -> &'static dyn Kernels {
    &CpuKernels
}

/// Rows and columns of zeros around an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// One row below and one column to the right, as the downsampler of `AutoencoderKL` pads.
    pub const RIGHT_AND_BOTTOM: Self = Self { top: 0, left: 0, bottom: 1, right: 1 };
}

impl From<usize> for Padding {
    /// The same on all four sides.
    fn from(side: usize) -> Self {
        Self { top: side, left: side, bottom: side, right: side }
    }
}

/// The shape of a convolution's input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub height: usize,
    /// Columns of an input image.
    pub width: usize,
    /// Channels of an input image.
    pub channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Step of the kernel, in both directions.
    pub stride: usize,
    /// Zeros around an input image.
    pub padding: Padding,
    /// Rows of an output image.
    pub out_height: usize,
    /// Columns of an output image.
    pub out_width: usize,
}

/// The shape of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Independent attentions.
    pub batch: usize,
    /// Tokens that ask.
    pub queries: usize,
    /// Tokens that answer.
    pub keys: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of one head.
    pub dim: usize,
}

/// Which tokens a token of the same sequence may not attend to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask<'a> {
    /// Not to later ones.
    Causal,
    /// Not to those of another group. A token without a group attends to all and is seen by all.
    ///
    /// One entry a token, the same for every row of the batch.
    Groups(&'a [Option<usize>]),
}

/// The shape of a group normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNormShape {
    /// Images; each has statistics of its own.
    pub batch: usize,
    /// Tokens of an image.
    pub tokens: usize,
    /// Channels of a token; a multiple of `groups`.
    pub channels: usize,
    /// Groups of neighbouring channels.
    pub groups: usize,
    /// What is added to the variance.
    pub eps: f64,
}

/// What follows a normalisation in the same pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `x · sigmoid(x)`.
    Silu,
}
