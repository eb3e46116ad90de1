//! Why a model can't be pulled.

use std::path::PathBuf;

use troupe_models::config::ConfigError;

use crate::files::FileError;

/// Why a model can't be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The program was built without it.
    #[error(
        "this build fetches nothing; one made with `cargo build --release -p troupe --features hub` does, and `hf download` fills the same cache"
    )]
    NotBuilt,
    /// The user said so.
    #[error("HF_HUB_OFFLINE is set, so nothing is fetched")]
    Offline,
    /// Neither an address nor a name that stands for one.
    #[error(
        "wanted `hf:ORG/NAME`, perhaps with `@REVISION` and `:FILE`, or the name of a model whose path in the manifest is one, and it is `{0}`"
    )]
    Address(String),
    /// There is no place for it.
    #[error(
        "there is no cache of the hub: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME are unset"
    )]
    NoCache,
    /// The hub doesn't have it.
    #[error("the hub has no {0}")]
    NotFound(String),
    /// The hub doesn't show it to us.
    #[error(
        "the hub doesn't show {what} (status {status}); where its licence must be accepted, do so there, and set HF_TOKEN"
    )]
    Denied {
        /// What was asked for.
        what: String,
        /// The status of HTTP.
        status: u16,
    },
    /// The hub can't be asked, or answers something else.
    #[error("the hub can't be asked for {what}: {problem}")]
    Failed {
        /// What was asked for.
        what: String,
        /// What happened.
        problem: String,
    },
    /// Bytes that ended early.
    #[error("{0}")]
    Broken(String),
    /// More bytes than the file has.
    #[error("more bytes came than the {size} of `{path}`")]
    TooMuch {
        /// Its path in the repository.
        path: String,
        /// As the hub lists it.
        size: u64,
    },
    /// A file that ended early, however often it was asked for.
    #[error(
        "`{path}` ended after {found} of its {wanted} bytes ({why}); the same command goes on from there"
    )]
    Cut {
        /// Its path in the repository.
        path: String,
        /// In bytes.
        wanted: u64,
        /// In bytes.
        found: u64,
        /// What happened.
        why: String,
    },
    /// Other bytes than the hub's listing says.
    #[error(
        "what came as `{path}` is another file than the hub lists (SHA-256 {found}); it is thrown away"
    )]
    Hash {
        /// Its path in the repository.
        path: String,
        /// Its SHA-256.
        found: String,
    },
    /// Another file than the manifest means.
    #[error("`{path}` has the SHA-256 {found}, and the manifest wants {wanted}; it isn't used")]
    Pin {
        /// Its path in the repository.
        path: String,
        /// The manifest's.
        wanted: String,
        /// Its own.
        found: String,
    },
    /// A name that leads elsewhere.
    #[error("the hub names {what} `{name}`, which is none, and nothing is written")]
    Unsafe {
        /// What it should be.
        what: &'static str,
        /// What it is.
        name: String,
    },
    /// Weights that run code when they are read.
    #[error(
        "`{repository}` has its {part} as a pickle, and pickles are never fetched because they can run code"
    )]
    Pickle {
        /// `org/name`.
        repository: String,
        /// The file or network.
        part: String,
    },
    /// A file that nothing here reads.
    #[error("wanted a file of safetensors, json, txt or gguf, and it is `{0}`")]
    Kind(String),
    /// A file that is too large for what it is.
    #[error("`{path}` has {size} bytes, and {most} are the most of such a file")]
    TooLarge {
        /// Its path in the repository.
        path: String,
        /// In bytes.
        size: u64,
        /// In bytes.
        most: u64,
    },
    /// A file that is needed and the repository hasn't.
    #[error("`{repository}` has no `{path}`, which is needed")]
    Missing {
        /// `org/name`.
        repository: String,
        /// The path that was wanted.
        path: String,
    },
    /// No folder of a painter or a judge.
    #[error(
        "`{repository}` is no painter in the layout of diffusers and no CLIP or SigLIP model; wanted is `hf:{repository}:FILE` with one of {files}"
    )]
    NoFolder {
        /// `org/name`.
        repository: String,
        /// Its files that can be named.
        files: String,
    },
    /// Another program is at it.
    #[error("another program is fetching `{path}`", path = .0.display())]
    Busy(PathBuf),
    /// A file of the cache can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The index of a network's files is broken.
    #[error(transparent)]
    Index(#[from] ConfigError),
    /// The user stopped it.
    #[error("stopped")]
    Stopped,
}

impl PullError {
    pub(super) fn pin(path: &str, wanted: &str, found: &str) -> Self {
        let [path, wanted, found] = [path, wanted, found].map(str::to_owned);
        Self::Pin { path, wanted, found }
    }

    /// See [`crate::PipelineError::exit_code`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Address(_) | Self::NoCache => 2,
            Self::NotFound(_)
            | Self::Denied { .. }
            | Self::Failed { .. }
            | Self::Broken(_)
            | Self::TooMuch { .. }
            | Self::Cut { .. }
            | Self::Hash { .. }
            | Self::Pin { .. }
            | Self::TooLarge { .. }
            | Self::Missing { .. }
            | Self::NoFolder { .. }
            | Self::Index(_) => 3,
            Self::Busy(_) => 4,
            Self::NotBuilt
            | Self::Offline
            | Self::Unsafe { .. }
            | Self::Pickle { .. }
            | Self::Kind(_) => 6,
            Self::File(error) => error.exit_code(),
            Self::Stopped => 130,
        }
    }
}
