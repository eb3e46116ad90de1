//! What can go wrong between a layout and its picture.

use troupe_models::checkpoint::ModelIndexError;
use troupe_models::config::ConfigError;
use troupe_models::embedding::EmbeddingError;
use troupe_models::error::ModelError;
use troupe_models::lora::LoraError;
use troupe_models::single_file::SingleFileError;
use troupe_models::tokenizer::TokenizerError;
use troupe_models::unet::{UNetConfigError, UNetError};
use troupe_models::weights::{Blame, WeightsError};
use troupe_sampler::{ConfigError as SchedulerError, ScheduleError};

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The pipeline isn't one that we know.
    #[error(transparent)]
    Index(#[from] ModelIndexError),
    /// A configuration beside the weights can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration of the UNet can't be used.
    #[error(transparent)]
    UNetConfig(#[from] UNetConfigError),
    /// The scheduler's configuration can't be used.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    /// The tokenizer can't be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A weight file can't be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The text encoder or the autoencoder failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The UNet failed.
    #[error(transparent)]
    UNet(#[from] UNetError),
    /// A textual inversion can't be used.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    /// A checkpoint in one file can't be used.
    #[error(transparent)]
    SingleFile(#[from] SingleFileError),
    /// A LoRA can't be used.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// The parts of a model don't belong together.
    #[error("the parts of the model don't fit: {0}")]
    Mismatch(String),
    /// The sampler can't take so many steps.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Given noise has another shape.
    #[error("noise `{name}` has shape {found:?}, and {wanted:?} was wanted")]
    Noise {
        /// Its name in the file.
        name: &'static str,
        /// What was wanted.
        wanted: Vec<usize>,
        /// What was there.
        found: Vec<usize>,
    },
    /// A repainting that paints nothing.
    #[error(
        "the mask covers nothing that can be painted anew; a square of 8 x 8 pixels counts by its top left one"
    )]
    NothingAnew,
    /// Numbers came to nothing on the way.
    #[error(
        "{place} has NaN or infinity in it, so there is no picture; all is computed in single \
         precision, so a prompt, a LoRA or guidance is too strong, or the model is broken"
    )]
    NotFinite {
        /// What was computed, of which prompt or in which step.
        place: String,
    },
    /// The picture isn't one.
    #[error(
        "the painted picture is of one colour all over, so it is thrown away; another seed or other settings may help"
    )]
    Flat,
    /// An operation on tensors failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Whoever watches said stop, and why.
    #[error("stopped: {0}")]
    Stopped(String),
}

impl RenderError {
    /// Whether the cause is a file of a model or LoRA, and whether it was refused by policy.
    pub fn blame(&self) -> Option<Blame> {
        match self {
            Self::Lora(error) => Some(error.blame()),
            Self::Weights(error)
            | Self::UNet(UNetError::Weights(error))
            | Self::Model(ModelError::Weights(error))
            | Self::Embedding(EmbeddingError::Weights(error))
            | Self::SingleFile(SingleFileError::Weights(error)) => Some(error.blame()),
            Self::Index(_)
            | Self::Config(_)
            | Self::UNetConfig(_)
            | Self::Scheduler(_)
            | Self::Tokenizer(_)
            | Self::Embedding(_)
            | Self::SingleFile(_)
            | Self::Mismatch(_) => Some(Blame::Asset),
            Self::Model(_)
            | Self::UNet(_)
            | Self::Schedule(_)
            | Self::Noise { .. }
            | Self::NothingAnew
            | Self::NotFinite { .. }
            | Self::Flat
            | Self::Candle(_)
            | Self::Stopped(_) => None,
        }
    }
}
