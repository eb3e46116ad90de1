//! The weights of one network of a diffusers folder, in whichever files they lie.

use std::path::{Path, PathBuf};

use troupe_models::config::TextFile;
use troupe_models::hash::{sha256, sha256_of_file};
use troupe_models::weights::{Bytes, ShardIndex, Weights};
use troupe_render::RenderError;

use super::texts::text;
use crate::PipelineError;
use crate::files;
use crate::manifest::{Found, ManifestError};

/// The names that diffusers gives to copies in half precision, after the whole one.
const VARIANTS: [&str; 3] = ["", ".fp16", ".bf16"];

/// A mapped file and where it lies; a clone is the same mapping.
#[derive(Clone)]
pub(super) struct Mapped {
    pub(super) path: PathBuf,
    pub(super) bytes: Bytes,
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// Where the weights of a network are, by paths inside of the model's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// One file.
    Whole(String),
    /// An index, and the files that it names.
    Shards(String),
}

impl Network {
    /// Finds the weights in `folder`, whose files are called `stem`; the whole precision first, then
    /// the variants. A pickle under the name is found last, so that it is refused for what it is.
    pub(super) fn find(found: &Found, folder: &str, stem: &str) -> Result<Self, PipelineError> {
        let inside = |file: &str| {
            let name = if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") };
            found.path.join(&name).exists().then_some(name)
        };
        for variant in VARIANTS {
            if let Some(file) = inside(&format!("{stem}{variant}.safetensors")) {
                return Ok(Self::Whole(file));
            }
            if let Some(file) = inside(&format!("{stem}.safetensors.index{variant}.json")) {
                return Ok(Self::Shards(file));
            }
        }
        for pickle in [stem, "pytorch_model", "diffusion_pytorch_model"] {
            if let Some(file) = inside(&format!("{pickle}.bin")) {
                return Ok(Self::Whole(file));
            }
        }
        Err(ManifestError::Missing {
            kind: "painter",
            name: found.name.clone(),
            path: found.path.join(folder).join(format!("{stem}.safetensors")),
            home: "the folder of its model".to_owned(),
        }
        .into())
    }

    /// The files, by paths inside of the model's folder.
    pub(super) fn files(&self, found: &Found) -> Result<Vec<String>, PipelineError> {
        match self {
            Self::Whole(file) => Ok(vec![file.clone()]),
            Self::Shards(file) => {
                let folder = file.rsplit_once('/').map(|(folder, _)| folder);
                let name = |shard: &str| match folder {
                    Some(folder) => format!("{folder}/{shard}"),
                    None => shard.to_owned(),
                };
                Ok(index(found, file)?.files().into_iter().map(name).collect())
            }
        }
    }

    /// The weights, of which nothing but headers is read; `open` maps a file by its path inside of the model's folder.
    pub(super) fn weights(
        &self,
        found: &Found,
        open: impl Fn(&str) -> Result<Mapped, PipelineError>,
    ) -> Result<Weights, PipelineError> {
        match self {
            Self::Whole(file) => weights(&open(file)?),
            Self::Shards(file) => {
                let mut shards = Vec::new();
                for path in self.files(found)? {
                    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                    shards.push((name, open(&path)?.bytes));
                }
                let index = index(found, file)?;
                Ok(Weights::sharded(&index, shards).map_err(RenderError::from)?)
            }
        }
    }
}

fn index(found: &Found, file: &str) -> Result<ShardIndex, PipelineError> {
    let path = found.path.join(file);
    let text = text(&path)?;
    let name = path.display().to_string();
    let file = TextFile { name: &name, bytes: text.as_bytes() };
    Ok(ShardIndex::from_json(file).map_err(RenderError::from)?)
}

/// Maps a file of a model.
pub(super) fn map(path: &Path) -> Result<Mapped, PipelineError> {
    let bytes = files::map(path).map_err(ManifestError::from)?;
    Ok(Mapped { path: path.to_owned(), bytes })
}

/// Maps a file by its path inside of a model's folder, and compares it with the manifest's hash, where it has one.
pub(super) fn map_checked(found: &Found, file: &str) -> Result<Mapped, PipelineError> {
    let mapped = map(&found.path.join(file))?;
    found.compare(file, || Ok(sha256_of_file(&mapped.bytes)))?;
    Ok(mapped)
}

/// The hash by which files are known together: of one its own, of several that of their hashes' digits, one
/// after the other.
pub(super) fn hash_of_several(hashes: &[String]) -> String {
    match hashes {
        [one] => one.clone(),
        several => sha256(several.concat().as_bytes()),
    }
}

fn weights(mapped: &Mapped) -> Result<Weights, PipelineError> {
    let name = mapped.path.display().to_string();
    Ok(Weights::new(&name, mapped.bytes.clone()).map_err(RenderError::from)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(path: &Path) -> Found {
        Found { name: "mine".to_owned(), path: path.to_owned(), entry: None }
    }

    #[test]
    fn whole_files_come_before_variants_and_pickles_last() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("unet")).unwrap();
        let found = found(folder.path());
        let stem = "diffusion_pytorch_model";
        let find = || Network::find(&found, "unet", stem);
        assert!(find().unwrap_err().to_string().contains("unet/diffusion_pytorch_model"));
        let names = [
            "diffusion_pytorch_model.bin",
            "diffusion_pytorch_model.safetensors.index.bf16.json",
            "diffusion_pytorch_model.bf16.safetensors",
            "diffusion_pytorch_model.fp16.safetensors",
            "diffusion_pytorch_model.safetensors",
        ];
        for name in names {
            fs::write(folder.path().join("unet").join(name), b"PK\x03\x04").unwrap();
            let path = format!("unet/{name}");
            let shards = name.ends_with("json");
            let expected = if shards { Network::Shards(path) } else { Network::Whole(path) };
            assert_eq!(find().unwrap(), expected);
        }
        let weights = find().unwrap().weights(&found, |file| map_checked(&found, file));
        let error = weights.unwrap_err();
        assert_eq!(error.exit_code(), 6);
    }

    #[test]
    fn an_index_leads_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let index = "model.safetensors.index.json";
        let text = r#"{"weight_map": {"a": "../secret.safetensors"}}"#;
        fs::write(folder.path().join(index), text).unwrap();
        let found = found(folder.path());
        let network = Network::find(&found, "", "model").unwrap();
        let weights = || network.weights(&found, |file| map_checked(&found, file));
        let error = weights().unwrap_err();
        assert!(error.to_string().contains("plain names"), "{error}");
        assert_eq!(error.exit_code(), 3);
        fs::write(folder.path().join(index), r#"{"weight_map": {"a": "x.safetensors"}}"#).unwrap();
        assert!(weights().unwrap_err().to_string().contains("x.safetensors"));
    }
}
