//! LoRA (Hu et al. 2021, arXiv:2106.09685): small updates of a network's weights, in files of
//! their own.
//!
//! [`Adapter::read`] takes a file apart, [`attach`] finds the module of the network that each of
//! its tensors belongs to, and [`Weights::get`](crate::weights::Weights::get) applies the update when
//! the weight is read, in f32, one LoRA after another: `W0 + scale · alpha / rank · B · A`, or what
//! its kind makes of it (`update.rs`). The scale may be another in parts of the model ([`Scales`]).
//! Every tensor of a file is applied, or the file is refused, unless the user tolerates that some
//! have no place: then each that has none is reported.

mod adapter;
mod alpha;
mod attach;
mod factor;
mod index;
mod inspect;
mod magnitude;
mod module;
mod names;
mod scales;
mod update;

use serde::Serialize;

pub use self::adapter::{Adapter, Skipped, Tolerance};
pub use self::alpha::AlphaSource;
pub use self::attach::{
    AdapterSet, Applied, AppliedTensor, Attached, LowRank, Scaled, attach, bind,
};
pub use self::inspect::{Inspection, UsedAlpha};
pub use self::module::Kind;
pub use self::names::Dialect;
pub use self::scales::{PARTS, Scales, is_part};
use crate::weights::{Blame, WeightsError};

/// A network that LoRAs change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The denoiser.
    Unet,
    /// The CLIP text encoder, or the first of SDXL.
    TextEncoder,
    /// The second text encoder of SDXL.
    #[serde(rename = "text_encoder_2")]
    TextEncoder2,
}

impl Network {
    /// What messages call it.
    fn name(self) -> &'static str {
        match self {
            Self::Unet => "UNet",
            Self::TextEncoder => "text encoder",
            Self::TextEncoder2 => "second text encoder",
        }
    }
}

/// Why a LoRA can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoraError {
    /// Its file can't be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// What stands beside its matrices breaks a rule.
    #[error("`{file}` {rule}")]
    Invalid {
        /// The name of the file.
        file: String,
        /// What is wrong with it.
        rule: String,
    },
    /// Tensors of it have no place in this model.
    #[error("`{file}` does not fit: {unmatched} of its {total} tensors can't be applied: {shown}")]
    Unmatched {
        /// The name of the file.
        file: String,
        /// How many of its tensors have no place.
        unmatched: usize,
        /// How many tensors it has.
        total: usize,
        /// The first of them, each with the reason.
        shown: String,
    },
    /// It can't be one person's.
    #[error(
        "`{file}` changes `{weight}`, and of the UNet a LoRA that is bound to a subject may change matrices and kernels alone, \
         and not those that the whole picture shares"
    )]
    Shared {
        /// The name of the file.
        file: String,
        /// The first such weight.
        weight: String,
    },
    /// The user's scale is no number.
    #[error("the scale of `{file}` is {scale}, and a finite number was wanted")]
    Scale {
        /// The name of the file.
        file: String,
        /// The scale.
        scale: Scales,
    },
    /// The user's scale is another in a part of the model of which it changes nothing.
    #[error(
        "`{file}` changes nothing of `{part}`, of which its scale speaks; there could stand {possible}"
    )]
    Part {
        /// The name of the file.
        file: String,
        /// The name of the part.
        part: String,
        /// What it does change, as near to that part as there is anything.
        possible: String,
    },
}

impl LoraError {
    /// Whether the file is bad, or refused by policy.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Weights(error) => error.blame(),
            Self::Invalid { .. }
            | Self::Unmatched { .. }
            | Self::Shared { .. }
            | Self::Scale { .. }
            | Self::Part { .. } => Blame::Asset,
        }
    }
}

#[cfg(test)]
mod tests;
