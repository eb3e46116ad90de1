//! The tensors of one network, read from the bytes of a safetensors file.
//!
//! [`Weights::new`] checks the whole header; the file itself is never copied. [`Weights::get`]
//! turns one tensor into f32 on the CPU, checks that every number of it is finite, and adds what
//! the LoRAs say about it ([`AdapterSet`]), so that a network need not know about LoRAs.

mod header;

use std::fmt::{self, Display};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

pub(crate) use self::header::printable;
use self::header::{Entry, Header};
use crate::lora::AdapterSet;

/// The bytes of a file: a memory map, or a `Vec<u8>`.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// How many elements are converted at a time.
const CHUNK: usize = 1024;

/// The tensors under one path of a network; a clone shares the file.
///
/// [`Weights::at`] goes down the path, as candle's `VarBuilder` does.
#[derive(Clone)]
pub struct Weights {
    file: Arc<TensorFile>,
    adapters: Arc<AdapterSet>,
    /// Invariant: empty, or ends with a dot.
    prefix: String,
}

/// A file whose header has been checked.
pub(crate) struct TensorFile {
    name: String,
    bytes: Bytes,
    header: Header,
}

/// A module of a network as the header of its file shows it: a name and a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The path of the module, without `.weight`.
    pub name: String,
    /// The shape of its weight, outputs first.
    pub shape: Vec<usize>,
}

/// Why weights can't be read.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file is a pickle, which runs code when it is read.
    #[error(
        "`{file}` is {sign}, and pickles are never read because they can run code; where you \
         trust its source, convert it with: python3 -c \"import sys, torch; from \
         safetensors.torch import save_file; d = torch.load(sys.argv[1], map_location='cpu', \
         weights_only=True); d = d.get('state_dict', d); save_file({{k: v.contiguous() for k, v in \
         d.items() if torch.is_tensor(v)}}, sys.argv[2])\" OLD_FILE NEW_FILE.safetensors"
    )]
    Pickle {
        /// The name of the file.
        file: String,
        /// What shows that it is one.
        sign: &'static str,
    },
    /// The file is damaged, truncated or lies about itself.
    #[error("`{file}` {rule}")]
    Corrupt {
        /// The name of the file.
        file: String,
        /// What is wrong with it.
        rule: String,
    },
    /// The network wants a tensor that the file doesn't have.
    #[error("`{file}` has no tensor `{key}`; one of shape {wanted:?} was wanted")]
    Missing {
        /// The name of the file.
        file: String,
        /// The full name of the tensor.
        key: String,
        /// The shape that the network wants.
        wanted: Vec<usize>,
    },
    /// The network wants a tensor of another shape.
    #[error("`{file}` has a tensor `{key}` of shape {found:?}, and {wanted:?} was wanted")]
    Shape {
        /// The name of the file.
        file: String,
        /// The full name of the tensor.
        key: String,
        /// The shape that the network wants.
        wanted: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// The tensor is not one of floating-point numbers that we read.
    #[error("`{file}` has a tensor `{key}` of type {found}, and F16, BF16 or F32 was wanted")]
    Dtype {
        /// The name of the file.
        file: String,
        /// The full name of the tensor.
        key: String,
        /// The type in the file.
        found: Dtype,
    },
    /// A number of the tensor is infinite or none.
    #[error("`{file}` has a tensor `{key}` with NaN or infinity in it")]
    NotFinite {
        /// The name of the file.
        file: String,
        /// The full name of the tensor.
        key: String,
    },
    /// The tensor library failed.
    #[error("`{key}` of `{file}` could not be made into a tensor")]
    Tensor {
        /// The name of the file.
        file: String,
        /// The full name of the tensor.
        key: String,
        /// What the library says.
        #[source]
        source: Box<candle_core::Error>,
    },
}

/// What a caller does about a file that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The asset is damaged, or is not for this model (exit code 3).
    Asset,
    /// We refuse to read it at all (exit code 6).
    Policy,
}

impl WeightsError {
    /// Whether the file is bad, or refused by policy.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Pickle { .. } => Blame::Policy,
            Self::Corrupt { .. }
            | Self::Missing { .. }
            | Self::Shape { .. }
            | Self::Dtype { .. }
            | Self::NotFinite { .. }
            | Self::Tensor { .. } => Blame::Asset,
        }
    }
}

impl Weights {
    /// Checks the header of a safetensors file; the name is for messages only.
    ///
    /// # Errors
    ///
    /// If the bytes are a pickle, or no whole and consistent safetensors file.
    pub fn new(file_name: &str, bytes: Bytes) -> Result<Self, WeightsError> {
        let file = Arc::new(TensorFile::new(file_name, bytes)?);
        Ok(Self { file, adapters: Arc::default(), prefix: String::new() })
    }

    /// The same tensors, with the deltas of LoRAs added as they are read.
    #[must_use]
    pub fn with_adapters(self, deltas: AdapterSet) -> Self {
        Self { adapters: Arc::new(deltas), ..self }
    }

    /// The tensors under `name`, a part of a path: `weights.at("down_blocks").at(0)`.
    #[must_use]
    pub fn at(&self, name: impl Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// The tensor `name` with its LoRA deltas, as f32 on the CPU.
    ///
    /// # Errors
    ///
    /// If it is missing, of another shape, of integers, or not finite.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        self.get_optional(name, shape)?.ok_or_else(|| WeightsError::Missing {
            file: self.file.name.clone(),
            key: self.key(name),
            wanted: shape.to_vec(),
        })
    }

    /// As [`Weights::get`], and `None` where the file has no such tensor.
    ///
    /// # Errors
    ///
    /// If it is there and of another shape, of integers, or not finite.
    pub fn get_optional(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Option<Tensor>, WeightsError> {
        let key = self.key(name);
        let Some(entry) = self.file.entry(&key) else { return Ok(None) };
        if entry.shape != shape {
            return Err(WeightsError::Shape {
                file: self.file.name.clone(),
                key,
                wanted: shape.to_vec(),
                found: entry.shape.clone(),
            });
        }
        let values = self.file.values(&key, entry)?;
        let weight = Tensor::from_vec(values, shape, &Device::Cpu)
            .map_err(|source| self.file.tensor_error(&key, source))?;
        self.adapters.add_to(&key, weight).map(Some)
    }

    /// Whether the file has the tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.file.entry(&self.key(name)).is_some()
    }

    /// The shape of the tensor `name`, where the file has it.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.file.entry(&self.key(name)).map(|entry| entry.shape.as_slice())
    }

    /// The modules with a matrix or a convolution kernel, by name; nothing but the header is read.
    ///
    /// Names are full, whatever the path of `self`.
    pub fn modules(&self) -> Vec<Module> {
        let of = |(key, entry): (&String, &Entry)| {
            let name = key.strip_suffix(".weight").filter(|_| 2 <= entry.shape.len())?;
            Some(Module { name: name.to_owned(), shape: entry.shape.clone() })
        };
        self.file.header.tensors.iter().filter_map(of).collect()
    }

    /// The name of the file, for messages.
    pub fn file_name(&self) -> &str {
        &self.file.name
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("file", &self.file.name)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl TensorFile {
    pub(crate) fn new(name: &str, bytes: Bytes) -> Result<Self, WeightsError> {
        let header = Header::read(name, (*bytes).as_ref())?;
        Ok(Self { name: printable(name, 200), bytes, header })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.header.tensors.get(key)
    }

    /// The elements of a tensor that must be there.
    pub(crate) fn required_values(&self, key: &str) -> Result<Vec<f32>, WeightsError> {
        let entry = self.entry(key).ok_or_else(|| WeightsError::Missing {
            file: self.name.clone(),
            key: printable(key, 200),
            wanted: Vec::new(),
        })?;
        self.values(key, entry)
    }

    /// The one number of a tensor, which may be an integer.
    pub(crate) fn scalar(&self, key: &str) -> Result<f64, WeightsError> {
        let rule = || WeightsError::Corrupt {
            file: self.name.clone(),
            rule: format!(
                "has a tensor `{}`, and one finite number was wanted",
                printable(key, 200)
            ),
        };
        let entry = self.entry(key).ok_or_else(rule)?;
        let bytes = self.slice(entry)?;
        let exact = |integer: i64| i32::try_from(integer).ok().map(f64::from);
        let value = if entry.dtype == Dtype::I64 {
            bytes.try_into().ok().map(i64::from_le_bytes).and_then(exact)
        } else if entry.dtype == Dtype::I32 {
            bytes.try_into().ok().map(i32::from_le_bytes).map(f64::from)
        } else if entry.dtype == Dtype::F64 {
            bytes.try_into().ok().map(f64::from_le_bytes)
        } else if let [value] = self.values(key, entry)?.as_slice() {
            Some(f64::from(*value))
        } else {
            None
        };
        value.filter(|value| value.is_finite()).ok_or_else(rule)
    }

    /// The error for a failure of the tensor library.
    pub(crate) fn tensor_error(&self, key: &str, source: candle_core::Error) -> WeightsError {
        WeightsError::Tensor {
            file: self.name.clone(),
            key: printable(key, 200),
            source: Box::new(source),
        }
    }

    /// The bytes of a tensor.
    fn slice(&self, entry: &Entry) -> Result<&[u8], WeightsError> {
        // The header was checked against these bytes, and a map of a file could have shrunk since.
        (*self.bytes).as_ref().get(entry.range.clone()).ok_or_else(|| WeightsError::Corrupt {
            file: self.name.clone(),
            rule: "became shorter while it was read".to_owned(),
        })
    }

    /// The elements of a tensor as f32, all of them finite.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else the format has or will have is refused"
    )]
    pub(crate) fn values(&self, key: &str, entry: &Entry) -> Result<Vec<f32>, WeightsError> {
        let bytes = self.slice(entry)?;
        let values = match entry.dtype {
            Dtype::F32 => elements(bytes, f32::from_le_bytes).collect(),
            Dtype::F16 => widen(bytes, f16::from_le_bytes),
            Dtype::BF16 => widen(bytes, bf16::from_le_bytes),
            found => {
                return Err(WeightsError::Dtype {
                    file: self.name.clone(),
                    key: printable(key, 200),
                    found,
                });
            }
        };
        // No early exit, so that the loop over a chunk is a few vector instructions.
        let finite =
            |chunk: &[f32]| chunk.iter().fold(true, |finite, value| finite & value.is_finite());
        if !values.chunks(CHUNK).all(finite) {
            return Err(WeightsError::NotFinite {
                file: self.name.clone(),
                key: printable(key, 200),
            });
        }
        Ok(values)
    }
}

/// The numbers that little-endian bytes hold, wherever in memory they begin.
fn elements<'a, const SIZE: usize, T>(
    bytes: &'a [u8],
    from: impl Fn([u8; SIZE]) -> T + 'a,
) -> impl Iterator<Item = T> + 'a {
    bytes.as_chunks::<SIZE>().0.iter().map(move |&element| from(element))
}

/// Sixteen-bit numbers as f32, a chunk at a time so that vector instructions do it.
fn widen<T: Copy>(bytes: &[u8], from: impl Fn([u8; 2]) -> T) -> Vec<f32>
where
    [T]: HalfFloatSliceExt,
{
    let mut values = Vec::with_capacity(bytes.len().div_ceil(2));
    let mut narrow = Vec::with_capacity(CHUNK);
    for chunk in bytes.chunks(2 * CHUNK) {
        narrow.clear();
        narrow.extend(elements(chunk, &from));
        let start = values.len();
        values.resize(start + narrow.len(), 0.0);
        narrow.convert_to_f32_slice(&mut values[start..]);
    }
    values
}

#[cfg(test)]
mod tests;
