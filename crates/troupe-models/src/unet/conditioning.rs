//! What a UNet is told about prompts and regions, computed once and used in every step.
//!
//! In a regional row every token mixes the outputs of several attentions, one to each prompt that
//! has a weight on it: the base's `1 − Σ (1 − base_ratio) · wᵢ`, region i's `(1 − base_ratio) · wᵢ`
//! ([`RegionMap`](troupe_core::region::RegionMap)). Only tokens with a weight are computed for a prompt, so the cost
//! depends on the area of the regions and hardly on their number.
//!
//! It follows that a row without regions is plain attention, and that one region over the whole
//! image with `base_ratio` 0 is its prompt alone, both bit for bit.

use candle_core::{Device, Tensor};
use troupe_core::region::{RegionMap, Regions, TokenGrid};
use troupe_nn::{Part, attention, gather_tokens, mix_tokens};

use super::{
    UNetError,
    bound::Masks,
    config::{Addition, Downsampling, UNetConfig},
    transformer::CrossAttention,
};

/// The prompts of one row of a batch, encoded: each `(tokens, cross_attention_dim)`.
#[derive(Clone, Debug)]
pub enum Conditioning {
    /// One prompt for the whole image.
    Plain(Tensor),
    /// A base prompt, and one for each region.
    Regional {
        /// What the scene is.
        base: Tensor,
        /// Who is in each region, in the order of the [`Regions`].
        regions: Vec<Tensor>,
    },
}

/// What one row of a batch is told beside its prompts, by networks that have an
/// [`Addition`](super::Addition).
#[derive(Clone, Debug)]
pub struct Added {
    /// The whole text in one row, `(pooled,)`.
    pub pooled: Tensor,
    /// Height and width of the original, top and left of its crop, height and width of the target,
    /// in pixels.
    pub time_ids: [f64; Addition::TIME_IDS],
}

/// Whether subjects see one another in self-attention, in all rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Every token attends to every token.
    Free,
    /// No token of a subject attends to a token of another subject; the background is free.
    Isolated,
}

/// Prompts and regions as the layers of one UNet need them, for latents of one size.
#[derive(Debug)]
pub struct PreparedContext {
    latents: TokenGrid,
    /// Invariant: of the same length for each attention.
    attentions: Vec<Vec<KeyValue>>,
    rows: Vec<Row>,
    /// For each level: the subject of each token. Empty without regions.
    owners: Vec<Vec<Option<usize>>>,
    /// For each level: where the subjects of each bound LoRA are. Empty without bound LoRAs.
    masks: Vec<Vec<Option<Tensor>>>,
    /// What is added to the timestep's embedding, in each row: `(rows, time_embedding_dim)`.
    added: Option<Tensor>,
}

/// The key and the value of a prompt in one attention: `(1, tokens, channels)` each.
#[derive(Debug)]
struct KeyValue {
    key: Tensor,
    value: Tensor,
}

/// One row of the batch.
#[derive(Debug)]
struct Row {
    /// The row's prompts are those of an attention from this one on.
    first_prompt: usize,
    /// For each level: which tokens listen to which of the row's prompts.
    levels: Vec<Listening>,
}

/// Who listens to which prompt on one level.
#[derive(Debug)]
enum Listening {
    /// All tokens to one prompt alone.
    One { prompt: usize },
    /// Some tokens to each of these prompts.
    Several(Vec<Listeners>),
}

/// The tokens that listen to one prompt, and its weight on each.
#[derive(Debug)]
struct Listeners {
    prompt: usize,
    tokens: Vec<usize>,
    // Invariant: as many as `tokens`, none zero.
    weights: Vec<f32>,
}

impl PreparedContext {
    pub(super) fn new(
        config: &UNetConfig,
        layers: &[&CrossAttention],
        rows: &[Conditioning],
        regions: Option<&Regions>,
        bound: &[Vec<usize>],
        latents: TokenGrid,
        added: Option<Tensor>,
    ) -> Result<Self, UNetError> {
        let grids = grids(config, latents)?;
        let boxes = regions.map_or(0, Regions::len);
        let maps: Vec<_> = match regions {
            Some(regions) if 0 < boxes => grids.iter().map(|&grid| regions.map(grid)).collect(),
            _ => Vec::new(),
        };

        let mut prompts = Vec::new();
        let mut prepared_rows = Vec::new();
        for row in rows {
            let first_prompt = prompts.len();
            let levels = match row {
                Conditioning::Plain(prompt) => {
                    prompts.push((checked(prompt, config.cross_attention_dim)?, &[][..]));
                    grids.iter().map(|_| Listening::One { prompt: 0 }).collect()
                }
                Conditioning::Regional { base, regions } => {
                    if regions.len() != boxes {
                        return Err(UNetError::Regions { prompts: regions.len(), boxes });
                    }
                    prompts.push((checked(base, config.cross_attention_dim)?, &[]));
                    for (subject, prompt) in regions.iter().enumerate() {
                        let loras = bound.get(subject).map_or(&[][..], Vec::as_slice);
                        prompts.push((checked(prompt, config.cross_attention_dim)?, loras));
                    }
                    if maps.is_empty() {
                        grids.iter().map(|_| Listening::One { prompt: 0 }).collect()
                    } else {
                        let listening = maps.iter().map(|map| {
                            let regions = map.regions.iter().map(Vec::as_slice);
                            let weights = std::iter::once(map.base.as_slice()).chain(regions);
                            Listening::new(&weights.collect::<Vec<_>>())
                        });
                        listening.collect()
                    }
                }
            };
            prepared_rows.push(Row { first_prompt, levels });
        }

        let mut attentions = Vec::with_capacity(layers.len());
        for layer in layers {
            let mut of_prompts = Vec::with_capacity(prompts.len());
            for (prompt, loras) in &prompts {
                let [key, value] = layer.key_value(prompt, loras)?;
                of_prompts.push(KeyValue { key, value });
            }
            attentions.push(of_prompts);
        }
        let masks = maps.iter().map(|map| masks(map, bound)).collect::<Result<_, _>>()?;
        let owners = maps.into_iter().map(|map| map.owner).collect();
        Ok(Self { latents, attentions, rows: prepared_rows, owners, masks, added })
    }

    /// The size of the latents for which this was prepared.
    pub fn latents(&self) -> TokenGrid {
        self.latents
    }

    /// The rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The timestep's embedding with what is added to it: one row for all, or one for each.
    ///
    /// Shape `(1, time_embedding_dim)` → `(1 or rows, time_embedding_dim)`.
    pub(super) fn add_to(&self, embedding: Tensor) -> Result<Tensor, UNetError> {
        match &self.added {
            Some(added) => Ok(added.broadcast_add(&embedding)?),
            None => Ok(embedding),
        }
    }

    /// Which subject each token of a level belongs to; `None` where no token belongs to any.
    pub(super) fn owners(&self, level: usize) -> Option<&[Option<usize>]> {
        let owners = self.owners.get(level)?;
        owners.iter().any(Option::is_some).then_some(owners)
    }

    /// Where the subjects of each bound LoRA are on a level.
    pub(super) fn masks(&self, level: usize) -> Masks<'_> {
        self.masks.get(level).map_or(&[], Vec::as_slice)
    }

    /// Attention number `index` of the tokens to the prompts of their rows, before `to_out`.
    ///
    /// Shape `(batch, tokens, channels)` → the same.
    pub(super) fn attend(
        &self,
        query: &Tensor,
        index: usize,
        level: usize,
        heads: usize,
    ) -> Result<Tensor, UNetError> {
        let (_, tokens, channels) = query.dims3()?;
        let prompts = self.attentions.get(index).ok_or(UNetError::ForeignContext)?;
        let attend = |query: &Tensor, row: &Row, prompt: usize| -> Result<Tensor, UNetError> {
            let prompt = prompts.get(row.first_prompt + prompt).ok_or(UNetError::ForeignContext)?;
            Ok(attention(query, &prompt.key, &prompt.value, heads, None)?)
        };
        let mut mixed = Vec::with_capacity(self.rows.len());
        for (index, row) in self.rows.iter().enumerate() {
            let query = query.narrow(0, index, 1)?; // (1, tokens, channels)
            let listeners = match row.levels.get(level).ok_or(UNetError::ForeignContext)? {
                &Listening::One { prompt } => {
                    mixed.push(attend(&query, row, prompt)?);
                    continue;
                }
                Listening::Several(listeners) => listeners,
            };
            let mut outputs = Vec::with_capacity(listeners.len());
            for listener in listeners {
                let query = gather_tokens(&query, &listener.tokens)?;
                outputs.push(attend(&query, row, listener.prompt)?);
            }
            let parts = listeners.iter().zip(&outputs).map(|(listener, output)| Part {
                tokens: output,
                places: &listener.tokens,
                weights: &listener.weights,
            });
            mixed.push(mix_tokens(&parts.collect::<Vec<_>>(), tokens, channels)?);
        }
        Ok(Tensor::cat(&mixed, 0)?)
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

/// The tokens of each level.
fn grids(config: &UNetConfig, latents: TokenGrid) -> Result<Vec<TokenGrid>, UNetError> {
    let half = |side: usize| match config.downsampling {
        Downsampling::AllSides => side.div_ceil(2),
        Downsampling::RightAndBottom => side >> 1,
    };
    let mut grids = Vec::with_capacity(config.levels.len());
    let TokenGrid { mut height, mut width } = latents;
    for _ in &config.levels {
        if height == 0 || width == 0 {
            let TokenGrid { height, width } = latents;
            let halvings = config.levels.len().saturating_sub(1);
            return Err(UNetError::TooSmall { height, width, halvings });
        }
        grids.push(TokenGrid { height, width });
        (height, width) = (half(height), half(width));
    }
    Ok(grids)
}

/// Shape `(tokens, width)` → `(1, tokens, width)`.
fn checked(prompt: &Tensor, width: usize) -> Result<Tensor, UNetError> {
    match *prompt.dims() {
        [tokens, found] if found == width && 0 < tokens => Ok(prompt.unsqueeze(0)?),
        _ => Err(UNetError::Prompt { width, found: prompt.dims().to_vec() }),
    }
}
