//! What the configuration puts beside a model: another autoencoder, and words that were learned.

use std::path::{Path, PathBuf};

use troupe_models::embedding::Embedding;
use troupe_models::hash::{checkpoint_hash, embedding_hash, sha256_of_file};
use troupe_models::single_file::vae_file;
use troupe_models::weights::Weights;
use troupe_render::{Options, RenderError};

use super::network::{Mapped, Network, hash_of_several, map};
use super::record::Hashed;
use super::texts::{Named, text};
use crate::PipelineError;
use crate::config::PaintConfig;
use crate::manifest::Found;

/// What the configuration puts beside a model.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) vae: Option<Vae>,
    pub(super) embeddings: Vec<Embedding>,
    /// The files of the embeddings, in their order.
    files: Vec<Mapped>,
    pub(super) options: Options,
}

/// Another autoencoder.
#[derive(Debug)]
pub(super) struct Vae {
    /// Of a folder. One in a file is built as the model's own is.
    pub(super) config: Option<Named>,
    pub(super) weights: Weights,
    /// Where the configuration says that it lies, and its files.
    path: PathBuf,
    files: Vec<Mapped>,
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
        let (mut embeddings, mut files) = (Vec::new(), Vec::new());
        for path in &paint.embeddings {
            let mapped = map(Path::new(path))?;
            embeddings.push(embedding(&mapped)?);
            files.push(mapped);
        }
        Ok(Self {
            vae,
            embeddings,
            files,
            options: Options {
                clip_skip: paint.clip_skip,
                tile: paint.vae_tile,
                precision: paint.dtype.precision(),
            },
        })
    }

    /// The textual inversions by name and hash.
    pub(super) fn hashed_embeddings(&self) -> Vec<Hashed> {
        let hashed = |file: &Mapped| Hashed {
            name: name(&file.path),
            hash: embedding_hash(&sha256_of_file(&file.bytes)),
            scale: None,
        };
        self.files.iter().map(hashed).collect()
    }
}

impl Vae {
    fn open(path: &Path) -> Result<Self, PipelineError> {
        if !path.is_dir() {
            let mapped = map(path)?;
            let name = path.display().to_string();
            let weights = vae_file(&name, mapped.bytes.clone()).map_err(RenderError::from)?;
            let files = vec![mapped];
            return Ok(Self { config: None, weights, path: path.to_owned(), files });
        }
        let config = path.join("config.json");
        let config = Named { text: text(&config)?, name: config.display().to_string() };
        let found = Found { name: "vae".to_owned(), path: PathBuf::from(path), entry: None };
        let network = Network::find(&found, "", "diffusion_pytorch_model")?;
        let names = network.files(&found)?;
        let files = names.iter().map(|file| map(&path.join(file)));
        let files: Vec<Mapped> = files.collect::<Result<_, _>>()?;
        // What is hashed is what is read.
        let opened = |file: &str| names.iter().zip(&files).find(|(name, _)| *name == file);
        let open = |file: &str| {
            opened(file).map_or_else(|| map(&path.join(file)), |(_, mapped)| Ok(mapped.clone()))
        };
        let weights = network.weights(&found, open)?;
        Ok(Self { config: Some(config), weights, path: path.to_owned(), files })
    }

    /// The autoencoder by name and hash.
    pub(super) fn hashed(&self) -> Hashed {
        let hashes = self.files.iter().map(|file| sha256_of_file(&file.bytes));
        let hash = checkpoint_hash(&hash_of_several(&hashes.collect::<Vec<_>>()));
        Hashed { name: name(&self.path), hash, scale: None }
    }
}

/// The last part of a path: where it lies is nobody else's business.
fn name(path: &Path) -> String {
    path.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default()
}

fn embedding(mapped: &Mapped) -> Result<Embedding, PipelineError> {
    let stem = mapped.path.file_stem();
    let word = stem.map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    let name = mapped.path.display().to_string();
    Ok(Embedding::read(&word, &name, mapped.bytes.clone()).map_err(RenderError::from)?)
}
