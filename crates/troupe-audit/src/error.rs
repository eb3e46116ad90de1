//! What can go wrong between a picture and the verdict on it.

use troupe_models::config::ConfigError;
use troupe_models::error::ModelError;
use troupe_models::tokenizer::TokenizerError;
use troupe_models::weights::{Blame, WeightsError};
use troupe_nn::NnError;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The configuration isn't JSON, or not that of a judge.
    #[error("`{file}` can't be read as the configuration of a judge")]
    Json {
        /// The name of the file.
        file: String,
        /// What the parser says, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// The configuration says something that no judge can have.
    #[error("`{file}` has {key} {found}, and {wanted} was wanted")]
    Setting {
        /// The name of the file.
        file: String,
        /// The key.
        key: String,
        /// What was wanted.
        wanted: String,
        /// What was there.
        found: String,
    },
    /// A file beside the weights can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A model can't be built, or can't take its input.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tokenizer can't be made or used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The weights can't be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A layer refuses its weights or its input.
    #[error(transparent)]
    Layer(#[from] NnError),
    /// The tensor library failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// The bytes of a picture don't fit its size.
    #[error("a picture of {width}x{height} pixels has {found} bytes, and {wanted} were wanted")]
    Picture {
        /// Its width in pixels.
        width: usize,
        /// Its height in pixels.
        height: usize,
        /// How many bytes it should have.
        wanted: usize,
        /// How many it has.
        found: usize,
    },
}

impl AuditError {
    /// Whether the file is bad, or refused by policy.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Weights(error) | Self::Model(ModelError::Weights(error)) => error.blame(),
            Self::Json { .. }
            | Self::Config(_)
            | Self::Model(_)
            | Self::Tokenizer(_)
            | Self::Setting { .. }
            | Self::Layer(_)
            | Self::Tensor(_)
            | Self::Picture { .. } => Blame::Asset,
        }
    }
}
