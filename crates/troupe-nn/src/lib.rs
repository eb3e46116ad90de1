//! The layers that diffusion networks are made of, on candle, with CPU kernels behind one trait.
//!
//! Activations are channels-last: an image is `(batch, height, width, channels)`, which without
//! a copy is `(batch, tokens, channels)` for an attention layer. The carrier is candle's
//! [`Tensor`](candle_core::Tensor) of `f32` on the CPU. Weights come in as PyTorch stores them, of
//! `f32`, `f16` or `bf16`; they are laid out for the kernels once, when a layer is made, and keep
//! their precision. All arithmetic is in `f32`.
//!
//! The heavy operations stand behind [`Kernels`], so that other kernels can be put under the
//! layers without touching a network. Every sum has a fixed order: the result of a layer
//! depends neither on the number of threads nor on their timing.

mod activation;
mod attention;
mod conv;
mod cpu;
mod error;
mod kernels;
mod linear;
mod matrix;
mod norm;
mod tensor;
mod tokens;
mod upsample;

pub use activation::{add, geglu, gelu, quick_gelu, silu};
pub use attention::{attention, attention_with_sums};
pub use conv::Conv2d;
pub use cpu::CpuKernels;
pub use error::NnError;
pub use kernels::{
    Activation, AttentionShape, Convolution, GroupNormShape, Kernels, Mask, Padding, kernels,
};
pub use linear::Linear;
pub use matrix::Matrix;
pub use norm::{GroupNorm, LayerNorm};
pub use tokens::{Part, ScoredPart, blend_tokens, gather_tokens, mix_tokens};
pub use upsample::{upsample_nearest, upsample_nearest_2x};
