//! `models/manifest.toml`: the models that are known by name, and where their files lie.

mod hub;

pub(crate) use self::hub::Address;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use troupe_core::layout::Canvas;
use troupe_models::hash::sha256;

use crate::files::{self, FileError};
use crate::pull::{PullError, Request};

/// The largest manifest that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The known models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// The folder that the entries' paths start from.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The cache of Hugging Face's hub, in which `hf:org/name` is looked for.
    #[serde(skip)]
    pub hub: Option<PathBuf>,
    /// Language models.
    pub planner: Vec<Entry>,
    /// Diffusion models.
    pub painter: Vec<Entry>,
    /// Whoever looks at what was painted: a folder with the classifiers `first` and `second`, or with a CLIP or SigLIP model.
    pub judge: Vec<Entry>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What the configuration calls it.
    pub name: String,
    /// From the manifest's folder, or `hf:org/name` in the hub's cache: a GGUF file, a diffusers folder or checkpoint
    /// in one file, or a folder of judges.
    pub path: String,
    /// Where it comes from.
    pub source: String,
    /// Under which licence.
    pub licence: String,
    /// SHA-256 of each file, by its path inside a folder, or `""` where the model is one file.
    #[serde(default)]
    pub sha256: BTreeMap<String, String>,
    /// How a language model is asked.
    #[serde(default)]
    pub prompt: PromptStyle,
    /// The sizes on which a painter is at home.
    #[serde(default)]
    pub canvases: Vec<Canvas>,
    /// Nouns that a painter has seen; empty where that isn't known.
    #[serde(default)]
    pub knows: Vec<String>,
    /// The nouns whose people a painter draws as narrow as somebody who stands, where all others are as wide as seen from the waist
    /// up; absent where it can do both.
    #[serde(default)]
    pub narrow: Option<Vec<String>>,
    /// The painters, by name, whose pictures a judge was made for; empty where that isn't known.
    #[serde(default)]
    pub painters: Vec<String>,
}

/// How a language model is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptStyle {
    /// With instructions and examples, through its chat template.
    #[default]
    Chat,
    /// With the bare prompt, because it was trained on nothing else.
    Bare,
}

/// A model, found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What to call it.
    pub name: String,
    /// Its file or folder.
    pub path: PathBuf,
    /// What the manifest says of it, if it is there.
    pub entry: Option<Entry>,
}

/// Whether a file is the one that the manifest means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// `planner/starter`, `painter/starter` or `judge/starter`.
    pub model: String,
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it; `None` if nothing is.
    pub problem: Option<String>,
}

/// Why a model can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The manifest can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The manifest is invalid.
    #[error("`{path}`: {source}", path = path.display())]
    Invalid {
        /// Its file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: toml::de::Error,
    },
    /// Neither a name nor a path.
    #[error(
        "there is no {kind} `{name}`: it is no path that exists, and the manifest knows {known}; put the file there, or name one of these"
    )]
    Unknown {
        /// Planner, painter or judge.
        kind: &'static str,
        /// As it was asked for.
        name: String,
        /// The names that are known.
        known: String,
    },
    /// Known, but not there.
    #[error("the {kind} `{name}` is missing: wanted `{path}`, which comes from {home}", path = path.display())]
    Missing {
        /// Planner, painter or judge.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it should be.
        path: PathBuf,
        /// Where it comes from.
        home: String,
    },
    /// A scheme that isn't supported.
    #[error(
        "`{0}` isn't in the cache of the hub, and local files only are read here: fetch it with `troupe models pull {0}`, or name a path"
    )]
    Remote(String),
    /// Another file than the manifest means.
    #[error("`{path}` has the SHA-256 {found}, and the manifest wants {wanted}; get the file again", path = path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The manifest's.
        wanted: String,
    },
}

impl ManifestError {
    /// See [`crate::PipelineError::exit_code`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File(_) | Self::Unknown { .. } | Self::Missing { .. } | Self::Hash { .. } => 3,
            Self::Invalid { .. } => 2,
            Self::Remote(_) => 6,
        }
    }
}

impl Manifest {
    /// Reads `manifest.toml` in a folder of models; without one, no model is known by name.
    ///
    /// # Errors
    ///
    /// If it is there and can't be read.
    pub fn open(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join("manifest.toml");
        if !path.exists() {
            return Ok(Self { folder: folder.to_owned(), ..Self::default() });
        }
        let text = files::read_text(&path, LARGEST)?;
        let mut manifest: Self =
            toml::from_str(&text).map_err(|source| ManifestError::Invalid { path, source })?;
        folder.clone_into(&mut manifest.folder);
        Ok(manifest)
    }

    /// A language model by its name or path.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn planner(&self, name: &str) -> Result<Found, ManifestError> {
        self.find("planner", &self.planner, name)
    }

    /// A diffusion model by its name or path.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn painter(&self, name: &str) -> Result<Found, ManifestError> {
        self.find("painter", &self.painter, name)
    }

    /// A judge by its name or folder.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn judge(&self, name: &str) -> Result<Found, ManifestError> {
        self.find("judge", &self.judge, name)
    }

    fn find(
        &self,
        kind: &'static str,
        entries: &[Entry],
        name: &str,
    ) -> Result<Found, ManifestError> {
        if name.starts_with("hf:") || name.contains("://") {
            let cached = self.hub.as_deref().and_then(|hub| hub::resolve(hub, name));
            let path = cached.ok_or_else(|| ManifestError::Remote(name.to_owned()))?;
            let last = name.rsplit(['/', ':']).next().unwrap_or(name);
            let name = last.split('@').next().unwrap_or(last).trim_end_matches(".safetensors");
            return Ok(Found { name: name.to_owned(), path, entry: None });
        }
        if let Some(entry) = entries.iter().find(|entry| entry.name == name) {
            let path = self.path_of(entry);
            if !path.exists() {
                if entry.path.starts_with("hf:") {
                    return Err(ManifestError::Remote(name.to_owned()));
                }
                let home = entry.source.clone();
                return Err(ManifestError::Missing { kind, name: name.to_owned(), path, home });
            }
            return Ok(Found { name: name.to_owned(), path, entry: Some(entry.clone()) });
        }
        let path = PathBuf::from(name);
        if !name.is_empty() && path.exists() {
            let stem = path.file_stem().map(|it| it.to_string_lossy().into_owned());
            // A repository in a cache is its snapshot.
            let path = hub::snapshot_of(&path).unwrap_or(path);
            return Ok(Found { name: stem.unwrap_or_default(), path, entry: None });
        }
        let known: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(ManifestError::Unknown { kind, name: name.to_owned(), known })
    }

    /// Where the file or folder of a known model is, or would be.
    pub fn path_of(&self, entry: &Entry) -> PathBuf {
        let Some(address) = Address::parse(&entry.path) else {
            return self.folder.join(&entry.path);
        };
        let hub = self.hub.clone().unwrap_or_default();
        hub::resolve(&hub, &entry.path).unwrap_or_else(|| {
            // Where it would be, once a commit is known.
            let file = address.file.unwrap_or_default();
            hub.join(address.folder()).join("snapshots").join(address.revision).join(file)
        })
    }

    /// What pulling a model fetches: an address as it is, or that of a model whose path is one; with the hashes
    /// that the manifest has for its files.
    ///
    /// # Errors
    ///
    /// If it is neither.
    pub fn pulled(&self, name: &str) -> Result<Request, PullError> {
        let mut entries = self.planner.iter().chain(&self.painter).chain(&self.judge);
        let entry = entries.find(|entry| entry.name == name || entry.path == name);
        let address = entry.map_or(name, |entry| entry.path.as_str());
        let Some(Address { file, .. }) = Address::parse(address) else {
            return Err(PullError::Address(name.to_owned()));
        };
        let pins = entry.map(|entry| entry.sha256.clone()).unwrap_or_default().into_iter();
        // A model of one file has its hash under no name.
        let path =
            |path: String| if path.is_empty() { file.unwrap_or_default().to_owned() } else { path };
        let pins = pins.map(|(file, hash)| (path(file), hash)).collect();
        Ok(Request { address: address.to_owned(), pins, variant: None })
    }

    /// Compares every file of every known model with its hash.
    pub fn verify(&self) -> Vec<Verified> {
        let kinds =
            [("planner", &self.planner), ("painter", &self.painter), ("judge", &self.judge)];
        let mut verified = Vec::new();
        for (kind, entries) in kinds {
            for entry in entries {
                let path = self.path_of(entry);
                let found = Found { name: entry.name.clone(), path, entry: Some(entry.clone()) };
                for file in entry.sha256.keys() {
                    let problem = found.check(file).err().map(|error| error.to_string());
                    let model = format!("{kind}/{}", entry.name);
                    verified.push(Verified { model, file: inside(&found.path, file), problem });
                }
            }
        }
        verified
    }
}

impl Found {
    /// Compares one of the model's files with its hash, where the manifest has one.
    ///
    /// # Errors
    ///
    /// If it is another file, or can't be read.
    pub fn check(&self, file: &str) -> Result<(), ManifestError> {
        self.compare(file, || hash(&inside(&self.path, file)))
    }

    /// The same, of a file whose SHA-256 the caller knows; it is asked for only where there is one to compare it with.
    ///
    /// # Errors
    ///
    /// If it is another file, or what the caller says.
    pub(crate) fn compare(
        &self,
        file: &str,
        sha256: impl FnOnce() -> Result<String, FileError>,
    ) -> Result<(), ManifestError> {
        let wanted = self.entry.as_ref().and_then(|entry| entry.sha256.get(file));
        let Some(wanted) = wanted else { return Ok(()) };
        let found = sha256()?;
        if found == *wanted {
            return Ok(());
        }
        let path = inside(&self.path, file);
        Err(ManifestError::Hash { path, found, wanted: wanted.clone() })
    }
}

fn inside(path: &Path, file: &str) -> PathBuf {
    if file.is_empty() { path.to_owned() } else { path.join(file) }
}

fn hash(path: &Path) -> Result<String, FileError> {
    Ok(sha256((*files::map(path)?).as_ref()))
}
