//! Where a tensor of a network lies: all of one in a file, or a part of it, under another name and shape.

use std::sync::Arc;

use super::file::Stored;
use super::{Entry, TensorFile, WeightsError};

/// A tensor of a network, and where it lies.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) file: Arc<TensorFile>,
    /// Its name in the file.
    pub(crate) key: String,
    /// As the network sees it.
    pub(crate) shape: Vec<usize>,
    pub(crate) part: Part,
}

/// How a tensor of a network is made from one in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of its numbers in their order; the shape may be another.
    Whole,
    /// So many numbers, from this one on.
    Slice {
        /// The first number.
        start: usize,
    },
    /// A matrix with rows and columns exchanged.
    Transposed,
}

impl View {
    /// A tensor as it is.
    pub(crate) fn whole(file: &Arc<TensorFile>, key: &str, entry: &Entry) -> Self {
        Self {
            file: Arc::clone(file),
            key: key.to_owned(),
            shape: entry.shape.clone(),
            part: Part::Whole,
        }
    }

    /// The numbers, in the order of the network's shape.
    pub(super) fn stored(&self) -> Result<Stored, WeightsError> {
        let count: usize = self.shape.iter().product();
        match self.part {
            Part::Whole => self.file.stored_from(&self.key, 0, count),
            Part::Slice { start } => self.file.stored_from(&self.key, start, count),
            Part::Transposed => {
                let values = self.file.required_values(&self.key)?;
                let [rows, columns] =
                    <[usize; 2]>::try_from(self.shape.as_slice()).unwrap_or([0; 2]);
                let at = |index: usize| values.get(index).copied().unwrap_or(f32::NAN);
                let row = |row| (0..columns).map(move |column| column * rows + row);
                Ok(Stored::F32((0..rows).flat_map(row).map(at).collect()))
            }
        }
    }
}
