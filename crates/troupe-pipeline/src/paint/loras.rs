//! LoRA files: found by path or by the name in a user's own prompt.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use troupe_core::plan::LoraTag;
use troupe_models::hash::lora_hash;
use troupe_render::{Adapter, Loras, Scaled, Scales, Tolerance};

use super::{Hashed, ModelFolder};
use crate::config::SubjectRule;
use crate::{PipelineError, Studio, files};

/// The largest `adapter_config.json`, in bytes.
const LARGEST_CONFIG: u64 = 1 << 20;

/// A LoRA file, taken apart.
#[derive(Clone)]
pub struct LoraFile {
    /// The file's name without its extension.
    pub name: String,
    /// As A1111 counts it.
    pub hash: String,
    /// Its modules.
    pub adapter: Arc<Adapter>,
}

impl LoraFile {
    /// Reads a LoRA, and the `adapter_config.json` beside a file of peft.
    ///
    /// # Errors
    ///
    /// If it is missing, broken, or no LoRA.
    pub fn open(path: &Path) -> Result<Self, PipelineError> {
        if !path.is_file() {
            return Err(PipelineError::NoLora {
                name: path.display().to_string(),
                looked: "a file of this name".to_owned(),
            });
        }
        let bytes = files::map(path)?;
        let beside = path.with_file_name("adapter_config.json");
        let of_peft = path.file_stem().is_some_and(|stem| stem == "adapter_model");
        let config = if of_peft && beside.is_file() {
            Some(files::read_text(&beside, LARGEST_CONFIG)?)
        } else {
            None
        };
        let hash = lora_hash((*bytes).as_ref()).unwrap_or_default();
        let (name, config) = (path.display().to_string(), config.as_deref());
        let adapter = Adapter::read(&name, bytes, config, Tolerance::Strict)?;
        let name = path.file_stem().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, hash, adapter: Arc::new(adapter) })
    }

    /// The LoRA at a strength.
    pub fn scaled(&self, scale: Scales) -> Scaled {
        Scaled { adapter: self.adapter.clone(), scale }
    }
}

/// A LoRA of a run.
#[derive(Debug)]
pub(super) struct Used {
    /// Its name and hash, and its scale.
    pub(super) hashed: Hashed,
    /// Its modules, and its scale.
    pub(super) scaled: Scaled,
    /// Whose it is, if it isn't the whole picture's.
    pub(super) subjects: Option<SubjectRule>,
}

impl Used {
    fn new(file: &LoraFile, scale: Scales, subjects: Option<SubjectRule>) -> Self {
        let scaled = file.scaled(scale.clone());
        let hashed =
            Hashed { name: file.name.clone(), hash: file.hash.clone(), scale: Some(scale) };
        Self { hashed, scaled, subjects }
    }
}

/// The LoRAs of the whole picture, the configured ones before those of the prompt's tags, and then those of some people.
///
/// # Errors
///
/// If one is missing, broken, or no LoRA.
pub(super) fn used(studio: &Studio, tags: &[LoraTag]) -> Result<[Vec<Used>; 2], PipelineError> {
    let [mut merged, mut bound] = [const { Vec::new() }; 2];
    for lora in &studio.config.paint.loras {
        let file = LoraFile::open(Path::new(&lora.path))?;
        let used = Used::new(&file, lora.scales(), lora.subjects.clone());
        if used.subjects.is_none() { merged.push(used) } else { bound.push(used) }
    }
    for tag in tags {
        merged.push(Used::new(&find_lora(studio, &tag.name)?, tag.weight.into(), None));
    }
    Ok([merged, bound])
}

/// What [`used`] returns, as a model takes it.
pub(super) fn scaled(loras: &[Vec<Used>; 2]) -> [Vec<Scaled>; 2] {
    loras.each_ref().map(|loras| loras.iter().map(|lora| lora.scaled.clone()).collect())
}

/// Refuses a configured LoRA that is missing or doesn't fit, before any work is done.
///
/// # Errors
///
/// If there is one.
pub fn check_configured(studio: &Studio, model: &ModelFolder) -> Result<(), PipelineError> {
    let [merged, bound] = scaled(&used(studio, &[])?);
    model.fits(Loras { merged: &merged, bound: &bound })
}

/// The LoRA that a prompt names: one of the configured ones, or `NAME.safetensors` in `loras/` of the
/// current folder or of the models' folder.
///
/// # Errors
///
/// If there is none, or the name isn't a plain file name.
pub fn find_lora(studio: &Studio, name: &str) -> Result<LoraFile, PipelineError> {
    let plain = !name.starts_with('.') && !name.contains(['/', '\\', '\0', ':']);
    let mut candidates: Vec<PathBuf> = studio
        .config
        .paint
        .loras
        .iter()
        .map(|lora| PathBuf::from(&lora.path))
        .filter(|path| path.file_stem().is_some_and(|stem| stem == name))
        .collect();
    if plain {
        let file = format!("{name}.safetensors");
        candidates.push(Path::new("loras").join(&file));
        candidates.push(studio.manifest.folder.join("loras").join(&file));
    }
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => LoraFile::open(path),
        None if !plain => Err(PipelineError::LoraPath(name.to_owned())),
        None => Err(PipelineError::NoLora {
            name: name.to_owned(),
            looked: candidates
                .iter()
                .map(|path| format!("`{}`", path.display()))
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}
