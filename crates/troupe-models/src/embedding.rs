//! Textual inversions (Gal et al. 2022, arXiv:2208.01618): words that were learned as vectors.
//!
//! Three kinds of safetensors files hold them: the web UI's, with one tensor `emb_params`; those for
//! SDXL, with `clip_l` and `clip_g` for the two text encoders; and diffusers', with one tensor
//! under the word itself.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::weights::{Bytes, TensorFile, WeightsError, printable};

/// The most vectors of one word, which have to fit into one chunk.
const MOST_VECTORS: usize = 75;

/// A learned word, and its vectors for each text encoder.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// What a prompt says.
    pub word: String,
    /// The name of its file.
    pub file: String,
    /// In the order of the text encoders: `(vectors, width)` each.
    pub vectors: Vec<Tensor>,
}

/// Why a file is no textual inversion for a model.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddingError {
    /// It can't be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// It is something else.
    #[error(
        "`{file}` is no textual inversion: it has {found}, and `emb_params`, or `clip_l` and `clip_g`, or one tensor alone was wanted"
    )]
    Other {
        /// The name of the file.
        file: String,
        /// What there is.
        found: String,
    },
    /// A tensor of another shape than vectors have.
    #[error(
        "`{file}` has a tensor `{key}` of shape {found:?}, and 1 to {MOST_VECTORS} vectors were wanted"
    )]
    Shape {
        /// The name of the file.
        file: String,
        /// The tensor.
        key: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// It is for another model.
    #[error(
        "`{file}` was made for another model: its vectors have widths {found:?}, and the text encoders have {wanted:?}"
    )]
    Width {
        /// The name of the file.
        file: String,
        /// The widths in the file.
        found: Vec<usize>,
        /// Those of the text encoders.
        wanted: Vec<usize>,
    },
}

impl Embedding {
    /// Reads a file; `word` is what stands for it in prompts, in most cases the name of the file.
    ///
    /// # Errors
    ///
    /// If it is broken, or something else.
    pub fn read(word: &str, file_name: &str, bytes: Bytes) -> Result<Self, EmbeddingError> {
        let file = Arc::new(TensorFile::new(file_name, bytes)?);
        let tensors = &file.header().tensors;
        let has = |key: &str| tensors.contains_key(key);
        let keys: Vec<&str> = if has("clip_l") && has("clip_g") {
            vec!["clip_l", "clip_g"]
        } else if has("emb_params") {
            vec!["emb_params"]
        } else if let (Some(key), 1) = (tensors.keys().next(), tensors.len()) {
            vec![key]
        } else {
            let names: Vec<&str> = tensors.keys().take(3).map(String::as_str).collect();
            let found = format!("{} tensors ({})", tensors.len(), names.join(", "));
            let found = printable(&found, 200);
            return Err(EmbeddingError::Other { file: file.name().to_owned(), found });
        };
        let vectors = keys.into_iter().map(|key| vectors(&file, key));
        let vectors = vectors.collect::<Result<_, _>>()?;
        Ok(Self { word: word.to_owned(), file: file.name().to_owned(), vectors })
    }

    /// Whether the vectors are as wide as the text encoders of a model.
    ///
    /// # Errors
    ///
    /// If they aren't.
    pub fn fits(&self, wanted: &[usize]) -> Result<(), EmbeddingError> {
        let widths = self.vectors.iter().map(|it| it.dims().last().copied().unwrap_or(0));
        let found: Vec<usize> = widths.collect();
        if found == wanted {
            return Ok(());
        }
        let (file, wanted) = (self.file.clone(), wanted.to_vec());
        Err(EmbeddingError::Width { file, found, wanted })
    }
}

fn vectors(file: &TensorFile, key: &str) -> Result<Tensor, EmbeddingError> {
    let shape = file.entry(key).map_or(&[][..], |entry| entry.shape.as_slice());
    let (count, width) = match *shape {
        [width] => (1, width),
        [count, width] => (count, width),
        _ => (0, 0),
    };
    if !(1..=MOST_VECTORS).contains(&count) || width == 0 {
        return Err(EmbeddingError::Shape {
            file: file.name().to_owned(),
            key: printable(key, 200),
            found: shape.to_vec(),
        });
    }
    let values = file.required_values(key)?;
    Tensor::from_vec(values, (count, width), &Device::Cpu)
        .map_err(|source| file.tensor_error(key, source).into())
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView, serialize};

    use super::*;

    fn read(tensors: &[(&str, &[usize])]) -> Result<Embedding, EmbeddingError> {
        let zeros = vec![0; 4096];
        let view = |&(name, shape): &(&'static str, &[usize])| {
            let count: usize = shape.iter().product();
            (name, TensorView::new(Dtype::F16, shape.to_vec(), &zeros[..2 * count]).unwrap())
        };
        let named: Vec<(&'static str, &[usize])> =
            tensors.iter().map(|&(name, shape)| (&*String::leak(name.to_owned()), shape)).collect();
        let bytes = serialize(named.iter().map(view), None).unwrap();
        Embedding::read("word", "word.safetensors", Arc::new(bytes))
    }

    #[test]
    fn three_kinds_of_files_are_read() {
        let shapes = |tensors: &[(&str, &[usize])]| {
            let vectors = read(tensors).unwrap().vectors;
            vectors.iter().map(|it| it.dims().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(shapes(&[("emb_params", &[2, 8])]), [[2, 8]]);
        assert_eq!(shapes(&[("clip_g", &[3, 12]), ("clip_l", &[3, 8])]), [[3, 8], [3, 12]]);
        assert_eq!(shapes(&[("<word>", &[8])]), [[1, 8]]);
    }

    #[test]
    fn others_are_refused() {
        let says = |tensors: &[(&str, &[usize])], text: &str| {
            let error = read(tensors).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("`word.safetensors`"), "{error}");
        };
        says(&[("a", &[1]), ("b", &[1])], "2 tensors (a, b)");
        says(&[], "0 tensors");
        says(&[("emb_params", &[76, 2])], "1 to 75 vectors");
        says(&[("emb_params", &[0, 2])], "1 to 75 vectors");
        says(&[("emb_params", &[2, 2, 2])], "[2, 2, 2]");
        let embedding = read(&[("emb_params", &[2, 8])]).unwrap();
        embedding.fits(&[8]).unwrap();
        let error = embedding.fits(&[8, 12]).unwrap_err().to_string();
        assert!(error.contains("made for another model: its vectors have widths [8]"), "{error}");
        let pickle = Embedding::read("word", "word.pt", Arc::new(b"PK\x03\x04....".to_vec()));
        assert!(matches!(pickle, Err(EmbeddingError::Weights(WeightsError::Pickle { .. }))));
    }
}
