//! Why a network can't be built, or can't take an input.

use troupe_nn::NnError;

use crate::config::ConfigError;
use crate::weights::WeightsError;

/// Why a network can't be built, or can't take an input.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Its configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its weights can't be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A layer refuses its weights or its input.
    #[error(transparent)]
    Layer(#[from] NnError),
    /// The tensor library failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// The network can't take this input.
    #[error("the {what} is {found}, and {wanted} was wanted")]
    Input {
        /// What was handed over.
        what: &'static str,
        /// What was wanted.
        wanted: String,
        /// What was there.
        found: String,
    },
}
