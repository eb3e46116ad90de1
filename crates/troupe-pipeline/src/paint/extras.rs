//! What the configuration puts beside a model: another autoencoder, and words that were learned.

use std::path::{Path, PathBuf};

use troupe_models::embedding::Embedding;
use troupe_models::single_file::vae_file;
use troupe_models::weights::Weights;
use troupe_render::{Options, RenderError};

use super::network::{Network, map};
use super::texts::{Named, text};
use crate::PipelineError;
use crate::config::PaintConfig;
use crate::manifest::Found;

/// What the configuration puts beside a model.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) vae: Option<Vae>,
    pub(super) embeddings: Vec<Embedding>,
    pub(super) options: Options,
}

/// Another autoencoder.
#[derive(Debug)]
pub(super) struct Vae {
    /// Of a folder. One in a file is built as the model's own is.
    pub(super) config: Option<Named>,
    pub(super) weights: Weights,
}

impl Extras {
    /// Opens the files that the configuration names; of an autoencoder only the header is read.
    ///
    /// # Errors
    ///
    /// If one isn't there, or isn't what it should be.
    pub(super) fn open(paint: &PaintConfig) -> Result<Self, PipelineError> {
        let vae = match paint.vae.as_str() {
            "" => None,
            path => Some(Vae::open(Path::new(path))?),
        };
        let embeddings = paint.embeddings.iter().map(|path| embedding(Path::new(path)));
        Ok(Self {
            vae,
            embeddings: embeddings.collect::<Result<_, _>>()?,
            options: Options { clip_skip: paint.clip_skip, tile: paint.vae_tile },
        })
    }
}

impl Vae {
    fn open(path: &Path) -> Result<Self, PipelineError> {
        if !path.is_dir() {
            let name = path.display().to_string();
            let weights = vae_file(&name, map(path)?.bytes).map_err(RenderError::from)?;
            return Ok(Self { config: None, weights });
        }
        let config = path.join("config.json");
        let config = Named { text: text(&config)?, name: config.display().to_string() };
        let found = Found { name: "vae".to_owned(), path: PathBuf::from(path), entry: None };
        let network = Network::find(&found, "", "diffusion_pytorch_model")?;
        let weights = network.weights(&found, |file| map(&path.join(file)))?;
        Ok(Self { config: Some(config), weights })
    }
}

fn embedding(path: &Path) -> Result<Embedding, PipelineError> {
    let word = path.file_stem().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    let name = path.display().to_string();
    Ok(Embedding::read(&word, &name, map(path)?.bytes).map_err(RenderError::from)?)
}
