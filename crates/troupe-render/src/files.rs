//! The parts of a model, as whoever reads files hands them over.

use troupe_models::checkpoint::{ModelIndex, PipelineKind};
use troupe_models::config::TextFile;
use troupe_models::embedding::Embedding;
use troupe_models::lora::Scaled;
use troupe_models::single_file::{Family, SingleFile};
use troupe_models::tokenizer::{Tokenizer, TokenizerConfig, TokenizerError};
use troupe_models::weights::{Precision, Weights};

/// The parts of a model. Texts are whole files; names are for messages.
#[derive(Debug)]
pub struct PainterFiles<'a> {
    /// What kind of pipeline it is.
    pub index: ModelIndex,
    /// `scheduler/scheduler_config.json`.
    pub scheduler: &'a str,
    /// The text encoders with their tokenizers: one, or two for SDXL.
    pub texts: Vec<TextFiles<'a>>,
    /// `unet/config.json`.
    pub unet_config: &'a str,
    /// The weights of the UNet.
    pub unet: Weights,
    /// `vae/config.json`.
    pub vae_config: TextFile<'a>,
    /// The weights of the autoencoder.
    pub vae: Weights,
    /// Words that prompts may use beside those of the tokenizers.
    pub embeddings: Vec<Embedding>,
    /// What isn't of the model itself.
    pub options: Options,
}

/// The LoRAs of a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loras<'a> {
    /// Merged into the weights, in this order, for the whole picture.
    pub merged: &'a [Scaled],
    /// Added at run time, where the people are that have them ([`Person::loras`](crate::Person::loras)).
    pub bound: &'a [Scaled],
}

/// One text encoder and its tokenizer.
#[derive(Debug)]
pub struct TextFiles<'a> {
    /// `tokenizer/tokenizer_config.json`, if there is one.
    pub tokenizer_config: Option<TextFile<'a>>,
    /// The vocabulary.
    pub tokenizer: TokenizerFiles<'a>,
    /// `text_encoder/config.json`.
    pub config: TextFile<'a>,
    /// The weights.
    pub weights: Weights,
}

/// Where a vocabulary comes from.
#[derive(Clone, Copy, Debug)]
pub enum TokenizerFiles<'a> {
    /// `tokenizer/tokenizer.json`.
    Whole(TextFile<'a>),
    /// The older form.
    Pair {
        /// `tokenizer/vocab.json`.
        vocabulary: TextFile<'a>,
        /// `tokenizer/merges.txt`.
        merges: TextFile<'a>,
    },
    /// CLIP's own, which the program has.
    BuiltIn,
}

impl TokenizerFiles<'_> {
    /// The tokenizer of CLIP that they make.
    ///
    /// # Errors
    ///
    /// If they contradict themselves, or lack a special token of `config`.
    pub fn tokenizer(self, config: &TokenizerConfig) -> Result<Tokenizer, TokenizerError> {
        match self {
            Self::Whole(file) => Tokenizer::from_json(file, config),
            Self::Pair { vocabulary, merges } => {
                Tokenizer::from_vocab_and_merges(vocabulary, merges, config)
            }
            Self::BuiltIn => Tokenizer::built_in(config),
        }
    }
}

/// How a model is listened to, and how much memory it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which layer of the text encoders is listened to, as AUTOMATIC1111's web UI counts: 1 is the
    /// last, 2 the one before. diffusers' `clip_skip` is one less. SDXL was trained on the last but
    /// one, so 1 and 2 are the same there, and diffusers' `clip_skip` is two less. It holds for the
    /// negative prompt too, as there, where diffusers leaves that as it is.
    pub clip_skip: usize,
    /// The side of the tiles in which pictures are decoded, in pixels, a multiple of 32; 0 is in one piece.
    pub tile: usize,
    /// In which the weights of all networks are kept.
    pub precision: Precision,
}

impl Default for Options {
    fn default() -> Self {
        Self { clip_skip: 1, tile: 0, precision: Precision::default() }
    }
}

impl<'a> PainterFiles<'a> {
    /// The same, with the weights of all networks kept as the options say.
    pub(crate) fn kept_in_precision(self) -> Self {
        let precision = self.options.precision;
        let text = |text: TextFiles<'a>| {
            let weights = text.weights.kept_in(precision);
            TextFiles { weights, ..text }
        };
        Self {
            texts: self.texts.into_iter().map(text).collect(),
            unet: self.unet.kept_in(precision),
            vae: self.vae.kept_in(precision),
            ..self
        }
    }

    /// A checkpoint in one file. It has no tokenizer, so CLIP's own is taken.
    pub fn of_single_file(file: &'a SingleFile) -> Self {
        let texts = file.text_encoders.iter().map(|part| TextFiles {
            tokenizer_config: Some(TextFile {
                name: "the tokenizer's configuration of the family",
                bytes: part.tokenizer_config.as_bytes(),
            }),
            tokenizer: TokenizerFiles::BuiltIn,
            config: TextFile {
                name: "the text encoder's configuration, read off the file",
                bytes: part.config.as_bytes(),
            },
            weights: part.weights.clone(),
        });
        let xl = file.family == Family::Sdxl;
        Self {
            index: ModelIndex {
                scheduler: "DDIMScheduler".to_owned(),
                kind: if xl {
                    PipelineKind::StableDiffusionXl
                } else {
                    PipelineKind::StableDiffusion
                },
                zeros_for_empty_prompt: xl,
            },
            scheduler: &file.scheduler,
            texts: texts.collect(),
            unet_config: &file.unet_config,
            unet: file.unet.clone(),
            vae_config: TextFile {
                name: "the autoencoder's configuration, read off the file",
                bytes: file.vae_config.as_bytes(),
            },
            vae: file.vae.clone(),
            embeddings: Vec::new(),
            options: Options::default(),
        }
    }
}
