//! Finds the modules of the networks that LoRAs change, and adds the updates to their weights.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use serde::Serialize;

use super::adapter::{Adapter, AdapterModule, Unmatched};
use super::alpha::AlphaSource;
use super::index::Networks;
use super::{LoraError, Network};
use crate::weights::{Module, TensorFile, Weights, WeightsError};

/// A LoRA and how strongly the user wants it.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// The LoRA.
    pub adapter: Arc<Adapter>,
    /// Multiplies its update; 1 is the strength that it was trained with.
    pub scale: f64,
}

/// What the LoRAs of a run add to the weights of one network.
#[derive(Debug, Default)]
pub struct AdapterSet {
    /// By the name of the weight, in the order in which the user gave them.
    deltas: BTreeMap<String, Vec<Delta>>,
}

/// The LoRAs of a run with their places in the model.
#[derive(Debug, Default)]
pub struct Attached {
    /// What is added to the UNet.
    pub unet: AdapterSet,
    /// What is added to each of the text encoders.
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
    pub scale: f64,
    /// Each tensor of the file and where it went.
    pub tensors: Vec<AppliedTensor>,
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

/// One update of one weight: `multiplier · up · down`.
#[derive(Clone)]
struct Delta {
    file: Arc<TensorFile>,
    down: String,
    up: String,
    rank: usize,
    /// scale · alpha / rank.
    multiplier: f64,
}

/// Finds the place of every tensor of every LoRA; of the networks only the headers are read.
///
/// # Errors
///
/// If a LoRA has a tensor that belongs to no module, or has not the shape that it needs there.
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

fn attach_one(
    Scaled { adapter, scale }: &Scaled,
    networks: &Networks,
    attached: &mut Attached,
) -> Result<Applied, LoraError> {
    let file = &adapter.file;
    if !scale.is_finite() {
        return Err(LoraError::Scale { file: file.name().to_owned(), scale: *scale });
    }
    let mut unmatched = Unmatched::default();
    let mut tensors = Vec::new();
    let mut taken = BTreeMap::new();
    for module in &adapter.modules {
        let place = networks.find(&module.target, |place| fits(file, module, place));
        let (network, place) = match place {
            Ok(found) => found,
            Err(reason) => {
                module.keys().for_each(|key| unmatched.add(key, reason.as_str()));
                continue;
            }
        };
        if let Some(other) = taken.insert((network, &place.name), &module.down) {
            let reason = format!("for the same module as `{other}`");
            module.keys().for_each(|key| unmatched.add(key, reason.as_str()));
            continue;
        }
        let weight = format!("{}.weight", place.name);
        tensors.extend(module.keys().map(|key| AppliedTensor {
            key: key.to_owned(),
            network,
            weight: weight.clone(),
        }));
        let Some(set) = attached.of(network) else { continue };
        set.deltas.entry(weight).or_default().push(Delta {
            file: Arc::clone(file),
            down: module.down.clone(),
            up: module.up.clone(),
            rank: module.rank,
            multiplier: scale * module.alpha.factor,
        });
    }
    unmatched.check(file)?;
    let without_alpha =
        adapter.modules.iter().filter(|module| module.alpha.source == AlphaSource::Rank).count();
    Ok(Applied {
        file: file.name().to_owned(),
        scale: *scale,
        tensors,
        modules_without_alpha: without_alpha,
    })
}

/// Checks that the update of a module has the shape of the weight that it is for.
fn fits(file: &TensorFile, module: &AdapterModule, place: &Module) -> Result<(), String> {
    let shape = |key: &str| file.entry(key).map_or(&[][..], |entry| entry.shape.as_slice());
    let (down, up) = (shape(&module.down), shape(&module.up));
    let (out, inputs) = place.shape.split_first().unwrap_or((&0, &[]));
    // A convolution of one pixel is a matrix, and is written as either.
    let fits = without_ones(down) == without_ones(&[&[module.rank], inputs].concat())
        && without_ones(up) == [*out, module.rank];
    if fits {
        Ok(())
    } else {
        Err(format!(
            "made for another model: shapes {down:?} and {up:?}, for a weight of shape {:?}",
            place.shape
        ))
    }
}

/// A shape without the ones after its first two dimensions.
fn without_ones(shape: &[usize]) -> &[usize] {
    let ones = shape.iter().skip(2).rev().take_while(|&&side| side == 1).count();
    &shape[..shape.len() - ones]
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
    /// Whether nothing is added to any weight.
    pub fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    /// The weight `key` with its updates, in order.
    ///
    /// Shape `(out, in, …)` → the same.
    pub(crate) fn add_to(&self, key: &str, weight: Tensor) -> Result<Tensor, WeightsError> {
        let deltas = self.deltas.get(key).map(Vec::as_slice).unwrap_or_default();
        deltas.iter().try_fold(weight, |weight, delta| delta.add_to(&weight))
    }
}

impl Delta {
    fn add_to(&self, weight: &Tensor) -> Result<Tensor, WeightsError> {
        let down = self.matrix(&self.down)?;
        let up = self.matrix(&self.up)?;
        let tensor = |source| self.file.tensor_error(&self.down, source);
        let rank = self.rank;
        let inputs = down.len().checked_div(rank).unwrap_or(0);
        let out = up.len().checked_div(rank).unwrap_or(0);
        let down = Tensor::from_vec(down, (rank, inputs), &Device::Cpu).map_err(tensor)?;
        let up = Tensor::from_vec(up, (out, rank), &Device::Cpu).map_err(tensor)?;
        let delta = up.matmul(&down).map_err(tensor)?; // (out, in · kernel)
        delta
            .affine(self.multiplier, 0.0)
            .and_then(|delta| delta.reshape(weight.shape()))
            .and_then(|delta| weight + delta)
            .map_err(tensor)
    }

    fn matrix(&self, key: &str) -> Result<Vec<f32>, WeightsError> {
        self.file.required_values(key)
    }
}

impl std::fmt::Debug for Delta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delta")
            .field("file", &self.file.name())
            .field("down", &self.down)
            .field("multiplier", &self.multiplier)
            .finish_non_exhaustive()
    }
}
