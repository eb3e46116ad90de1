//! Prompts to what the UNet listens to: by one text encoder, or by the two of SDXL.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::Tensor;
use troupe_models::checkpoint::PipelineKind;
use troupe_models::clip::{ClipConfig, ClipLayer, ClipTextEncoder};
use troupe_models::embedding::Embedding;
use troupe_models::lora::AdapterSet;
use troupe_models::prompt::{Chunk, Learned, chunks, has_editing};
use troupe_models::tokenizer::{Tokenizer, TokenizerConfig};
use troupe_models::weights::Weights;

use crate::RenderError;
use crate::files::TextFiles;
use crate::loras::OfNetwork;
use crate::painter::{finite, fits};

/// The most chunks of a prompt that are read, 75 tokens each.
const MOST_CHUNKS: usize = 16;

/// The text encoders of a model.
#[derive(Debug)]
pub(crate) struct Texts {
    parts: Vec<Part>,
    layer: ClipLayer,
}

/// A text encoder with its tokenizer, and the words that were learned for it.
#[derive(Debug)]
struct Part {
    tokenizer: Tokenizer,
    config: ClipConfig,
    /// `None` from when it was released to when it is needed again.
    encoder: Mutex<Option<Arc<ClipTextEncoder>>>,
    learned: Vec<Learned>,
    /// For each LoRA that can be bound to people, what it adds.
    bound: Vec<AdapterSet>,
    /// Of which the encoder is made, and one with bound LoRAs.
    weights: Weights,
    projected: bool,
}

/// An encoded prompt.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    /// Shape `(tokens, the widths of all encoders)`.
    pub(crate) context: Tensor,
    /// The whole text, `(width,)`, by an encoder with a projection.
    pub(crate) pooled: Option<Tensor>,
}

impl Texts {
    /// Loads the text encoders, each with what LoRAs add to it.
    pub(crate) fn load(
        kind: PipelineKind,
        clip_skip: usize,
        files: Vec<TextFiles<'_>>,
        loras: Vec<OfNetwork>,
        embeddings: &[Embedding],
    ) -> Result<Self, RenderError> {
        let wanted = match kind {
            PipelineKind::StableDiffusion => 1,
            PipelineKind::StableDiffusionXl => 2,
        };
        fits("text encoders", wanted, files.len(), usize::eq)?;
        let layer = match kind {
            PipelineKind::StableDiffusion => {
                ClipLayer { skipped: clip_skip.saturating_sub(1), normed: true }
            }
            PipelineKind::StableDiffusionXl => {
                ClipLayer { skipped: clip_skip.saturating_sub(1).max(1), normed: false }
            }
        };
        fits("sets of LoRAs", files.len(), loras.len(), usize::eq)?;
        let mut parts = Vec::with_capacity(files.len());
        for (index, (file, loras)) in files.into_iter().zip(loras).enumerate() {
            parts.push(Part::load(file, 0 < index, loras)?);
        }
        let widths: Vec<usize> = parts.iter().map(|part| part.config.width()).collect();
        for embedding in embeddings {
            embedding.fits(&widths)?;
            for (part, vectors) in parts.iter_mut().zip(&embedding.vectors) {
                let name = part.tokenizer.words(&embedding.word)?;
                part.learned.push(Learned { name, vectors: vectors.clone() });
            }
        }
        for part in &parts {
            part.config.check(layer)?;
        }
        Ok(Self { parts, layer })
    }

    /// The encoders' weights, in order.
    pub(crate) fn weights(&self) -> Vec<Weights> {
        self.parts.iter().map(|part| part.weights.clone()).collect()
    }

    /// What LoRAs make of each encoder.
    pub(crate) fn loras(&self) -> Vec<OfNetwork> {
        let of = |part: &Part| OfNetwork {
            merged: part.weights.adapters().clone(),
            bound: part.bound.clone(),
        };
        self.parts.iter().map(of).collect()
    }

    /// Builds each encoder with other LoRAs, of which there is a set for each; after an error some have them.
    pub(crate) fn build_with(&mut self, loras: Vec<OfNetwork>) -> Result<(), RenderError> {
        for (part, loras) in self.parts.iter_mut().zip(loras) {
            *part.kept() = None;
            part.weights = part.weights.clone().with_adapters(loras.merged);
            part.bound = loras.bound;
            part.encoder()?;
        }
        Ok(())
    }

    /// Lets go of the encoders until they are needed again: SDXL's are a quarter of its weights.
    pub(crate) fn release(&self) {
        self.parts.iter().for_each(|part| *part.kept() = None);
    }

    /// The channels of a context.
    pub(crate) fn width(&self) -> usize {
        self.parts.iter().map(|part| part.config.width()).sum()
    }

    /// The channels of the pooled text, where there is one.
    pub(crate) fn pooled_width(&self) -> Option<usize> {
        let second = self.parts.get(1)?;
        Some(second.config.projection())
    }

    /// The encoders with these bound LoRAs; `None` where they change none of them.
    pub(crate) fn tuned(
        &self,
        loras: &[usize],
    ) -> Result<Option<Vec<ClipTextEncoder>>, RenderError> {
        let sets = |part: &Part| -> Vec<AdapterSet> {
            let sets = loras.iter().filter_map(|&lora| part.bound.get(lora));
            sets.filter(|set| !set.is_empty()).cloned().collect()
        };
        if self.parts.iter().all(|part| sets(part).is_empty()) {
            return Ok(None);
        }
        let tuned = self.parts.iter().map(|part| {
            let weights = sets(part).into_iter().fold(part.weights.clone(), Weights::with_more);
            encoder(part.config.clone(), &weights, part.projected)
        });
        tuned.collect::<Result<_, _>>().map(Some)
    }

    /// Encodes a prompt with its weights, in as many chunks as it needs, with the encoders or [`tuned`](Self::tuned) ones.
    pub(crate) fn encode(
        &self,
        prompt: &str,
        tuned: Option<&[ClipTextEncoder]>,
        notes: &mut Vec<String>,
    ) -> Result<Encoded, RenderError> {
        if has_editing(prompt) {
            notes.push(format!(
                "prompt editing with square brackets isn't known here; its words are read as they stand in `{prompt}`"
            ));
        }
        let mut of_parts: Vec<Vec<Chunk>> = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            of_parts.push(chunks(&part.tokenizer, prompt, &part.learned)?);
        }
        let longest = of_parts.iter().map(Vec::len).max().unwrap_or(1);
        if MOST_CHUNKS < longest {
            notes.push(format!(
                "a prompt has {longest} chunks of tokens, and what comes after the {MOST_CHUNKS}th isn't read"
            ));
        }
        let mut contexts = Vec::with_capacity(self.parts.len());
        let mut pooled = None;
        for (index, (part, mut chunks_of_part)) in self.parts.iter().zip(of_parts).enumerate() {
            let own;
            let encoder = if let Some(tuned) = tuned.and_then(|tuned| tuned.get(index)) {
                tuned
            } else {
                own = part.encoder()?;
                &*own
            };
            while chunks_of_part.len() < longest {
                chunks_of_part.extend(chunks(&part.tokenizer, "", &[])?);
            }
            let mut rows = Vec::with_capacity(longest);
            for (index, chunk) in chunks_of_part.iter().take(MOST_CHUNKS).enumerate() {
                let output = encoder.encode(&chunk.ids, &chunk.learned, self.layer)?;
                rows.push(chunk.weigh(&output.hidden)?);
                if index == 0 && output.pooled.is_some() {
                    pooled = output.pooled;
                }
            }
            contexts.push(Tensor::cat(&rows, 0)?);
        }
        let context = Tensor::cat(&contexts, 1)?;
        for numbers in std::iter::once(&context).chain(&pooled) {
            finite(numbers, || {
                let begin: String = prompt.chars().take(60).collect();
                format!("the encoded prompt `{begin}`")
            })?;
        }
        Ok(Encoded { context, pooled })
    }
}

impl Encoded {
    /// As long and as wide, and says nothing.
    pub(crate) fn zeros(&self) -> Result<Self, RenderError> {
        let pooled = self.pooled.as_ref().map(Tensor::zeros_like).transpose()?;
        Ok(Self { context: self.context.zeros_like()?, pooled })
    }
}

impl Part {
    fn load(files: TextFiles<'_>, projected: bool, loras: OfNetwork) -> Result<Self, RenderError> {
        let config = ClipConfig::from_json(files.config)?;
        let tokenizer_config = match files.tokenizer_config {
            Some(file) => TokenizerConfig::from_json(file)?,
            None => TokenizerConfig::default(),
        };
        let tokenizer = files.tokenizer.tokenizer(&tokenizer_config)?;
        fits("text tokens", config.vocabulary(), tokenizer.vocabulary_size(), usize::ge)?;
        fits("text positions", config.positions(), tokenizer.length(), usize::ge)?;
        let weights = files.weights.with_adapters(loras.merged);
        let (encoder, learned, bound) = (Mutex::default(), Vec::new(), loras.bound);
        let part = Self { tokenizer, config, encoder, learned, bound, weights, projected };
        // What is wrong with it is found before anything is painted.
        part.encoder()?;
        Ok(part)
    }

    /// The encoder, which is built if it isn't there.
    fn encoder(&self) -> Result<Arc<ClipTextEncoder>, RenderError> {
        let mut kept = self.kept();
        if let Some(encoder) = &*kept {
            return Ok(Arc::clone(encoder));
        }
        let built = Arc::new(encoder(self.config.clone(), &self.weights, self.projected)?);
        *kept = Some(Arc::clone(&built));
        Ok(built)
    }

    /// A panic elsewhere leaves a whole encoder behind, or none.
    fn kept(&self) -> MutexGuard<'_, Option<Arc<ClipTextEncoder>>> {
        self.encoder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encoder(
    config: ClipConfig,
    weights: &Weights,
    projected: bool,
) -> Result<ClipTextEncoder, RenderError> {
    let encoder = if projected {
        ClipTextEncoder::with_projection(config, weights)
    } else {
        ClipTextEncoder::new(config, weights)
    };
    Ok(encoder?)
}
