//! The files of a diffusion model: a diffusers folder, or a checkpoint in one file.

use std::sync::OnceLock;

use troupe_core::layout::Canvas;
use troupe_models::checkpoint::{ModelIndex, PipelineKind};
use troupe_models::hash::{checkpoint_hash, sha256_of_file};
use troupe_models::lora::{attach, bind};
use troupe_models::single_file::SingleFile;
use troupe_models::weights::Weights;
use troupe_render::{Applied, Cell, Loras, Painter, PainterFiles, RenderError, TextFiles};

use super::extras::{Extras, Vae};
use super::network::{Mapped, Network, hash_of_several, map, map_checked};
use super::texts::{Named, TokenizerTexts, text};
use crate::manifest::{Found, ManifestError};
use crate::paint::Hashed;
use crate::{PipelineError, Studio};

/// Networks of a folder, and what their files are called.
const UNET: (&str, &str) = ("unet", "diffusion_pytorch_model");
const VAE: (&str, &str) = ("vae", "diffusion_pytorch_model");
const TEXT_ENCODERS: [(&str, &str); 2] = [("text_encoder", "model"), ("text_encoder_2", "model")];
const TOKENIZERS: [&str; 2] = ["tokenizer", "tokenizer_2"];

/// A diffusion model on disk.
#[derive(Debug)]
pub struct ModelFolder {
    found: Found,
    form: Form,
    unet_config: String,
    vae_config: Named,
    /// The files by whose hash the model is known: those of the UNet, or the checkpoint; each with its
    /// path inside of the folder, which is empty for a checkpoint in one file.
    unet: Vec<(String, Mapped)>,
    /// Their SHA-256, once they are asked for: gigabytes are hashed once.
    unet_sha256: OnceLock<Vec<String>>,
    extras: Extras,
}

/// How a model lies on disk.
#[derive(Debug)]
enum Form {
    /// As diffusers saves it; this is the UNet.
    Folder(Network),
    /// In one file.
    File(Box<SingleFile>),
}

impl ModelFolder {
    /// Finds the configured model, and reads its configurations.
    ///
    /// # Errors
    ///
    /// If it isn't there, or neither a diffusers folder nor a checkpoint, or what the configuration puts
    /// beside it isn't there; a pickle is refused for what it is, whatever its name.
    pub fn open(studio: &Studio) -> Result<Self, PipelineError> {
        let found = studio.manifest.painter(&studio.config.paint.model)?;
        let extras = Extras::open(&studio.config.paint)?;
        if found.path.is_file() {
            return Self::open_file(found, extras);
        }
        let index = found.path.join("model_index.json");
        if !index.is_file() {
            return Err(ManifestError::Missing {
                kind: "painter",
                name: found.name,
                path: index,
                home: "a folder in the layout of diffusers; a checkpoint in one file is named \
                       itself"
                    .to_owned(),
            }
            .into());
        }
        let unet_config = text(&found.path.join("unet/config.json"))?;
        // Even where another autoencoder takes its place: one in a file is built by this.
        let vae_config = Named::read(&found.path, "vae/config.json".to_owned())?;
        let network = Network::find(&found, UNET.0, UNET.1)?;
        let files = network.files(&found)?.into_iter();
        let unet = files.map(|file| Ok((file.clone(), map(&found.path.join(&file))?)));
        let unet = unet.collect::<Result<_, PipelineError>>()?;
        Ok(Self {
            found,
            form: Form::Folder(network),
            unet_config,
            vae_config,
            unet,
            unet_sha256: OnceLock::new(),
            extras,
        })
    }

    fn open_file(found: Found, extras: Extras) -> Result<Self, PipelineError> {
        let unet = map(&found.path)?;
        let name = found.path.display().to_string();
        let file = SingleFile::open(&name, unet.bytes.clone()).map_err(RenderError::from)?;
        Ok(Self {
            found,
            unet_config: file.unet_config.clone(),
            vae_config: Named {
                name: "the autoencoder's configuration, read off the file".to_owned(),
                text: file.vae_config.clone(),
            },
            form: Form::File(Box::new(file)),
            unet: vec![(String::new(), unet)],
            unet_sha256: OnceLock::new(),
            extras,
        })
    }

    /// One cell of the deepest attention map.
    ///
    /// # Errors
    ///
    /// If the architecture isn't one that we know.
    pub fn cell(&self) -> Result<Cell, PipelineError> {
        Ok(troupe_render::cell(&self.unet_config, self.vae_config.file())?)
    }

    /// The sizes on which the model is at home: those of the manifest, or else of its family.
    ///
    /// # Errors
    ///
    /// If the manifest says nothing, and the architecture isn't one that we know.
    pub fn canvases(&self) -> Result<Vec<Canvas>, PipelineError> {
        match &self.found.entry {
            Some(entry) if !entry.canvases.is_empty() => Ok(entry.canvases.clone()),
            Some(_) | None => {
                Ok(troupe_render::canvases(&self.unet_config, self.vae_config.file())?)
            }
        }
    }

    /// The nouns that the model has seen, as far as the manifest says.
    pub fn knows(&self) -> Vec<String> {
        self.found.entry.as_ref().map(|entry| entry.knows.clone()).unwrap_or_default()
    }

    /// The nouns whose people the model draws narrow, if it draws all others as wide as busts.
    pub fn narrow(&self) -> Option<Vec<String>> {
        self.found.entry.as_ref()?.narrow.clone()
    }

    /// The model by name and hash; the hash is that of the UNet, or of the checkpoint.
    pub fn hashed(&self) -> Hashed {
        let hash = checkpoint_hash(&hash_of_several(self.unet_sha256()));
        Hashed { name: self.found.name.clone(), hash, scale: None }
    }

    /// Another autoencoder than the model's, and the textual inversions, by name and hash.
    pub fn hashed_extras(&self) -> (Option<Hashed>, Vec<Hashed>) {
        (self.extras.vae.as_ref().map(Vae::hashed), self.extras.hashed_embeddings())
    }

    fn unet_sha256(&self) -> &[String] {
        let hash = |(_, mapped): &(String, Mapped)| sha256_of_file(&mapped.bytes);
        self.unet_sha256.get_or_init(|| self.unet.iter().map(hash).collect())
    }

    /// Compares the UNet's files with the manifest's hashes.
    fn check_unet(&self) -> Result<(), ManifestError> {
        for (index, (file, _)) in self.unet.iter().enumerate() {
            let sha256 = || self.unet_sha256().get(index).cloned().unwrap_or_default();
            self.found.compare(file, || Ok(sha256()))?;
        }
        Ok(())
    }

    /// Whether LoRAs fit the model; of the model's weights only the headers are read.
    ///
    /// # Errors
    ///
    /// If a file of weights is missing or broken, or a LoRA doesn't fit.
    pub fn fits(&self, loras: Loras<'_>) -> Result<(), PipelineError> {
        if loras.merged.is_empty() && loras.bound.is_empty() {
            return Ok(());
        }
        let (unet, text_encoders) = match &self.form {
            Form::File(file) => {
                let weights = file.text_encoders.iter().map(|part| part.weights.clone());
                (file.unet.clone(), weights.collect())
            }
            Form::Folder(network) => {
                let open = |file: &str| map(&self.found.path.join(file));
                let mut text_encoders = Vec::new();
                for (folder, stem) in
                    TEXT_ENCODERS.into_iter().take(text_encoders_of(&self.index()?))
                {
                    let network = Network::find(&self.found, folder, stem)?;
                    text_encoders.push(network.weights(&self.found, open)?);
                }
                (self.unet_weights(network, open)?, text_encoders)
            }
        };
        attach(loras.merged, &unet, &text_encoders)?;
        for lora in loras.bound {
            bind(lora, &unet, &text_encoders)?;
        }
        Ok(())
    }

    /// What the folder says of its parts.
    fn index(&self) -> Result<ModelIndex, PipelineError> {
        let text = text(&self.found.path.join("model_index.json"))?;
        Ok(ModelIndex::parse(&self.found.name, &text).map_err(RenderError::from)?)
    }

    /// The UNet of a folder, its files as they were mapped and hashed.
    fn unet_weights(
        &self,
        network: &Network,
        open: impl Fn(&str) -> Result<Mapped, PipelineError>,
    ) -> Result<Weights, PipelineError> {
        network.weights(&self.found, |file| {
            let found = self.unet.iter().find(|(name, _)| name == file);
            found.map_or_else(|| open(file), |(_, mapped)| Ok(mapped.clone()))
        })
    }

    /// Loads the weights with LoRAs.
    ///
    /// # Errors
    ///
    /// If a file is missing or broken, or a LoRA doesn't fit.
    pub fn load(&self, loras: Loras<'_>) -> Result<(Painter, Vec<Applied>), PipelineError> {
        self.check_unet()?;
        match &self.form {
            Form::File(file) => self.finish(PainterFiles::of_single_file(file), loras),
            Form::Folder(network) => self.load_folder(network, loras),
        }
    }

    fn load_folder(
        &self,
        network: &Network,
        loras: Loras<'_>,
    ) -> Result<(Painter, Vec<Applied>), PipelineError> {
        let path = &self.found.path;
        let index = self.index()?;
        let scheduler = text(&path.join("scheduler/scheduler_config.json"))?;
        let open = |file: &str| map_checked(&self.found, file);
        let unet = self.unet_weights(network, open)?;
        let count = text_encoders_of(&index);
        let mut texts = Vec::with_capacity(count);
        for ((folder, stem), tokenizer) in TEXT_ENCODERS.into_iter().zip(TOKENIZERS).take(count) {
            let config = Named::read(path, format!("{folder}/config.json"))?;
            let network = Network::find(&self.found, folder, stem)?;
            let tokenizer = TokenizerTexts::read(path, tokenizer)?;
            texts.push((config, network.weights(&self.found, open)?, tokenizer));
        }
        let texts = texts.iter().map(|(config, weights, tokenizer)| TextFiles {
            tokenizer_config: tokenizer.config.as_ref().map(Named::file),
            tokenizer: tokenizer.files(),
            config: config.file(),
            weights: weights.clone(),
        });
        // Where another autoencoder takes its place, its weights need not be there.
        let vae = match &self.extras.vae {
            Some(vae) => vae.weights.clone(),
            None => Network::find(&self.found, VAE.0, VAE.1)?.weights(&self.found, open)?,
        };
        let files = PainterFiles {
            index,
            scheduler: &scheduler,
            texts: texts.collect(),
            unet_config: &self.unet_config,
            unet,
            vae_config: self.vae_config.file(),
            vae,
            embeddings: Vec::new(),
            options: self.extras.options,
        };
        self.finish(files, loras)
    }

    /// Adds what the configuration puts beside the model, and loads it all.
    fn finish(
        &self,
        files: PainterFiles<'_>,
        loras: Loras<'_>,
    ) -> Result<(Painter, Vec<Applied>), PipelineError> {
        let vae = self.extras.vae.as_ref();
        let files = PainterFiles {
            vae_config: match vae.and_then(|vae| vae.config.as_ref()) {
                Some(config) => config.file(),
                None => files.vae_config,
            },
            vae: vae.map_or(files.vae, |vae| vae.weights.clone()),
            embeddings: self.extras.embeddings.clone(),
            options: self.extras.options,
            ..files
        };
        Ok(Painter::load(files, loras)?)
    }
}

/// How many text encoders a model has.
fn text_encoders_of(index: &ModelIndex) -> usize {
    match index.kind {
        PipelineKind::StableDiffusion => 1,
        PipelineKind::StableDiffusionXl => 2,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use troupe_models::weights::{Bytes, Contents};

    use super::*;
    use crate::manifest::{Entry, PromptStyle};

    const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

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

    impl Contents for Counted {}

    fn model(files: &[(&str, Bytes)], sha256: &str) -> ModelFolder {
        let entry = Entry {
            name: "mine".to_owned(),
            path: "mine".to_owned(),
            source: String::new(),
            licence: String::new(),
            sha256: BTreeMap::from([(UNET.to_owned(), sha256.to_owned())]),
            prompt: PromptStyle::default(),
            canvases: Vec::new(),
            knows: Vec::new(),
            narrow: None,
            painters: Vec::new(),
        };
        let path = PathBuf::from("mine");
        ModelFolder {
            found: Found { name: "mine".to_owned(), path: path.clone(), entry: Some(entry) },
            form: Form::Folder(Network::Whole(UNET.to_owned())),
            unet_config: String::new(),
            vae_config: Named::default(),
            unet: files
                .iter()
                .map(|(file, bytes)| {
                    ((*file).to_owned(), Mapped { path: path.clone(), bytes: bytes.clone() })
                })
                .collect(),
            unet_sha256: OnceLock::new(),
            extras: Extras::default(),
        }
    }

    #[test]
    fn a_unet_is_hashed_once() {
        let counted = Arc::new(Counted::default());
        let bytes: Bytes = counted.clone();
        let folder = model(&[(UNET, bytes)], ABC);
        folder.check_unet().unwrap();
        assert_eq!(folder.hashed().hash, ABC[..10]);
        folder.check_unet().unwrap();
        assert_eq!(counted.0.load(Ordering::Relaxed), 1);
        let other = model(&[(UNET, Arc::new(Counted::default()))], "00");
        assert!(matches!(other.check_unet(), Err(ManifestError::Hash { .. })));
    }
    #[test]
    fn a_unet_in_several_files_is_known_by_all_of_them() {
        let file = |bytes: &[u8]| -> Bytes { Arc::new(bytes.to_vec()) };
        let hash = |second: &[u8]| {
            let files = [(UNET, file(b"abc")), ("unet/second.safetensors", file(second))];
            model(&files, ABC).hashed().hash
        };
        // `sha256sum` of both, their digits without anything between them, by `sha256sum` again.
        assert_eq!(hash(b"def"), "c4e66df524");
        assert_ne!(hash(b"def"), hash(b"deg"));
        // Each file is held to its own hash.
        let files = [("unet/first.safetensors", file(b"x")), (UNET, file(b"abc"))];
        assert!(model(&files, ABC).check_unet().is_ok());
        assert!(model(&files, "00").check_unet().is_err());
    }
}
