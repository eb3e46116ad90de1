//! What a LoRA file is, for a person to read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Network;
use super::adapter::Adapter;
use super::alpha::{Alpha, AlphaSource};
use super::module::Kind;
use super::names::{Dialect, Owner, Spelling, Target};
use crate::weights::printable;

/// The most entries of metadata that are shown.
const METADATA_ENTRIES: usize = 64;
/// The most characters of one entry that are shown.
const METADATA_CHARACTERS: usize = 300;

/// What a LoRA file is and holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The name of the file.
    pub file: String,
    /// Whose spelling its names follow.
    pub dialects: BTreeSet<Dialect>,
    /// How many tensors it has.
    pub tensors: usize,
    /// How many modules have each kind of update.
    pub kinds: BTreeMap<Kind, usize>,
    /// In how many modules the lengths are learned: DoRA.
    pub dora: usize,
    /// How many modules have each rank; updates that are no product have none.
    pub ranks: BTreeMap<usize, usize>,
    /// The alphas, where each was found, and how many modules have it.
    pub alphas: Vec<UsedAlpha>,
    /// How many modules each network gets.
    pub networks: BTreeMap<&'static str, usize>,
    /// The header's metadata: bounded, and without control characters.
    pub metadata: BTreeMap<String, String>,
    /// How many entries of the metadata are not shown.
    pub metadata_left_out: usize,
}

/// An alpha, where it was found, and how many modules have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UsedAlpha {
    /// The alpha.
    pub alpha: f64,
    /// Where it was found.
    pub source: AlphaSource,
    /// How many modules have it.
    pub modules: usize,
}

impl Adapter {
    /// What the file is and holds; no model is needed.
    pub fn inspect(&self) -> Inspection {
        let mut kinds = BTreeMap::new();
        let mut dora = 0;
        let mut ranks = BTreeMap::new();
        let mut networks = BTreeMap::new();
        let mut alphas: Vec<UsedAlpha> = Vec::new();
        for module in &self.modules {
            *kinds.entry(module.kind).or_default() += 1;
            if module.updates.iter().any(|(_, update)| update.magnitude.is_some()) {
                dora += 1;
            }
            if let Some(rank) = module.rank {
                *ranks.entry(rank).or_default() += 1;
            }
            *networks.entry(network_of(&module.target)).or_default() += 1;
            let Some(Alpha { value: alpha, source, .. }) = module.alpha else { continue };
            let same = |used: &&mut UsedAlpha| {
                used.source == source && used.alpha.to_bits() == alpha.to_bits()
            };
            match alphas.iter_mut().find(same) {
                Some(used) => used.modules += 1,
                None => alphas.push(UsedAlpha { alpha, source, modules: 1 }),
            }
        }
        let metadata = &self.file.header().metadata;
        let shown = |(key, value): (&String, &String)| {
            (printable(key, METADATA_CHARACTERS), printable(value, METADATA_CHARACTERS))
        };
        Inspection {
            file: self.file.name().to_owned(),
            dialects: self.dialects.clone(),
            tensors: self.file.header().tensors.len(),
            kinds,
            dora,
            ranks,
            alphas,
            networks,
            metadata: metadata.iter().take(METADATA_ENTRIES).map(shown).collect(),
            metadata_left_out: metadata.len().saturating_sub(METADATA_ENTRIES),
        }
    }
}

/// The network of a module: as its name says, or by the first part of its path.
fn network_of(target: &Target) -> &'static str {
    const UNET: [&str; 8] = [
        "conv_in",
        "conv_out",
        "down_blocks",
        "mid_block",
        "time_embedding",
        "up_blocks",
        "add_embedding",
        "class_embedding",
    ];
    const TEXT_ENCODER: [&str; 4] = ["embeddings", "encoder", "text_model", "text_projection"];
    let first = match target.spelling {
        Spelling::Dotted => target.module.split('.').next().unwrap_or_default(),
        Spelling::Underscored => "",
    };
    match target.network {
        Owner::Network(Network::Unet) => "unet",
        Owner::Network(Network::TextEncoder) => "text_encoder",
        Owner::Network(Network::TextEncoder2) => "text_encoder_2",
        Owner::Other(name) => name,
        Owner::Unsaid if UNET.contains(&first) => "unet",
        Owner::Unsaid if TEXT_ENCODER.contains(&first) => "text_encoder",
        Owner::Unsaid => "unknown",
    }
}
