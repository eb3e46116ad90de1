//! Which files of a repository a painter or a judge reads: no more, and never a pickle.
//!
//! What is chosen has a name that stands here, or that the user or an index says and that leads nowhere
//! else; what else a hub lists is passed over, whatever its name.

use std::collections::BTreeMap;

use super::{PullError, RemoteFile};

/// The largest text of a model, in bytes.
pub(super) const LARGEST_TEXT: u64 = 16 << 20;

/// Networks of a folder, what their files are called, and whether every painter has them.
const NETWORKS: [(&str, &str, bool); 4] = [
    ("unet", "diffusion_pytorch_model", true),
    ("vae", "diffusion_pytorch_model", true),
    ("text_encoder", "model", true),
    ("text_encoder_2", "model", false),
];
/// Texts that are read where they are there.
const TEXTS: [&str; 9] = [
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/tokenizer.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/vocab.json",
    "tokenizer_2/merges.txt",
];
/// Texts of a CLIP or SigLIP model, which a judge is, that are read where they are there; its configuration always is.
const JUDGE_TEXTS: [&str; 6] = [
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
];
/// Copies of the weights, in the order in which they are looked for.
const VARIANTS: [&str; 3] = ["", "fp16", "bf16"];
const PICKLES: [&str; 5] = ["bin", "ckpt", "pt", "pth", "pkl"];
const WEIGHTS: [&str; 2] = ["safetensors", "gguf"];

/// The files of a commit, to choose from.
pub(super) struct Choice<'a> {
    repository: &'a str,
    files: BTreeMap<&'a str, &'a RemoteFile>,
}

/// Whether a file is an index of others.
pub(super) fn is_index(path: &str) -> bool {
    kind(path) == "json" && path.contains(".safetensors.index.")
}

/// What stands behind the last dot of a path.
fn kind(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, kind)| kind)
}

impl<'a> Choice<'a> {
    pub(super) fn new(repository: &'a str, listed: &'a [RemoteFile]) -> Self {
        let files = listed.iter().map(|file| (file.path.as_str(), file)).collect();
        Self { repository, files }
    }

    /// A file that the user names.
    pub(super) fn single(&self, path: &str) -> Result<&'a RemoteFile, PullError> {
        if PICKLES.contains(&kind(path)) {
            let (repository, part) = (self.repository.to_owned(), format!("`{path}`"));
            return Err(PullError::Pickle { repository, part });
        }
        if !WEIGHTS.contains(&kind(path)) && !["json", "txt"].contains(&kind(path)) {
            return Err(PullError::Kind(path.to_owned()));
        }
        match self.get(path)? {
            Some(file) => Ok(file),
            None => Err(PullError::NotFound(format!("`{path}` in `{}`", self.repository))),
        }
    }

    /// A file that must be there.
    pub(super) fn needed(&self, path: &str) -> Result<&'a RemoteFile, PullError> {
        let missing =
            || PullError::Missing { repository: self.repository.to_owned(), path: path.to_owned() };
        self.get(path)?.ok_or_else(missing)
    }

    /// What a painter reads of a folder in the layout of diffusers, of a network in several files their index; or what a
    /// judge reads of a model in the layout of transformers that looks at pictures.
    pub(super) fn folder(&self, variant: Option<&str>) -> Result<Vec<&'a RemoteFile>, PullError> {
        let Some(index) = self.get("model_index.json")? else {
            let looks = JUDGE_TEXTS[..2].iter().any(|path| self.files.contains_key(path));
            if looks && let Some(config) = self.get("config.json")? {
                return self.judge(config, variant);
            }
            let named = |path: &&&str| WEIGHTS.contains(&kind(path));
            let mut files: Vec<&str> = self.files.keys().filter(named).copied().collect();
            files.truncate(12);
            let files = if files.is_empty() { "none".to_owned() } else { files.join(", ") };
            return Err(PullError::NoFolder { repository: self.repository.to_owned(), files });
        };
        let mut chosen = vec![index];
        for text in TEXTS {
            chosen.extend(self.get(text)?);
        }
        for (folder, stem, always) in NETWORKS {
            let inside = format!("{folder}/");
            if always || self.files.keys().any(|path| path.starts_with(&inside)) {
                chosen.push(self.needed(&format!("{folder}/config.json"))?);
                chosen.push(self.weights(folder, stem, variant)?);
            }
        }
        Ok(chosen)
    }

    /// The texts, and the weights, which are read under one name alone.
    fn judge(
        &self,
        config: &'a RemoteFile,
        variant: Option<&str>,
    ) -> Result<Vec<&'a RemoteFile>, PullError> {
        let mut chosen = vec![config];
        for text in JUDGE_TEXTS {
            chosen.extend(self.get(text)?);
        }
        let dotted = variant.filter(|it| !it.is_empty()).map(|it| format!(".{it}"));
        let weights = if dotted.is_none() { self.get("model.safetensors")? } else { None };
        let Some(weights) = weights else {
            let repository = self.repository.to_owned();
            if dotted.is_none() && self.files.keys().any(|path| PICKLES.contains(&kind(path))) {
                return Err(PullError::Pickle { repository, part: "model".to_owned() });
            }
            let path = format!("model{}.safetensors", dotted.unwrap_or_default());
            return Err(PullError::Missing { repository, path });
        };
        chosen.push(weights);
        Ok(chosen)
    }

    /// The weights of a network, or their index.
    fn weights(
        &self,
        folder: &str,
        stem: &str,
        variant: Option<&str>,
    ) -> Result<&'a RemoteFile, PullError> {
        for copy in VARIANTS.into_iter().filter(|copy| variant.is_none_or(|it| it == *copy)) {
            let dotted = if copy.is_empty() { String::new() } else { format!(".{copy}") };
            let whole = format!("{folder}/{stem}{dotted}.safetensors");
            let index = format!("{folder}/{stem}.safetensors.index{dotted}.json");
            for path in [whole, index] {
                if let Some(file) = self.get(&path)? {
                    return Ok(file);
                }
            }
        }
        let inside = format!("{folder}/");
        let pickle = |path: &&str| path.starts_with(&inside) && PICKLES.contains(&kind(path));
        let repository = self.repository.to_owned();
        if variant.is_none() && self.files.keys().any(pickle) {
            return Err(PullError::Pickle { repository, part: folder.to_owned() });
        }
        let dotted = variant.map_or(String::new(), |it| format!(".{it}"));
        Err(PullError::Missing { repository, path: format!("{folder}/{stem}{dotted}.safetensors") })
    }

    /// A file of this path, if what the hub says of it can be.
    fn get(&self, path: &str) -> Result<Option<&'a RemoteFile>, PullError> {
        let Some(file) = self.files.get(path) else { return Ok(None) };
        if !file.identity.is_sound() {
            let name = file.identity.digits().to_owned();
            return Err(PullError::Unsafe { what: "a hash", name });
        }
        if !WEIGHTS.contains(&kind(path)) && LARGEST_TEXT < file.size {
            let (path, size, most) = (path.to_owned(), file.size, LARGEST_TEXT);
            return Err(PullError::TooLarge { path, size, most });
        }
        Ok(Some(*file))
    }
}
