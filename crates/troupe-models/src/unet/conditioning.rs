//! What a UNet is told about prompts and regions, computed once and used in every step.
//!
//! In a regional row every token mixes the outputs of several attentions, one to each prompt that
//! has a weight on it: the base's `1 − Σ (1 − base_ratio) · wᵢ`, region i's `(1 − base_ratio) · wᵢ`
//! ([`RegionMap`](troupe_core::region::RegionMap)). Only tokens with a weight are computed for a prompt, so the cost
//! depends on the area of the regions and hardly on their number.
//!
//! It follows that a row without regions is plain attention, and that one region over the whole
//! image with `base_ratio` 0 is its prompt alone, both bit for bit.

use std::sync::Arc;

use candle_core::Tensor;
use troupe_core::region::{RegionMap, Regions, TokenGrid};
use troupe_nn::{
    Part, ScoredPart, attention, attention_with_sums, blend_tokens, gather_tokens, mix_tokens,
};

use super::{
    UNetError,
    bound::Masks,
    config::{Addition, Downsampling, UNetConfig},
    placement::{Listening, Mixing, Placement},
    probe::Probe,
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
    Isolated {
        /// On the levels from this one on, counted from the largest, 0: deep ones tell figures apart, the others details.
        from_level: usize,
    },
}

/// Prompts and regions as the layers of one UNet need them, for latents of one size.
///
/// What is said and where it is said are kept apart, so that other regions cost no prompt a second time.
#[derive(Clone, Debug)]
pub struct PreparedContext {
    said: Arc<Said>,
    placement: Arc<Placement>,
    probe: Option<Arc<Probe>>,
}

/// What is said in all rows.
#[derive(Debug)]
struct Said {
    latents: TokenGrid,
    grids: Vec<TokenGrid>,
    downsampling: Downsampling,
    /// Invariant: of the same length for each attention.
    attentions: Arc<Vec<Vec<KeyValue>>>,
    rows: Vec<Row>,
    /// How many regions the regional rows have.
    boxes: usize,
    /// For each region: the LoRAs of its subject.
    bound: Vec<Vec<usize>>,
    /// What is added to the timestep's embedding, in each row: `(rows, time_embedding_dim)`.
    added: Option<Tensor>,
}

/// The key and the value of a prompt in one attention: `(1, tokens, channels)` each.
#[derive(Debug)]
struct KeyValue {
    key: Tensor,
    value: Tensor,
}

/// One row of the batch: which of an attention's prompts are its own.
#[derive(Debug)]
struct Row {
    /// For the whole picture, or the base prompt.
    base: usize,
    /// One for each region, where it has regions.
    regions: Vec<usize>,
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
        let downsampling = config.downsampling;
        let grids = grids(downsampling, config.levels.len(), latents)?;
        let boxes = regions.map_or(0, Regions::len);
        let mut prompts = Vec::new();
        let mut prepared_rows = Vec::new();
        for row in rows {
            let base = prompts.len();
            match row {
                Conditioning::Plain(prompt) => {
                    prompts.push((checked(prompt, config.cross_attention_dim)?, &[][..]));
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
                }
            }
            prepared_rows.push(Row { base, regions: (base + 1..prompts.len()).collect() });
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
        let (attentions, rows, bound) = (Arc::new(attentions), prepared_rows, bound.to_vec());
        let said = Said { latents, grids, downsampling, attentions, rows, boxes, bound, added };
        let maps: Vec<_> = match regions {
            Some(regions) if 0 < boxes => said.grids.iter().map(|&it| regions.map(it)).collect(),
            _ => Vec::new(),
        };
        let placement = Arc::new(said.placement(maps, Mixing::default())?);
        Ok(Self { said: Arc::new(said), placement, probe: None })
    }

    /// The tokens of each level, from the widest.
    pub fn levels(&self) -> &[TokenGrid] {
        &self.said.grids
    }

    /// The same prompts with other regions, one map for each of the [`levels`](Self::levels), and mixed in this way.
    ///
    /// # Errors
    ///
    /// If there are other levels or tokens, or other regions than there are prompts for.
    pub fn with_maps(&self, maps: Vec<RegionMap>, mixing: Mixing) -> Result<Self, UNetError> {
        let prompts = self.said.boxes;
        if let Some(map) = maps.iter().find(|map| map.regions.len() != prompts) {
            return Err(UNetError::Regions { prompts, boxes: map.regions.len() });
        }
        let sized = |(map, grid): (&RegionMap, &TokenGrid)| {
            let lists = map.regions.iter().map(Vec::len).chain([map.base.len(), map.owner.len()]);
            lists.into_iter().all(|it| it == grid.tokens())
        };
        let grids = &self.said.grids;
        if maps.len() != grids.len() || !maps.iter().zip(grids).all(sized) {
            return Err(UNetError::Maps);
        }
        let placement = Arc::new(self.said.placement(maps, mixing)?);
        Ok(Self { said: Arc::clone(&self.said), placement, probe: self.probe.clone() })
    }

    /// What is said of the scene and of one region, for latents of another size. Until it is told where that region is
    /// ([`with_maps`](Self::with_maps), with one), only the scene's prompt is heard. What is added to the timestep stays, sizes
    /// of the whole picture included.
    ///
    /// # Errors
    ///
    /// If there is no such region, or the latents are too small.
    pub fn of_region(&self, region: usize, latents: TokenGrid) -> Result<Self, UNetError> {
        let Said { downsampling, ref attentions, ref added, boxes, .. } = *self.said;
        if boxes <= region {
            return Err(UNetError::Regions { prompts: boxes, boxes: region + 1 });
        }
        let row = |row: &Row| Row {
            base: row.base,
            regions: row.regions.get(region).copied().into_iter().collect(),
        };
        let said = Said {
            latents,
            grids: grids(downsampling, self.said.grids.len(), latents)?,
            downsampling,
            attentions: Arc::clone(attentions),
            rows: self.said.rows.iter().map(row).collect(),
            boxes: 1,
            bound: self.said.bound.get(region).cloned().into_iter().collect(),
            added: added.clone(),
        };
        let placement = Arc::new(said.placement(Vec::new(), self.placement.mixing)?);
        Ok(Self { said: Arc::new(said), placement, probe: None })
    }

    /// The same, and every self-attention whose tokens see one another freely is looked at.
    #[must_use]
    pub fn probed(&self, probe: Arc<Probe>) -> Self {
        Self { probe: Some(probe), ..self.clone() }
    }

    /// What looks at self-attentions, if anything does.
    pub(super) fn probe(&self) -> Option<&Probe> {
        self.probe.as_deref()
    }

    /// The size of the latents for which this was prepared.
    pub fn latents(&self) -> TokenGrid {
        self.said.latents
    }

    /// The rows of the batch.
    pub fn rows(&self) -> usize {
        self.said.rows.len()
    }

    /// The timestep's embedding with what is added to it: one row for all, or one for each.
    ///
    /// Shape `(1, time_embedding_dim)` → `(1 or rows, time_embedding_dim)`.
    pub(super) fn add_to(&self, embedding: Tensor) -> Result<Tensor, UNetError> {
        match &self.said.added {
            Some(added) => Ok(added.broadcast_add(&embedding)?),
            None => Ok(embedding),
        }
    }

    /// Which subject each token of a level belongs to; `None` where no token belongs to any.
    pub(super) fn owners(&self, level: usize) -> Option<&[Option<usize>]> {
        let owners = self.placement.owners.get(level)?;
        owners.iter().any(Option::is_some).then_some(owners)
    }

    /// Where the subjects of each bound LoRA are on a level.
    pub(super) fn masks(&self, level: usize) -> Masks<'_> {
        self.placement.masks.get(level).map_or(&[], Vec::as_slice)
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
        let prompts = self.said.attentions.get(index).ok_or(UNetError::ForeignContext)?;
        let of = |row: &Row, prompt: usize| {
            let own =
                prompt.checked_sub(1).map_or(Some(row.base), |at| row.regions.get(at).copied());
            own.and_then(|at| prompts.get(at)).ok_or(UNetError::ForeignContext)
        };
        let mut mixed = Vec::with_capacity(self.said.rows.len());
        let rows = self.said.rows.iter().zip(&self.placement.rows);
        for (index, (row, levels)) in rows.enumerate() {
            let query = query.narrow(0, index, 1)?; // (1, tokens, channels)
            let listeners = match levels.get(level).ok_or(UNetError::ForeignContext)? {
                &Listening::One { prompt } => {
                    let KeyValue { key, value } = of(row, prompt)?;
                    mixed.push(attention(&query, key, value, heads, None)?);
                    continue;
                }
                Listening::Several(listeners) => listeners,
            };
            let mut outputs = Vec::with_capacity(listeners.len());
            for listener in listeners {
                let query = gather_tokens(&query, &listener.tokens)?;
                let KeyValue { key, value } = of(row, listener.prompt)?;
                outputs.push(attention_with_sums(&query, key, value, heads)?);
            }
            let parts = listeners.iter().zip(&outputs).map(|(listener, (output, sums))| {
                let (places, weights) = (&*listener.tokens, &*listener.weights);
                ScoredPart { part: Part { tokens: output, places, weights }, sums }
            });
            let parts: Vec<ScoredPart<'_>> = parts.collect();
            mixed.push(match self.placement.mixing {
                Mixing::Outputs => {
                    let parts: Vec<Part<'_>> = parts.iter().map(|it| it.part).collect();
                    mix_tokens(&parts, tokens, channels)?
                }
                Mixing::Scores => blend_tokens(&parts, tokens, channels)?,
            });
        }
        Ok(Tensor::cat(&mixed, 0)?)
    }
}

impl Said {
    fn placement(&self, maps: Vec<RegionMap>, mixing: Mixing) -> Result<Placement, UNetError> {
        let regional = self.rows.iter().map(|row| !row.regions.is_empty());
        Placement::new(&self.grids, regional, &self.bound, maps, mixing)
    }
}

/// The tokens of each of so many levels.
fn grids(
    downsampling: Downsampling,
    levels: usize,
    latents: TokenGrid,
) -> Result<Vec<TokenGrid>, UNetError> {
    let half = |side: usize| match downsampling {
        Downsampling::AllSides => side.div_ceil(2),
        Downsampling::RightAndBottom => side >> 1,
    };
    let mut grids = Vec::with_capacity(levels);
    let TokenGrid { mut height, mut width } = latents;
    for _ in 0..levels {
        if height == 0 || width == 0 {
            let TokenGrid { height, width } = latents;
            let halvings = levels.saturating_sub(1);
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
