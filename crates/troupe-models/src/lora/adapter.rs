//! Takes a LoRA file apart into modules.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::LoraError;
use super::alpha::{Alpha, Alphas};
use super::names::{self, Dialect, Part, Target};
use crate::weights::{Bytes, TensorFile, printable};

/// How many of the tensors that don't fit a message shows.
const SHOWN: usize = 5;

/// A LoRA file, taken apart; its matrices are checked, and stay in the file.
pub struct Adapter {
    pub(super) file: Arc<TensorFile>,
    pub(super) modules: Vec<AdapterModule>,
    pub(super) dialects: BTreeSet<Dialect>,
}

/// The update of one module.
///
/// Invariant: `down` and `up` are tensors of the file, `(rank, in, …)` and `(out, rank, …)`.
#[derive(Debug)]
pub(super) struct AdapterModule {
    pub(super) target: Target,
    pub(super) down: String,
    pub(super) up: String,
    pub(super) alpha_key: Option<String>,
    /// Invariant: at least 1.
    pub(super) rank: usize,
    pub(super) alpha: Alpha,
}

/// The tensors of a module, as they are found one by one.
#[derive(Default)]
struct Found {
    down: Option<String>,
    up: Option<String>,
    alpha: Option<String>,
}

/// Tensors that have no place, each with the reason.
#[derive(Default)]
pub(super) struct Unmatched(BTreeMap<String, String>);

impl Adapter {
    /// Reads a LoRA in the spelling of kohya, peft or diffusers; the name is for messages only.
    ///
    /// `adapter_config` is the text of the `adapter_config.json` beside a file of peft.
    ///
    /// # Errors
    ///
    /// If the bytes are no valid safetensors file, any of its tensors is not of a LoRA, or any number in them is not finite.
    pub fn read(
        file_name: &str,
        bytes: Bytes,
        adapter_config: Option<&str>,
    ) -> Result<Self, LoraError> {
        let file = Arc::new(TensorFile::new(file_name, bytes)?);
        let invalid = |rule: String| LoraError::Invalid { file: file.name().to_owned(), rule };
        if file.header().tensors.is_empty() {
            return Err(invalid("has no tensors".to_owned()));
        }
        let alphas = Alphas::read(&file.header().metadata, adapter_config).map_err(invalid)?;

        let mut unmatched = Unmatched::default();
        let mut dialects = BTreeSet::new();
        let mut found: BTreeMap<Target, Found> = BTreeMap::new();
        for key in file.header().tensors.keys() {
            let (target, part, dialect) = match names::parse(key) {
                Ok(parsed) => parsed,
                Err(reason) => {
                    unmatched.add(key, reason);
                    continue;
                }
            };
            dialects.insert(dialect);
            let found = found.entry(target).or_default();
            let place = match part {
                Part::Down => &mut found.down,
                Part::Up => &mut found.up,
                Part::Alpha => &mut found.alpha,
            };
            if let Some(other) = place.replace(key.clone()) {
                let other = printable(&other, 200);
                unmatched.add(key, format!("the same matrix as `{other}`"));
            }
        }
        let mut modules = Vec::new();
        for (target, found) in found {
            match found.module(target, &file, &alphas)? {
                Ok(module) => modules.push(module),
                Err((keys, reason)) => {
                    for key in keys {
                        unmatched.add(&key, reason.as_str());
                    }
                }
            }
        }
        unmatched.check(&file)?;
        // Once here, and not where a weight is read, by which time much has been loaded and computed.
        for key in modules.iter().flat_map(|module| [&module.down, &module.up]) {
            file.check_values(key)?;
        }
        Ok(Self { file, modules, dialects })
    }

    /// The name of the file, for messages.
    pub fn file_name(&self) -> &str {
        self.file.name()
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("file", &self.file.name())
            .field("modules", &self.modules.len())
            .finish_non_exhaustive()
    }
}

/// Tensors that have no place, and why.
type Misfit = (Vec<String>, String);

impl Found {
    /// The module, or the tensors of it that have no place and why; the outer error is of the file.
    fn module(
        self,
        target: Target,
        file: &TensorFile,
        alphas: &Alphas,
    ) -> Result<Result<AdapterModule, Misfit>, LoraError> {
        let (down, up) = match (self.down, self.up) {
            (Some(down), Some(up)) => (down, up),
            (down, up) => {
                let keys = [down, up, self.alpha].into_iter().flatten().collect();
                return Ok(Err((keys, "its module lacks one of the two matrices".to_owned())));
            }
        };
        let shape = |key: &str| file.entry(key).map_or(&[][..], |entry| entry.shape.as_slice());
        let (down_shape, up_shape) = (shape(&down), shape(&up));
        let rank = match (down_shape, up_shape) {
            (&[rank, _, ..], &[_, other, ..]) if rank == other && 0 < rank => rank,
            _ => {
                let reason = format!(
                    "shapes {down_shape:?} and {up_shape:?} have no rank in common, and (rank, in) \
                     and (out, rank) were wanted"
                );
                return Ok(Err((vec![down, up], reason)));
            }
        };
        let beside = match &self.alpha {
            None => None,
            Some(key) => Some(file.scalar(key)?),
        };
        Ok(match alphas.of(&target, rank, beside) {
            Ok(alpha) => Ok(AdapterModule { target, down, up, alpha_key: self.alpha, rank, alpha }),
            Err(reason) => Err((vec![down, up], reason)),
        })
    }
}

impl AdapterModule {
    /// Its tensors in the file.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        [Some(&self.down), Some(&self.up), self.alpha_key.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

impl Unmatched {
    /// The first reason of a tensor stands.
    pub(super) fn add(&mut self, key: &str, reason: impl Into<String>) {
        if let Slot::Vacant(slot) = self.0.entry(key.to_owned()) {
            slot.insert(reason.into());
        }
    }

    /// The error that lists the tensors, if there are any.
    pub(super) fn check(self, file: &TensorFile) -> Result<(), LoraError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut shown: Vec<String> = self
            .0
            .iter()
            .take(SHOWN)
            .map(|(key, reason)| format!("`{}` ({reason})", printable(key, 200)))
            .collect();
        if SHOWN < self.0.len() {
            shown.push(format!("and {} more", self.0.len() - SHOWN));
        }
        Err(LoraError::Unmatched {
            file: file.name().to_owned(),
            unmatched: self.0.len(),
            total: file.header().tensors.len(),
            shown: shown.join(", "),
        })
    }
}
