//! What can be wrong with the tensors that a layer is given.

/// Why a layer can't be made, or can't take an input.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    /// A tensor has another shape than the layer needs.
    #[error("{what}: expected {expected}, got {found:?}")]
    Shape {
        /// The tensor, for instance "input of conv2d".
        what: &'static str,
        /// The shape that was wanted, in words.
        expected: String,
        /// The shape that was there.
        found: Vec<usize>,
    },
    /// A setting that no layer can have, such as a stride of zero.
    #[error("{what} must be {expected}, got {found}")]
    Setting {
        /// The setting, for instance "stride of conv2d".
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it was.
        found: usize,
    },
    /// Candle refused an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl NnError {
    /// A shape error about `what`.
    pub(crate) fn shape(what: &'static str, expected: impl Into<String>, found: &[usize]) -> Self {
        Self::Shape { what, expected: expected.into(), found: found.to_vec() }
    }
}
