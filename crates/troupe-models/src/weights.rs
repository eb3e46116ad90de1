//! The tensors of one network, read from the bytes of one safetensors file or several.
//!
//! [`Weights::new`] checks the whole header; the files themselves are never copied. A network may
//! be a part of a file under other names, as in a single-file checkpoint: then every tensor is a
//! view of one in the file. [`Weights::get`]
//! turns one tensor into f32 on the CPU, checks that every number of it is finite, and makes of it
//! what the LoRAs say ([`AdapterSet`]), so that a network need not know about LoRAs. [`Weights::stored`] gives it in the
//! precision in which it is to be kept.

mod bound;
mod file;
mod header;
mod made;
mod precision;
mod shards;
mod view;

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use safetensors::Dtype;

pub(crate) use self::bound::BoundUpdate;
use self::file::Stored;
pub(crate) use self::file::TensorFile;
pub(crate) use self::header::{Entry, printable};
pub use self::precision::Precision;
pub use self::shards::ShardIndex;
pub(crate) use self::view::{Part, View};
use crate::lora::AdapterSet;

/// The bytes of a file: a memory map, or a `Vec<u8>`.
pub type Bytes = Arc<dyn Contents>;

/// The bytes of a file.
pub trait Contents: AsRef<[u8]> + Send + Sync {
    /// Says that these bytes have been read and won't be again soon, so that memory which the file can fill anew may go.
    fn release(&self, range: Range<usize>) {
        let _: Range<usize> = range;
    }
}

impl Contents for Vec<u8> {}

/// The tensors under one path of a network; a clone shares the file.
///
/// [`Weights::at`] goes down the path, as candle's `VarBuilder` does.
#[derive(Clone)]
pub struct Weights {
    set: Arc<TensorSet>,
    adapters: Arc<AdapterSet>,
    /// LoRAs that are bound to subjects.
    bound: Arc<Vec<AdapterSet>>,
    /// The layers that are made of them, if they are remembered.
    made: Option<Arc<made::Made>>,
    /// In which large tensors are kept.
    precision: Precision,
    /// Invariant: empty, or ends with a dot.
    prefix: String,
}

/// All tensors of a network, by the names that the network has for them.
pub(crate) struct TensorSet {
    /// Of the file, or of the first of several.
    name: String,
    tensors: BTreeMap<String, View>,
}

/// A module of a network as the header of its file shows it: a name and a weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The path of the module, without `.weight`.
    pub name: String,
    /// The shape of its weight, outputs first.
    pub shape: Vec<usize>,
    /// The shape of its bias, where it has one.
    pub bias: Option<Vec<usize>>,
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
    /// A LoRA makes a number of a weight infinite or none.
    #[error("`{file}` makes `{weight}` of the model NaN or infinite")]
    Overflow {
        /// The name of the LoRA's file.
        file: String,
        /// The weight.
        weight: String,
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
            | Self::Overflow { .. }
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
        Ok(Self::of(file.name().to_owned(), TensorSet::all_of(&file)))
    }

    /// A network whose tensors lie anywhere.
    pub(crate) fn of(name: String, tensors: BTreeMap<String, View>) -> Self {
        let set = Arc::new(TensorSet { name, tensors });
        let (adapters, bound, prefix) = (Arc::default(), Arc::default(), String::new());
        Self { set, adapters, bound, made: None, precision: Precision::default(), prefix }
    }

    /// The same tensors, changed by LoRAs as they are read.
    #[must_use]
    pub fn with_adapters(self, adapters: AdapterSet) -> Self {
        Self { made: self.still_made(&adapters), adapters: Arc::new(adapters), ..self }
    }

    /// The LoRAs by which they are changed as they are read.
    pub fn adapters(&self) -> &AdapterSet {
        &self.adapters
    }

    /// The same tensors, with the deltas of another LoRA after those that they have.
    #[must_use]
    pub fn with_more(self, deltas: AdapterSet) -> Self {
        let adapters = self.adapters.joined(deltas);
        self.with_adapters(adapters)
    }

    /// The same tensors, with LoRAs that are added where their subjects are, and not to the weights.
    #[must_use]
    pub fn with_bound(self, loras: Vec<AdapterSet>) -> Self {
        Self { bound: Arc::new(loras), ..self }
    }

    /// The LoRAs that are added where their subjects are.
    pub fn bound_adapters(&self) -> &[AdapterSet] {
        &self.bound
    }

    /// The tensors under `name`, a part of a path: `weights.at("down_blocks").at(0)`.
    #[must_use]
    pub fn at(&self, name: impl Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// The tensor `name` as LoRAs change it, as f32 on the CPU.
    ///
    /// # Errors
    ///
    /// If it is missing, of another shape, of integers, or not finite.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        self.get_optional(name, shape)?.ok_or_else(|| WeightsError::Missing {
            file: self.set.name.clone(),
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
        let Some((key, view)) = self.view(name, shape)? else { return Ok(None) };
        let values = self.adapters.merge(&key, shape, view.stored()?.widened())?;
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu);
        tensor.map(Some).map_err(|source| view.file.tensor_error(&view.key, source))
    }

    /// As [`Weights::get`], in the precision in which it is to be kept.
    ///
    /// # Errors
    ///
    /// As [`Weights::get`].
    pub fn stored(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let Some((key, view)) = self.view(name, shape)? else { return self.get(name, shape) };
        let mut stored = view.stored()?;
        if self.adapters.changes(&key) {
            stored = Stored::F32(self.adapters.merge(&key, shape, stored.widened())?);
        }
        let tensor = stored.kept_in(self.precision).into_tensor(shape);
        tensor.map_err(|source| view.file.tensor_error(&view.key, source))
    }

    /// The full name of a tensor and where it lies, if the file has it.
    fn view(&self, name: &str, shape: &[usize]) -> Result<Option<(String, &View)>, WeightsError> {
        let key = self.key(name);
        let Some(view) = self.set.tensors.get(&key) else { return Ok(None) };
        if view.shape == shape {
            return Ok(Some((key, view)));
        }
        Err(WeightsError::Shape {
            file: view.file.name().to_owned(),
            key: printable(&view.key, 200),
            wanted: shape.to_vec(),
            found: view.shape.clone(),
        })
    }

    /// Whether the file has the tensor `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.set.tensors.contains_key(&self.key(name))
    }

    /// The shape of the tensor `name`, where the file has it.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.set.tensors.get(&self.key(name)).map(|view| view.shape.as_slice())
    }

    /// The modules with a weight, by name; nothing but the header is read.
    ///
    /// Names are full, whatever the path of `self`.
    pub fn modules(&self) -> Vec<Module> {
        let of = |(key, view): (&String, &View)| {
            let name = key.strip_suffix(".weight")?;
            let bias = self.set.tensors.get(&format!("{name}.bias"));
            Some(Module {
                name: name.to_owned(),
                shape: view.shape.clone(),
                bias: bias.map(|view| view.shape.clone()),
            })
        };
        self.set.tensors.iter().filter_map(of).collect()
    }

    /// The full names of all tensors, in order.
    pub fn names(&self) -> Vec<String> {
        self.set.tensors.keys().cloned().collect()
    }

    /// The name of the file, for messages.
    pub fn file_name(&self) -> &str {
        &self.set.name
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("file", &self.set.name)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl TensorSet {
    /// The tensors of a file under their own names.
    fn all_of(file: &Arc<TensorFile>) -> BTreeMap<String, View> {
        let view = |(key, entry): (&String, &Entry)| (key.clone(), View::whole(file, key, entry));
        file.header().tensors.iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests;
