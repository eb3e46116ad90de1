//! Models in the cache of Hugging Face's hub, where `huggingface_hub` and its friends put them.
//!
//! A repository lies in `models--ORG--NAME`: `refs/main` holds the name of a revision, and
//! `snapshots/REVISION` its files, which are links to `blobs`. All of it is read as it is; `pull`
//! fetches and writes.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::files;

/// The longest revision is a SHA-1 in hexadecimal digits; branches have names.
const LONGEST_REVISION: usize = 200;
/// The most bytes of a file that names a revision.
const LONGEST_REFERENCE: u64 = 1 << 10;

/// What `hf:org/name@revision:file` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) repository: &'a str,
    pub(crate) revision: &'a str,
    pub(crate) file: Option<&'a str>,
}

impl<'a> Address<'a> {
    /// Takes an address apart; `None` if it is none, or leads out of the cache.
    pub(crate) fn parse(address: &'a str) -> Option<Self> {
        parse(address)
    }

    /// The folder of its repository in a cache.
    pub(crate) fn folder(self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }
}

/// The folder or file that an address means, if the cache has it.
pub(super) fn resolve(hub: &Path, address: &str) -> Option<PathBuf> {
    let address = Address::parse(address)?;
    let Address { revision, file, .. } = address;
    let folder = hub.join(address.folder());
    let snapshot = snapshot(&folder, revision)?;
    match file {
        None => Some(snapshot),
        Some(file) => Some(snapshot.join(file)).filter(|path| path.is_file()),
    }
}

/// The files of a repository's own folder in a cache; `None` for any other folder.
pub(super) fn snapshot_of(folder: &Path) -> Option<PathBuf> {
    let name = folder.file_name()?.to_string_lossy();
    if name.starts_with("models--") { snapshot(folder, "main") } else { None }
}

fn snapshot(folder: &Path, revision: &str) -> Option<PathBuf> {
    let snapshots = folder.join("snapshots");
    let written = files::read_text(&folder.join("refs").join(revision), LONGEST_REFERENCE).ok();
    let commit = written.as_deref().map_or(revision, str::trim);
    let found = plain(commit).then(|| snapshots.join(commit)).filter(|path| path.is_dir());
    if found.is_some() || revision != "main" {
        return found;
    }
    // Without a `refs/main`, the only revision that is there.
    let mut folders = fs::read_dir(&snapshots).ok()?.filter_map(Result::ok).map(|it| it.path());
    let only = folders.next()?;
    (folders.next().is_none() && only.is_dir()).then_some(only)
}

fn parse(address: &str) -> Option<Address<'_>> {
    let rest = address.strip_prefix("hf:")?;
    let (rest, file) = match rest.split_once(':') {
        Some((rest, file)) => (rest, Some(file)),
        None => (rest, None),
    };
    let (repository, revision) = rest.split_once('@').unwrap_or((rest, "main"));
    let parts: Vec<&str> = repository.split('/').collect();
    let inside = |file: &str| {
        let path = Path::new(file);
        let mut parts = path.components();
        !file.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
    };
    let sound = matches!(parts.len(), 1 | 2)
        && parts.iter().all(|part| plain(part))
        && plain(revision)
        && file.is_none_or(inside);
    sound.then_some(Address { repository, revision, file })
}

/// A name that is no path.
fn plain(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty()
        && name.len() <= LONGEST_REVISION
        && !name.starts_with('.')
        && name.chars().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let address = |repository, revision, file| Some(Address { repository, revision, file });
        assert_eq!(parse("hf:org/name"), address("org/name", "main", None));
        assert_eq!(parse("hf:gpt2@v1.0"), address("gpt2", "v1.0", None));
        let with_file = address("o/n", "main", Some("sub/x.safetensors"));
        assert_eq!(parse("hf:o/n:sub/x.safetensors"), with_file);
        for bad in [
            "org/name",
            "hf:",
            "hf:a/b/c",
            "hf:../x",
            "hf:a/..",
            "hf:a/b@../x",
            "hf:a/b:../x",
            "hf:a/b:/x",
            "hf:a/b:",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_snapshot_is_found_by_its_branch_its_name_and_alone() {
        let hub = tempfile::tempdir().unwrap();
        let folder = hub.path().join("models--org--name");
        for revision in ["abc123", "def456"] {
            fs::create_dir_all(folder.join("snapshots").join(revision)).unwrap();
        }
        let of = |address: &str| resolve(hub.path(), address);
        assert_eq!(of("hf:org/name"), None); // Two revisions, and no branch.
        assert_eq!(of("hf:org/name@def456"), Some(folder.join("snapshots/def456")));
        fs::create_dir(folder.join("refs")).unwrap();
        fs::write(folder.join("refs/main"), "abc123\n").unwrap();
        assert_eq!(of("hf:org/name"), Some(folder.join("snapshots/abc123")));
        assert_eq!(snapshot_of(&folder), Some(folder.join("snapshots/abc123")));
        assert_eq!(snapshot_of(hub.path()), None);
        assert_eq!(of("hf:org/name:x.safetensors"), None);
        fs::write(folder.join("snapshots/abc123/x.safetensors"), b"").unwrap();
        assert_eq!(
            of("hf:org/name:x.safetensors"),
            Some(folder.join("snapshots/abc123/x.safetensors"))
        );
        // What a cache says is no path either.
        fs::write(folder.join("refs/main"), "../../../secret").unwrap();
        assert_eq!(of("hf:org/name"), None);
        fs::remove_dir(folder.join("snapshots/def456")).unwrap();
        fs::remove_file(folder.join("refs/main")).unwrap();
        assert_eq!(of("hf:org/name"), Some(folder.join("snapshots/abc123")));
    }
}
