//! LoRA files: found by path or by the name in a user's own prompt.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use troupe_core::layout::Layout;
use troupe_core::plan::{LoraTag, SubjectLora};
use troupe_models::hash::lora_hash;
use troupe_render::{Adapter, Applied, Loras, Scaled, Scales, Tolerance};

use super::{Hashed, ModelFolder, Subject};
use crate::config::SubjectRule;
use crate::{PipelineError, Studio, Talk, files};

/// The largest `adapter_config.json`, in bytes.
const LARGEST_CONFIG: u64 = 1 << 20;

/// A LoRA file, taken apart.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub(super) struct Used {
    path: PathBuf,
    file: LoraFile,
    scale: Scales,
    /// Whose it is; nobody's if it is the whole picture's.
    subjects: Vec<SubjectRule>,
}

/// The LoRAs that a picture asks for by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// By the tags of its prompt, for the whole picture.
    pub tags: Vec<LoraTag>,
    /// By its plan, for one person each, with that person's id.
    pub own: Vec<(String, SubjectLora)>,
}

impl Subject<'_> {
    /// The LoRAs that it asks for.
    pub fn asked(&self) -> Asked {
        match self {
            Self::Plain(plain) => Asked { tags: plain.loras.clone(), own: Vec::new() },
            Self::Layout(Layout { plan, .. }) => {
                let own = plan.subjects.iter().flat_map(|subject| {
                    subject.loras.iter().map(|lora| (subject.id.clone(), lora.clone()))
                });
                Asked { tags: plan.loras.clone(), own: own.collect() }
            }
        }
    }
}

/// The LoRAs of a run, the configured ones before those of the prompt's tags and of the plan.
#[derive(Clone, Debug, Default)]
pub(super) struct AllUsed {
    /// Those of the whole picture.
    merged: Vec<Used>,
    /// Those of some people.
    bound: Vec<Used>,
}

impl AllUsed {
    /// Opens the files, except those that are among `known` already: such a LoRA is the same as before to a painter.
    ///
    /// # Errors
    ///
    /// If one is missing, broken, or no LoRA.
    pub(super) fn open(
        studio: &Studio,
        asked: &Asked,
        known: &Self,
    ) -> Result<Self, PipelineError> {
        let open = |path: PathBuf, scale: Scales, subjects: Vec<SubjectRule>| {
            let file = match known.iter().find(|known| known.path == path) {
                Some(known) => known.file.clone(),
                None => LoraFile::open(&path)?,
            };
            Ok::<_, PipelineError>(Used { path, file, scale, subjects })
        };
        let mut all = Self::default();
        for lora in &studio.config.paint.loras {
            let whose = lora.subjects.iter().cloned().collect();
            let used = open(PathBuf::from(&lora.path), lora.scales(), whose)?;
            if used.subjects.is_empty() { all.merged.push(used) } else { all.bound.push(used) }
        }
        for tag in &asked.tags {
            all.merged.push(open(path_of(studio, &tag.name)?, tag.weight.into(), Vec::new())?);
        }
        let configured = all.bound.len();
        for (id, lora) in &asked.own {
            let (path, scale) = (path_of(studio, &lora.name)?, Scales::from(lora.scale));
            let whose = SubjectRule { id: Some(id.clone()), ..SubjectRule::default() };
            // What several people have is computed once.
            let same = |used: &&mut Used| used.path == path && used.scale == scale;
            match all.bound.iter_mut().skip(configured).find(same) {
                Some(used) => used.subjects.push(whose),
                None => all.bound.push(open(path, scale, vec![whose])?),
            }
        }
        Ok(all)
    }

    /// Merged and bound, as a model takes them.
    pub(super) fn scaled(&self) -> [Vec<Scaled>; 2] {
        [&self.merged, &self.bound]
            .map(|loras| loras.iter().map(|lora| lora.file.scaled(lora.scale.clone())).collect())
    }

    /// Each by name and hash, the merged ones first.
    pub(super) fn hashed(&self) -> Vec<Hashed> {
        let hashed = |Used { file, scale, .. }: &Used| Hashed {
            name: file.name.clone(),
            hash: file.hash.clone(),
            scale: Some(scale.clone()),
        };
        self.iter().map(hashed).collect()
    }

    /// Those of some people, by name, and whose they are.
    pub(super) fn bound(&self) -> impl Iterator<Item = (&str, &[SubjectRule])> {
        self.bound.iter().map(|lora| (&*lora.file.name, lora.subjects.as_slice()))
    }

    /// Says what became of each.
    pub(super) fn report(&self, applied: &[Applied], talk: &mut dyn Talk) {
        for (lora, used) in applied.iter().zip(self.iter()) {
            let whose =
                (!used.subjects.is_empty()).then(|| format!(", for {}", words(&used.subjects)));
            talk.note(&format!(
                "LoRA {}: {} tensors applied at scale {}{}",
                lora.file,
                lora.tensors.len(),
                lora.scale,
                whose.unwrap_or_default()
            ));
            if 0 < lora.modules_without_alpha {
                talk.note(&format!(
                    "LoRA {}: no alpha for {} modules, so their rank stands in for it",
                    lora.file, lora.modules_without_alpha
                ));
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Used> {
        self.merged.iter().chain(&self.bound)
    }
}

/// Whose a LoRA is, in words.
pub(super) fn words(rules: &[SubjectRule]) -> String {
    rules.iter().map(SubjectRule::words).collect::<Vec<_>>().join(" and ")
}

/// Refuses a configured LoRA that is missing or doesn't fit, before any work is done.
///
/// # Errors
///
/// If there is one.
pub fn check_configured(studio: &Studio, model: &ModelFolder) -> Result<(), PipelineError> {
    let [merged, bound] = AllUsed::open(studio, &Asked::default(), &AllUsed::default())?.scaled();
    model.fits(Loras { merged: &merged, bound: &bound })
}

/// The LoRA that a prompt or a plan names: one of the configured ones, or `NAME.safetensors` in `loras/` of the
/// current folder or of the models' folder.
///
/// # Errors
///
/// If there is none, or the name isn't a plain file name.
pub fn find_lora(studio: &Studio, name: &str) -> Result<LoraFile, PipelineError> {
    LoraFile::open(&path_of(studio, name)?)
}

/// The file of the LoRA that a prompt or a plan names.
fn path_of(studio: &Studio, name: &str) -> Result<PathBuf, PipelineError> {
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
        Some(path) => Ok(path.clone()),
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
