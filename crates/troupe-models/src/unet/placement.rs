//! Who listens to which prompt, on each level: from the weights of regions.

use candle_core::{Device, Tensor};
use troupe_core::region::{RegionMap, TokenGrid};

use super::UNetError;

/// How the prompts that speak to a token are made one, with their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mixing {
    /// The outputs of the attentions are mixed: `Σ wₚ · outₚ`.
    #[default]
    Outputs,
    /// One attention over the tokens of all of them, to whose scores the logarithm of the prompt's weight is added: a prompt
    /// that has more to say to a token is heard more.
    Scores,
}

/// Who listens to which prompt.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) mixing: Mixing,
    /// For each row and level.
    pub(super) rows: Vec<Vec<Listening>>,
    /// For each level: the subject of each token. Empty without regions.
    pub(super) owners: Vec<Vec<Option<usize>>>,
    /// For each level: where the subjects of each bound LoRA are. Empty without bound LoRAs.
    pub(super) masks: Vec<Vec<Option<Tensor>>>,
}

/// Who listens to which prompt on one level.
#[derive(Debug)]
pub(super) enum Listening {
    /// All tokens to one prompt alone.
    One { prompt: usize },
    /// Some tokens to each of these prompts.
    Several(Vec<Listeners>),
}

/// The tokens that listen to one prompt, and its weight on each.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) prompt: usize,
    pub(super) tokens: Vec<usize>,
    // Invariant: as many as `tokens`, none zero.
    pub(super) weights: Vec<f32>,
}

impl Placement {
    /// From the weights on each level, or none.
    ///
    /// `regional` says for each row whether it has a prompt for each region; `bound` are the LoRAs of each region's subject.
    pub(super) fn new(
        grids: &[TokenGrid],
        regional: impl Iterator<Item = bool>,
        bound: &[Vec<usize>],
        maps: Vec<RegionMap>,
        mixing: Mixing,
    ) -> Result<Self, UNetError> {
        let of = |regional: bool| {
            if !regional || maps.is_empty() {
                return grids.iter().map(|_| Listening::One { prompt: 0 }).collect();
            }
            let listening = maps.iter().map(|map| {
                let regions = map.regions.iter().map(Vec::as_slice);
                let weights = std::iter::once(map.base.as_slice()).chain(regions);
                Listening::new(&weights.collect::<Vec<_>>())
            });
            listening.collect()
        };
        let rows = regional.map(of).collect();
        let masks = maps.iter().map(|map| masks(map, bound)).collect::<Result<_, _>>()?;
        let owners = maps.into_iter().map(|map| map.owner).collect();
        Ok(Self { mixing, rows, owners, masks })
    }
}

impl Listening {
    /// From the weights of each prompt, one a token.
    #[expect(clippy::float_cmp, reason = "a prompt alone has a weight of exactly one")]
    fn new(weights: &[&[f32]]) -> Self {
        let mut several = Vec::new();
        for (prompt, weights) in weights.iter().enumerate() {
            if weights.iter().all(|&weight| weight == 1.0) {
                return Self::One { prompt };
            }
            let tokens: Vec<usize> =
                (0..weights.len()).filter(|&token| weights[token] != 0.0).collect();
            if !tokens.is_empty() {
                let weights = tokens.iter().map(|&token| weights[token]).collect();
                several.push(Listeners { prompt, tokens, weights });
            }
        }
        Self::Several(several)
    }
}

/// Where the subjects of each bound LoRA are: the sum of their regions' weights, `(tokens,)`.
fn masks(map: &RegionMap, bound: &[Vec<usize>]) -> Result<Vec<Option<Tensor>>, UNetError> {
    let count = bound.iter().flatten().max().map_or(0, |last| last + 1);
    let mask = |lora: usize| {
        let mut sum = vec![0.0_f32; map.base.len()];
        for (weights, loras) in map.regions.iter().zip(bound) {
            for _ in loras.iter().filter(|&&it| it == lora) {
                sum.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
            }
        }
        let tokens = sum.len();
        let anywhere = sum.iter().any(|&weight| weight != 0.0);
        anywhere.then(|| Ok(Tensor::from_vec(sum, tokens, &Device::Cpu)?)).transpose()
    };
    (0..count).map(mask).collect()
}
