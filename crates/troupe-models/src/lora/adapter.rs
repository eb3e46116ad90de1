//! Takes a LoRA file apart into modules.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::LoraError;
use super::alpha::Alphas;
use super::module::{AdapterModule, Found};
use super::names::{self, Dialect, Target};
use crate::weights::{Bytes, TensorFile, printable};

/// How many of the tensors that don't fit a message shows.
const SHOWN: usize = 5;

/// What is done about tensors that have no place in a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tolerance {
    /// The file is refused.
    #[default]
    Strict,
    /// They are left out and reported, as long as others have a place.
    Lenient,
}

/// A LoRA file, taken apart; its matrices are checked, and stay in the file.
pub struct Adapter {
    pub(super) file: Arc<TensorFile>,
    pub(super) modules: Vec<AdapterModule>,
    pub(super) dialects: BTreeSet<Dialect>,
    pub(super) tolerance: Tolerance,
    /// What has no place in any model; empty where that isn't tolerated.
    pub(super) unmatched: Unmatched,
}

/// Tensors that have no place, each with the reason.
#[derive(Clone, Default)]
pub(super) struct Unmatched(BTreeMap<String, String>);

/// A tensor that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name in the LoRA file, without control characters.
    pub key: String,
    /// Why it has no place.
    pub reason: String,
}

impl Adapter {
    /// Reads a LoRA in the spelling of kohya, peft or diffusers; the name is for messages only.
    ///
    /// `adapter_config` is the text of the `adapter_config.json` beside a file of peft.
    ///
    /// # Errors
    ///
    /// If the bytes are no valid safetensors file, a tensor is not of a LoRA and that isn't tolerated, or any number is not
    /// finite.
    pub fn read(
        file_name: &str,
        bytes: Bytes,
        adapter_config: Option<&str>,
        tolerance: Tolerance,
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
            if let Err(other) = found.entry(target).or_default().insert(part, key) {
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
        unmatched.check(&file, if modules.is_empty() { Tolerance::Strict } else { tolerance })?;
        // Once here, and not where a weight is read, by which time much has been loaded and computed.
        for module in &modules {
            module.tensors().try_for_each(|key| file.check_values(key))?;
        }
        Ok(Self { file, modules, dialects, tolerance, unmatched })
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

impl Unmatched {
    /// The first reason of a tensor stands.
    pub(super) fn add(&mut self, key: &str, reason: impl Into<String>) {
        if let Slot::Vacant(slot) = self.0.entry(key.to_owned()) {
            slot.insert(reason.into());
        }
    }

    /// Each tensor, fit to be shown, and the reason.
    pub(super) fn into_skipped(self) -> Vec<Skipped> {
        let skipped =
            |(key, reason): (String, String)| Skipped { key: printable(&key, 200), reason };
        self.0.into_iter().map(skipped).collect()
    }

    /// The error that lists the tensors, if there are any and they aren't tolerated.
    pub(super) fn check(&self, file: &TensorFile, tolerance: Tolerance) -> Result<(), LoraError> {
        if self.0.is_empty() || tolerance == Tolerance::Lenient {
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
