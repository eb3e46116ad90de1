//! Models from the hub, into the cache in which `hf:org/name` is looked for.
//!
//! Nothing but `troupe models pull` comes here: whatever else the program does, it reads local files.
//! What is fetched is what a painter reads, and no pickle; each file is written under another name,
//! held to the hash that the hub's listing gives it and to the manifest's, and only then takes its
//! place. Whoever is interrupted goes on where they were.

mod choice;
mod error;
#[cfg(feature = "hub")]
mod hub;
mod identity;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use troupe_models::config::TextFile;
use troupe_models::weights::ShardIndex;

pub use error::PullError;
pub use identity::Identity;

use self::choice::{Choice, LARGEST_TEXT};
use self::store::Store;
use crate::manifest::Address;
use crate::{Talk, files};

/// A hub of models, as far as pulling needs one.
pub trait Hub {
    /// The commit that a revision of a repository is now.
    ///
    /// # Errors
    ///
    /// If there is no such revision, or it isn't shown to us.
    fn commit(&mut self, repository: &str, revision: &str) -> Result<String, PullError>;

    /// The files of a commit.
    ///
    /// # Errors
    ///
    /// If they can't be listed.
    fn files(&mut self, repository: &str, commit: &str) -> Result<Vec<RemoteFile>, PullError>;

    /// Hands over the bytes of a file in their order.
    ///
    /// # Errors
    ///
    /// If they end early ([`PullError::Broken`]), and what `sink` returns.
    fn fetch(
        &mut self,
        wanted: &Wanted<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), PullError>,
    ) -> Result<(), PullError>;
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path in the repository, as the hub says it: it may be anything.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// What it is.
    pub identity: Identity,
}

/// The bytes of a file that are wanted: from one on, to its end.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `org/name`.
    pub repository: &'a str,
    /// The commit.
    pub commit: &'a str,
    /// The file.
    pub file: &'a RemoteFile,
    /// The first byte.
    pub from: u64,
}

/// What is to be pulled.
#[derive(Clone, Debug)]
pub struct Request {
    /// `hf:org/name`, with `@revision` and `:file` or without.
    pub address: String,
    /// The SHA-256 that the manifest wants, by path in the repository.
    pub pins: BTreeMap<String, String>,
    /// Which copy of the weights, such as `fp16`; without one that in whole precision, if it is there.
    pub variant: Option<String>,
}

/// Where the hub is, and whether it may be asked.
#[derive(Clone, Debug, Default)]
pub struct HubSettings {
    /// Another one than Hugging Face's own; `HF_ENDPOINT`.
    pub endpoint: Option<String>,
    /// Whether nothing may be fetched; `HF_HUB_OFFLINE`.
    pub offline: bool,
}

/// What was pulled.
#[derive(Clone, Debug, Serialize)]
pub struct Pulled {
    /// The folder or file that the address means now.
    pub path: PathBuf,
    /// The commit.
    pub commit: String,
    /// Its files.
    pub files: Vec<PulledFile>,
}

/// A file that is there now.
#[derive(Clone, Debug, Serialize)]
pub struct PulledFile {
    /// Its path in the repository.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
    /// In bytes.
    pub bytes: u64,
    /// Whether it had to be fetched.
    pub fetched: bool,
}

/// The hub, if it may be asked and this program was built for it.
///
/// # Errors
///
/// If not, or its address is none.
pub fn connect(settings: &HubSettings) -> Result<Box<dyn Hub>, PullError> {
    if settings.offline {
        return Err(PullError::Offline);
    }
    #[cfg(feature = "hub")]
    return Ok(Box::new(hub::HfHub::connect(settings)?));
    #[cfg(not(feature = "hub"))]
    Err(PullError::NotBuilt)
}

/// Fetches what is missing of a model into a cache.
///
/// # Errors
///
/// If it can't be had, is another one than it should be, or is nothing that we read; what was fetched
/// so far stays for the next time, and the cache says nothing of it.
pub fn pull(
    hub: &mut dyn Hub,
    cache: &Path,
    request: &Request,
    talk: &mut dyn Talk,
) -> Result<Pulled, PullError> {
    let wrong = || PullError::Address(request.address.clone());
    let address = Address::parse(&request.address).ok_or_else(wrong)?;
    let Address { repository, revision, file } = address;
    let commit = hub.commit(repository, revision)?;
    if commit.len() != 40 || !commit.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(PullError::Unsafe { what: "a commit", name: commit });
    }
    let listed = hub.files(repository, &commit)?;
    let choice = Choice::new(repository, &listed);
    let mut chosen = match file {
        Some(file) => vec![choice.single(file)?],
        None => choice.folder(request.variant.as_deref())?,
    };
    let store = Store::new(cache.join(address.folder()));
    let mut pulled = Pulling { hub, store: &store, repository, commit: &commit, request, talk };
    let mut kept = Vec::new();
    let mut index = 0;
    while let Some(&file) = chosen.get(index) {
        index += 1;
        let (blob, entry) = pulled.file(file, (index, chosen.len()))?;
        // An index names the files that hold the weights.
        if choice::is_index(&file.path) {
            let text = files::read_text(&blob, LARGEST_TEXT)?;
            let text = TextFile { name: &file.path, bytes: text.as_bytes() };
            for name in ShardIndex::from_json(text)?.files() {
                let folder = file.path.rsplit_once('/').map(|(folder, _)| folder);
                let path = folder.map_or_else(|| name.to_owned(), |it| format!("{it}/{name}"));
                chosen.push(choice.needed(&path)?);
            }
        }
        kept.push((blob, entry));
    }
    for (blob, entry) in &kept {
        store.link(&commit, &entry.path, blob)?;
    }
    store.point(revision, &commit)?;
    let snapshot = store.snapshot(&commit);
    let path = file.map_or_else(|| snapshot.clone(), |file| snapshot.join(file));
    Ok(Pulled { path, commit, files: kept.into_iter().map(|(_, entry)| entry).collect() })
}

/// What all files of one call have in common.
struct Pulling<'a> {
    hub: &'a mut dyn Hub,
    store: &'a Store,
    repository: &'a str,
    commit: &'a str,
    request: &'a Request,
    talk: &'a mut dyn Talk,
}

impl Pulling<'_> {
    /// A file that is there already, or fetched; and where it lies.
    fn file(
        &mut self,
        file: &RemoteFile,
        place: (usize, usize),
    ) -> Result<(PathBuf, PulledFile), PullError> {
        let there = self.store.find(file)?;
        let fetched = there.is_none();
        let pin = self.request.pins.get(&file.path);
        let (blob, sha256) = if let Some(there) = there {
            there
        } else {
            let (repository, commit) = (self.repository, self.commit);
            let wanted = Wanted { repository, commit, file, from: 0 };
            self.store.fetch(self.hub, wanted, pin, place, self.talk)?
        };
        if let Some(pin) = pin.filter(|pin| **pin != sha256) {
            return Err(PullError::pin(&file.path, pin, &sha256));
        }
        let path = file.path.clone();
        Ok((blob, PulledFile { path, sha256, bytes: file.size, fetched }))
    }
}
