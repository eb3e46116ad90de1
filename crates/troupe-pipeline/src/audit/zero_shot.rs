//! The files of CLIP and SigLIP models, as transformers writes them.

use std::path::Path;

use troupe_audit::{AuditError, TextTokenizer, ZeroShotFiles, ZeroShotJudge};
use troupe_models::contrastive::{ContrastiveConfig, Family};
use troupe_models::hash::sha256_of_file;
use troupe_models::tokenizer::{TokenizerConfig, UnigramTokenizer};
use troupe_models::weights::Weights;
use troupe_render::TokenizerFiles;

use crate::manifest::{Found, ManifestError};
use crate::paint::texts::{Named, TokenizerTexts};
use crate::{PipelineError, files};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// Whether a folder has such a model; one of trained judges has no `config.json`.
pub(super) fn is(folder: &Path) -> bool {
    folder.join(CONFIG).is_file()
}

/// The judge, and the SHA-256 of its weights.
pub(super) fn load(found: &Found, margin: f64) -> Result<(ZeroShotJudge, String), PipelineError> {
    found.check(CONFIG)?;
    let config = Named::read(&found.path, CONFIG.to_owned())?;
    let optional = |name: &str| Named::read_optional(&found.path, name.to_owned());
    let preprocessor = match optional("preprocessor_config.json")? {
        Some(it) => Some(it),
        None => optional("processor_config.json")?,
    };
    let family = ContrastiveConfig::from_json(config.file()).map_err(AuditError::from)?.family();
    let tokenizer = tokenizer(&found.path, family)?;

    let path = found.path.join(WEIGHTS);
    let bytes = files::map(&path).map_err(ManifestError::from)?;
    let hash = sha256_of_file(&bytes);
    found.compare(WEIGHTS, || Ok(hash.clone()))?;
    let weights = Weights::new(&path.display().to_string(), bytes).map_err(AuditError::from)?;
    let files = ZeroShotFiles {
        config: config.file(),
        preprocessor: preprocessor.as_ref().map(Named::file),
        tokenizer,
        weights,
    };
    #[expect(clippy::cast_possible_truncation, reason = "a share, held against probabilities")]
    let judge = ZeroShotJudge::load(files, margin as f32)?;
    Ok((judge, hash))
}

fn tokenizer(folder: &Path, family: Family) -> Result<TextTokenizer, PipelineError> {
    if family == Family::SigLip {
        let config = Named::read_optional(folder, "tokenizer_config.json".to_owned())?;
        let config = TokenizerConfig::siglip(config.as_ref().map(Named::file));
        let config = config.map_err(AuditError::from)?;
        let pieces = Named::read(folder, "tokenizer.json".to_owned())?;
        let tokenizer = UnigramTokenizer::from_json(pieces.file(), &config);
        return Ok(TextTokenizer::SigLip(tokenizer.map_err(AuditError::from)?));
    }
    let has = |file: &str| folder.join(file).exists();
    if !has("tokenizer.json") && !has("vocab.json") {
        // Many folders with CLIP in them have no vocabulary of their own.
        let built_in = TokenizerFiles::BuiltIn.tokenizer(&TokenizerConfig::default());
        return Ok(TextTokenizer::Clip(built_in.map_err(AuditError::from)?));
    }
    let texts = TokenizerTexts::read(folder, "")?;
    let config = texts.config.as_ref().map(|it| TokenizerConfig::from_json(it.file())).transpose();
    let config = config.map_err(AuditError::from)?.unwrap_or_default();
    let tokenizer = texts.files().tokenizer(&config);
    Ok(TextTokenizer::Clip(tokenizer.map_err(AuditError::from)?))
}
