//! Words of `[paint]` that say how noise is drawn, timesteps are spaced and weights are kept.

use serde::{Deserialize, Serialize};
use troupe_models::weights::Precision;
use troupe_sampler::TimestepSpacing;

/// Which generator draws the noise of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rng {
    /// Ours: each step has a stream of its own.
    #[default]
    Troupe,
    /// PyTorch's on the CPU, as diffusers uses it with `torch.Generator("cpu")`.
    TorchCpu,
}

/// How timesteps are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// As the model's `scheduler_config.json` says.
    #[default]
    Model,
    /// From timestep 0 upwards.
    Leading,
    /// From the noisiest timestep downwards.
    Trailing,
    /// From end to end.
    Linspace,
}

/// The precision in which large weights are kept in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dtype {
    /// That of the model's files.
    #[default]
    Auto,
    /// Four bytes each.
    F32,
    /// Two bytes each, of narrower range.
    F16,
    /// Two bytes each, of fewer digits.
    Bf16,
}

impl Dtype {
    /// For the networks.
    pub fn precision(self) -> Precision {
        match self {
            Self::Auto => Precision::Stored,
            Self::F32 => Precision::F32,
            Self::F16 => Precision::F16,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

impl Spacing {
    /// What overrules the model.
    pub fn chosen(self) -> Option<TimestepSpacing> {
        match self {
            Self::Model => None,
            Self::Leading => Some(TimestepSpacing::Leading),
            Self::Trailing => Some(TimestepSpacing::Trailing),
            Self::Linspace => Some(TimestepSpacing::Linspace),
        }
    }
}
