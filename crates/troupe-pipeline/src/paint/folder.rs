//! The files of a diffusers folder.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use troupe_core::layout::Canvas;
use troupe_models::config::TextFile;
use troupe_models::hash::{checkpoint_hash, sha256};
use troupe_models::lora::attach;
use troupe_models::weights::{Blame, Bytes, Weights};
use troupe_render::{Applied, Cell, Painter, PainterFiles, RenderError, Scaled};

use crate::files;
use crate::manifest::{Found, ManifestError};
use crate::paint::Hashed;
use crate::{PipelineError, Studio};

/// The largest text file beside the weights, in bytes.
const LARGEST_TEXT: u64 = 16 << 20;
/// The weights of a UNet as diffusers names them.
const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
const TEXT_ENCODER: &str = "text_encoder/model.safetensors";

/// A diffusion model on disk.
#[derive(Debug)]
pub struct ModelFolder {
    found: Found,
    unet_config: String,
    vae_config: String,
    unet: Mapped,
    /// The SHA-256 of the UNet's file, once it is asked for: a gigabyte and more are hashed once.
    unet_sha256: OnceLock<String>,
}

/// A mapped file and where it lies.
struct Mapped {
    path: PathBuf,
    bytes: Bytes,
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl ModelFolder {
    /// Finds the configured model, and reads its configurations.
    ///
    /// # Errors
    ///
    /// If it isn't there, or not a diffusers folder; a pickle is refused for what it is, whatever its name.
    pub fn open(studio: &Studio) -> Result<Self, PipelineError> {
        let found = studio.manifest.painter(&studio.config.paint.model)?;
        if found.path.is_file() {
            let bytes = files::map(&found.path).map_err(ManifestError::from)?;
            let file = weights(&Mapped { path: found.path.clone(), bytes });
            if let Err(PipelineError::Render(error)) = file
                && error.blame() == Some(Blame::Policy)
            {
                return Err(error.into());
            }
        }
        let index = found.path.join("model_index.json");
        if !index.is_file() {
            return Err(ManifestError::Missing {
                kind: "painter",
                name: found.name,
                path: index,
                home: "a folder in the layout of diffusers, the only form that this version reads"
                    .to_owned(),
            }
            .into());
        }
        let unet_config = text(&found.path.join("unet/config.json"))?;
        let vae_config = text(&found.path.join("vae/config.json"))?;
        let unet = map(&found, UNET)?;
        Ok(Self { found, unet_config, vae_config, unet, unet_sha256: OnceLock::new() })
    }

    /// One cell of the deepest attention map.
    ///
    /// # Errors
    ///
    /// If the architecture isn't one that we know.
    pub fn cell(&self) -> Result<Cell, PipelineError> {
        let vae = TextFile { name: "vae/config.json", bytes: self.vae_config.as_bytes() };
        Ok(troupe_render::cell(&self.unet_config, vae)?)
    }

    /// The sizes on which the model is at home, as far as the manifest says.
    pub fn canvases(&self) -> Vec<Canvas> {
        self.found.entry.as_ref().map(|entry| entry.canvases.clone()).unwrap_or_default()
    }

    /// The nouns that the model has seen, as far as the manifest says.
    pub fn knows(&self) -> Vec<String> {
        self.found.entry.as_ref().map(|entry| entry.knows.clone()).unwrap_or_default()
    }

    /// The model by name and hash; the hash is that of the UNet.
    pub fn hashed(&self) -> Hashed {
        let hash = checkpoint_hash(self.unet_sha256());
        Hashed { name: self.found.name.clone(), hash, scale: None }
    }

    fn unet_sha256(&self) -> &str {
        self.unet_sha256.get_or_init(|| sha256((*self.unet.bytes).as_ref()))
    }

    /// Compares the UNet's file with the manifest's hash.
    fn check_unet(&self) -> Result<(), ManifestError> {
        self.found.compare(UNET, || Ok(self.unet_sha256().to_owned()))
    }

    /// Whether LoRAs fit the model; of the weights only the headers are read.
    ///
    /// # Errors
    ///
    /// If a file of weights is missing or broken, or a LoRA doesn't fit.
    pub fn fits(&self, loras: &[Scaled]) -> Result<(), PipelineError> {
        if !loras.is_empty() {
            let text_encoder = weights(&map(&self.found, TEXT_ENCODER)?)?;
            attach(loras, &weights(&self.unet)?, &text_encoder)?;
        }
        Ok(())
    }

    /// Loads the weights with LoRAs.
    ///
    /// # Errors
    ///
    /// If a file is missing or broken, or a LoRA doesn't fit.
    pub fn load(&self, loras: &[Scaled]) -> Result<(Painter, Vec<Applied>), PipelineError> {
        let path = &self.found.path;
        let index = text(&path.join("model_index.json"))?;
        let scheduler = text(&path.join("scheduler/scheduler_config.json"))?;
        let text_encoder_config = text(&path.join("text_encoder/config.json"))?;
        let tokenizer_config = optional_text(&path.join("tokenizer/tokenizer_config.json"))?;
        let whole = optional_text(&path.join("tokenizer/tokenizer.json"))?;
        let (first, merges) = match whole {
            Some(whole) => (("tokenizer/tokenizer.json", whole), None),
            None => (
                ("tokenizer/vocab.json", text(&path.join("tokenizer/vocab.json"))?),
                Some(text(&path.join("tokenizer/merges.txt"))?),
            ),
        };
        self.check_unet()?;
        Ok(Painter::load(
            PainterFiles {
                name: &self.found.name,
                index: &index,
                scheduler: &scheduler,
                tokenizer_config: tokenizer_config.as_ref().map(|text| TextFile {
                    name: "tokenizer/tokenizer_config.json",
                    bytes: text.as_bytes(),
                }),
                tokenizer: (
                    TextFile { name: first.0, bytes: first.1.as_bytes() },
                    merges.as_ref().map(|text| TextFile {
                        name: "tokenizer/merges.txt",
                        bytes: text.as_bytes(),
                    }),
                ),
                text_encoder_config: TextFile {
                    name: "text_encoder/config.json",
                    bytes: text_encoder_config.as_bytes(),
                },
                text_encoder: weights(&checked(&self.found, TEXT_ENCODER)?)?,
                unet_config: &self.unet_config,
                unet: weights(&self.unet)?,
                vae_config: TextFile { name: "vae/config.json", bytes: self.vae_config.as_bytes() },
                vae: weights(&checked(&self.found, VAE)?)?,
            },
            loras,
        )?)
    }
}

fn text(path: &Path) -> Result<String, ManifestError> {
    Ok(files::read_text(path, LARGEST_TEXT)?)
}

fn optional_text(path: &Path) -> Result<Option<String>, ManifestError> {
    if path.exists() { text(path).map(Some) } else { Ok(None) }
}

/// Maps a file of weights; one under a pickle's name is mapped too, so that it is refused for what it is.
fn map(found: &Found, file: &str) -> Result<Mapped, PipelineError> {
    let path = found.path.join(file);
    let pickle = path.with_extension("bin");
    let path = if !path.exists() && pickle.exists() { pickle } else { path };
    if !path.exists() {
        let home = "the folder of its model".to_owned();
        return Err(ManifestError::Missing {
            kind: "painter",
            name: found.name.clone(),
            path,
            home,
        }
        .into());
    }
    let bytes = files::map(&path).map_err(ManifestError::from)?;
    Ok(Mapped { path, bytes })
}

fn checked(found: &Found, file: &str) -> Result<Mapped, PipelineError> {
    let mapped = map(found, file)?;
    found.check(file)?;
    Ok(mapped)
}

fn weights(mapped: &Mapped) -> Result<Weights, PipelineError> {
    let name = mapped.path.display().to_string();
    Ok(Weights::new(&name, mapped.bytes.clone()).map_err(RenderError::from)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::manifest::{Entry, PromptStyle};

    /// The SHA-256 of "abc", by FIPS 180-2.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    /// The bytes of a file, and how often somebody went over them.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            self.0.fetch_add(1, Ordering::Relaxed);
            b"abc"
        }
    }

    fn model(bytes: Bytes, sha256: &str) -> ModelFolder {
        let entry = Entry {
            name: "mine".to_owned(),
            path: "mine".to_owned(),
            source: String::new(),
            licence: String::new(),
            sha256: BTreeMap::from([(UNET.to_owned(), sha256.to_owned())]),
            prompt: PromptStyle::default(),
            canvases: Vec::new(),
            knows: Vec::new(),
        };
        let path = PathBuf::from("mine");
        ModelFolder {
            found: Found { name: "mine".to_owned(), path: path.clone(), entry: Some(entry) },
            unet_config: String::new(),
            vae_config: String::new(),
            unet: Mapped { path, bytes },
            unet_sha256: OnceLock::new(),
        }
    }

    #[test]
    fn a_unet_is_hashed_once() {
        let counted = Arc::new(Counted::default());
        let bytes: Bytes = counted.clone();
        let folder = model(bytes, ABC);
        folder.check_unet().unwrap();
        assert_eq!(folder.hashed().hash, ABC[..10]);
        folder.check_unet().unwrap();
        assert_eq!(counted.0.load(Ordering::Relaxed), 1);
        let other = model(Arc::new(Counted::default()), "00");
        assert!(matches!(other.check_unet(), Err(ManifestError::Hash { .. })));
    }
}
