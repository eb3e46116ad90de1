//! Finds the modules of the networks that LoRAs change, and merges the updates into their weights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use candle_core::Tensor;
use serde::Serialize;

use super::adapter::{Adapter, Skipped, Tolerance, Unmatched};
use super::alpha::AlphaSource;
use super::index::Networks;
use super::module::{AdapterModule, Field};
use super::scales::Scales;
use super::update::Merge;
use super::{LoraError, Network};
use crate::weights::{Module, TensorFile, Weights, WeightsError};

/// Modules of a UNet whose outputs go to all tokens.
const SHARED: [&str; 2] = ["time_embedding.", "add_embedding."];

/// A LoRA and how strongly the user wants it.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// The LoRA.
    pub adapter: Arc<Adapter>,
    /// Multiplies its updates, in all and in parts of the model.
    pub scale: Scales,
}

/// What the LoRAs of a run make of the weights of one network.
#[derive(Clone, Debug, Default)]
pub struct AdapterSet {
    /// By the name of the weight, in the order in which the user gave them.
    merges: BTreeMap<String, Vec<Merge>>,
}

/// A plain LoRA of one weight: `W + multiplier · up · down`.
#[derive(Clone, Debug)]
pub struct LowRank {
    /// Shape `(out, rank)`.
    pub up: Tensor,
    /// Shape `(rank, in · kernel)`.
    pub down: Tensor,
    /// The user's scale times alpha / rank.
    pub multiplier: f64,
}

/// The LoRAs of a run with their places in the model.
#[derive(Debug, Default)]
pub struct Attached {
    /// What the UNet's weights become.
    pub unet: AdapterSet,
    /// What those of each text encoder become.
    pub text_encoders: Vec<AdapterSet>,
    /// For each LoRA, in order, what became of its tensors.
    pub applied: Vec<Applied>,
}

/// What became of the tensors of one LoRA.
#[derive(Clone, Debug, Serialize)]
pub struct Applied {
    /// The name of its file.
    pub file: String,
    /// The user's scale.
    pub scale: Scales,
    /// Each tensor of the file that was applied, and where it went.
    pub tensors: Vec<AppliedTensor>,
    /// Those that have no place in this model; none but of a LoRA that is read leniently.
    pub skipped: Vec<Skipped>,
    /// In how many modules alpha was found nowhere, and the rank stood in for it.
    pub modules_without_alpha: usize,
}

/// Where a tensor of a LoRA went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppliedTensor {
    /// Its name in the LoRA file.
    pub key: String,
    /// The network that it changes.
    pub network: Network,
    /// The weight that it changes.
    pub weight: String,
}

/// Finds the place of every tensor of every LoRA; of the networks only the headers are read.
///
/// `text_encoders` are in the order of the model.
///
/// # Errors
///
/// If a LoRA has a tensor that belongs to no module, or has not the shape that it needs there, and that isn't tolerated; if
/// it has no tensor that belongs anywhere; if its scale names a part of the model of which it changes nothing.
pub fn attach(
    adapters: &[Scaled],
    unet: &Weights,
    text_encoders: &[Weights],
) -> Result<Attached, LoraError> {
    let networks = Networks::new(unet, text_encoders);
    let mut attached = Attached::default();
    attached.text_encoders.resize_with(text_encoders.len(), AdapterSet::default);
    for scaled in adapters {
        let applied = attach_one(scaled, &networks, &mut attached)?;
        attached.applied.push(applied);
    }
    Ok(attached)
}

/// [`attach`] for one LoRA that is bound to people, and not merged.
///
/// # Errors
///
/// As [`attach`], and if it changes anything of the UNet but matrices and kernels: a norm, a bias, or the embeddings of
/// the timestep and of what is told beside it, which the whole picture shares.
pub fn bind(
    lora: &Scaled,
    unet: &Weights,
    text_encoders: &[Weights],
) -> Result<Attached, LoraError> {
    let attached = attach(std::slice::from_ref(lora), unet, text_encoders)?;
    let shared = |key: &&String| {
        let norm = key.split('.').any(|part| part.contains("norm"));
        norm || !key.ends_with(".weight") || SHARED.iter().any(|start| key.starts_with(start))
    };
    match attached.unet.merges.keys().find(shared) {
        None => Ok(attached),
        Some(weight) => Err(LoraError::Shared {
            file: lora.adapter.file.name().to_owned(),
            weight: weight.clone(),
        }),
    }
}

fn attach_one(
    Scaled { adapter, scale }: &Scaled,
    networks: &Networks,
    attached: &mut Attached,
) -> Result<Applied, LoraError> {
    let file = &adapter.file;
    if !scale.are_finite() {
        return Err(LoraError::Scale { file: file.name().to_owned(), scale: scale.clone() });
    }
    let mut unmatched = adapter.unmatched.clone();
    let mut tensors = Vec::new();
    let mut places = Vec::new();
    let mut taken = BTreeMap::new();
    for module in &adapter.modules {
        let place = networks.find(&module.target, |place| fits(file, module, place));
        let (network, place) = match place {
            Ok(found) => found,
            Err(reason) => {
                unmatched.add_all(module, &reason);
                continue;
            }
        };
        let first = module.tensors().next().unwrap_or_default();
        if let Some(other) = taken.insert((network, &place.name), first) {
            unmatched.add_all(module, &format!("for the same module as `{other}`"));
            continue;
        }
        tensors.extend(module.keys.iter().map(|(key, field)| AppliedTensor {
            key: key.clone(),
            network,
            weight: place.tensor(*field),
        }));
        places.push((module, network, place));
    }
    unmatched.check(file, if places.is_empty() { Tolerance::Strict } else { adapter.tolerance })?;
    let changed: Vec<_> =
        places.iter().map(|(_, network, place)| (*network, place.name.as_str())).collect();
    if let Some((part, possible)) = scale.idle(&changed) {
        return Err(LoraError::Part { file: file.name().to_owned(), part, possible });
    }
    for (module, network, place) in &places {
        let Some(set) = attached.of(*network) else { continue };
        for (field, update) in &module.updates {
            set.merges.entry(place.tensor(*field)).or_default().push(Merge {
                file: Arc::clone(file),
                update: update.clone(),
                scale: scale.of(*network, &place.name),
            });
        }
    }
    let by_rank =
        |module: &AdapterModule| module.alpha.is_some_and(|it| it.source == AlphaSource::Rank);
    Ok(Applied {
        file: file.name().to_owned(),
        scale: scale.clone(),
        tensors,
        skipped: unmatched.into_skipped(),
        modules_without_alpha: places.iter().filter(|(module, ..)| by_rank(module)).count(),
    })
}

/// Checks that the updates of a module have the shapes of its weight and its bias.
fn fits(file: &TensorFile, module: &AdapterModule, place: &Module) -> Result<(), String> {
    module.updates.iter().try_for_each(|(field, update)| match field {
        Field::Weight => update.fits(file, &place.shape),
        Field::Bias => match &place.bias {
            Some(shape) => update.fits(file, shape),
            None => Err("this model's module has no bias".to_owned()),
        },
    })
}

impl Module {
    /// The name of its weight or its bias.
    fn tensor(&self, field: Field) -> String {
        match field {
            Field::Weight => format!("{}.weight", self.name),
            Field::Bias => format!("{}.bias", self.name),
        }
    }
}

impl Unmatched {
    /// All tensors of a module, with one reason.
    fn add_all(&mut self, module: &AdapterModule, reason: &str) {
        module.keys.iter().for_each(|(key, _)| self.add(key, reason));
    }
}

impl Attached {
    fn of(&mut self, network: Network) -> Option<&mut AdapterSet> {
        match network {
            Network::Unet => Some(&mut self.unet),
            Network::TextEncoder => self.text_encoders.first_mut(),
            Network::TextEncoder2 => self.text_encoders.get_mut(1),
        }
    }
}

impl AdapterSet {
    /// What this adds, and then what another one does.
    pub(crate) fn joined(&self, other: Self) -> Self {
        let mut joined = self.clone();
        for (key, merges) in other.merges {
            joined.merges.entry(key).or_default().extend(merges);
        }
        joined
    }

    /// Whether no weight is changed.
    pub fn is_empty(&self) -> bool {
        self.merges.is_empty()
    }

    /// The names of the weights that become another in this set than in `other`: by other updates, or by the same in
    /// another order or at another scale. A file is the same if it was read once.
    pub fn differing(&self, other: &Self) -> BTreeSet<String> {
        let both = self.merges.keys().chain(other.merges.keys());
        let differ = |key: &&String| self.merges.get(*key) != other.merges.get(*key);
        both.filter(differ).cloned().collect()
    }

    /// Whether a weight becomes another.
    pub(crate) fn changes(&self, weight: &str) -> bool {
        self.merges.contains_key(weight)
    }

    /// The updates of a weight as pairs of matrices, in order; `None` where one of them is no plain LoRA.
    ///
    /// # Errors
    ///
    /// If the file has changed since it was read.
    pub fn low_rank(&self, weight: &str) -> Result<Option<Vec<LowRank>>, WeightsError> {
        let merges = self.merges.get(weight).map(Vec::as_slice).unwrap_or_default();
        merges.iter().map(Merge::low_rank).collect()
    }

    /// The values of the weight `key` of this shape with its updates, in order.
    ///
    /// # Errors
    ///
    /// If a file has changed since it was read, or an update makes a number infinite or none.
    pub(crate) fn merge(
        &self,
        key: &str,
        shape: &[usize],
        values: Vec<f32>,
    ) -> Result<Vec<f32>, WeightsError> {
        let merges = self.merges.get(key).map(Vec::as_slice).unwrap_or_default();
        // The first has the weight itself.
        let base = merges.iter().skip(1).any(Merge::needs_base).then(|| values.clone());
        merges.iter().try_fold(values, |values, merge| {
            let merged = merge.apply(shape, values, base.as_deref())?;
            if merged.iter().all(|value| value.is_finite()) {
                Ok(merged)
            } else {
                let (file, weight) = (merge.file.name().to_owned(), key.to_owned());
                Err(WeightsError::Overflow { file, weight })
            }
        })
    }
}
