//! The cache of the hub, written as the hub's own programs write it.
//!
//! `blobs/HASH` is a file, `snapshots/COMMIT/PATH` a link to it, `refs/REVISION` the commit. A file is
//! fetched as `blobs/.troupe-HASH.tmp`, which is locked meanwhile and stays where it was interrupted.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::identity::{Digests, Hashes};
use super::{Hub, PullError, RemoteFile, Wanted};
use crate::files::{FileError, UNFINISHED, write_atomically};
use crate::{Progress, Talk};

/// How often a file is asked for that ends early or was wrong from before.
const TRIES: usize = 5;
/// How many bytes are read at a time.
const CHUNK: usize = 1 << 20;

/// A repository in the cache.
pub(super) struct Store {
    folder: PathBuf,
}

/// A file of the cache, and its SHA-256.
type Blob = (PathBuf, String);

impl Store {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// A file that is there and what the hub says.
    pub(super) fn find(&self, file: &RemoteFile) -> Result<Option<Blob>, PullError> {
        let blobs = self.folder.join("blobs");
        let named = blobs.join(file.identity.digits());
        let mut candidates = vec![named];
        // One that is known by its pointer lies under its SHA-256.
        for entry in fs::read_dir(&blobs).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name();
            if file.identity.is_large(&name.to_string_lossy(), file.size) {
                candidates.push(entry.path());
            }
        }
        for path in candidates {
            let Ok(mut found) = File::open(&path) else { continue };
            if found.metadata().is_ok_and(|it| it.is_file() && it.len() == file.size) {
                let hashes = hashes(&path, &mut found, file.size)?.finish();
                if file.identity.is(&hashes) {
                    return Ok(Some((path, hashes.sha256)));
                }
            }
        }
        Ok(None)
    }

    /// Fetches a file; `pin` is the SHA-256 that it must have, `place` which file of how many it is.
    pub(super) fn fetch(
        &self,
        hub: &mut dyn Hub,
        wanted: Wanted<'_>,
        pin: Option<&String>,
        place: (usize, usize),
        talk: &mut dyn Talk,
    ) -> Result<Blob, PullError> {
        let file = wanted.file;
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(|error| failed(&blobs, error))?;
        let name = format!("{}{}{}", UNFINISHED.0, file.identity.digits(), UNFINISHED.1);
        let path = blobs.join(name);
        let mut part = open(&path)?;
        let hashes = complete(hub, wanted, (&path, &mut part), place, talk)?;
        if let Some(pin) = pin.filter(|pin| **pin != hashes.sha256) {
            fs::remove_file(&path).map_err(|error| failed(&path, error))?;
            return Err(PullError::pin(&file.path, pin, &hashes.sha256));
        }
        part.sync_all().map_err(|error| failed(&path, error))?;
        let blob = blobs.join(file.identity.name(&hashes));
        fs::rename(&path, &blob).map_err(|error| failed(&blob, error))?;
        Ok((blob, hashes.sha256))
    }

    /// Makes a file of a commit a link to a file of the cache.
    pub(super) fn link(&self, commit: &str, path: &str, blob: &Path) -> Result<(), PullError> {
        let place = self.snapshot(commit).join(path);
        let folder = place.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let name = blob.file_name().map_or(blob, Path::new);
        // Out of the snapshot, its folder and that of all snapshots.
        let up = "../".repeat(path.split('/').count() + 1);
        let target = Path::new(&up).join("blobs").join(name);
        let unfinished = folder.join(format!("{}link{}", UNFINISHED.0, UNFINISHED.1));
        drop(fs::remove_file(&unfinished));
        symlink(&target, &unfinished).map_err(|error| failed(&unfinished, error))?;
        fs::rename(&unfinished, &place).map_err(|error| failed(&place, error))
    }

    /// Says which commit a revision is.
    pub(super) fn point(&self, revision: &str, commit: &str) -> Result<(), PullError> {
        if revision != commit {
            write_atomically(&self.folder.join("refs").join(revision), commit.as_bytes())?;
        }
        Ok(())
    }
}

/// Fetches what is missing of a file until it is whole and what the hub says.
fn complete(
    hub: &mut dyn Hub,
    wanted: Wanted<'_>,
    (path, part): (&Path, &mut File),
    (number, of): (usize, usize),
    talk: &mut dyn Talk,
) -> Result<Hashes, PullError> {
    let file = wanted.file;
    let mut left = TRIES;
    loop {
        left -= 1;
        let had = part.metadata().map_err(|error| failed(path, error))?.len();
        let had = if file.size < had { 0 } else { had };
        part.set_len(had).map_err(|error| failed(path, error))?;
        let mut digests = hashes(path, part, file.size)?;
        let mut length = had;
        let mut sink = |bytes: &[u8]| {
            length += bytes.len() as u64;
            if file.size < length {
                return Err(PullError::TooMuch { path: file.path.clone(), size: file.size });
            }
            part.write_all(bytes).map_err(|error| failed(path, error))?;
            digests.update(bytes);
            let (bytes, total) = (length, file.size);
            talk.progress(Progress::Fetching { file: number, of, bytes, total });
            if talk.stopped() { Err(PullError::Stopped) } else { Ok(()) }
        };
        let fetched = if had < file.size {
            hub.fetch(&Wanted { from: had, ..wanted }, &mut sink)
        } else {
            Ok(())
        };
        let why = match fetched {
            // A hub that begins at the first byte whatever it is asked for.
            Err(PullError::TooMuch { .. }) if 0 < had && 0 < left => {
                part.set_len(0).map_err(|error| failed(path, error))?;
                continue;
            }
            Err(PullError::Broken(why)) => why,
            Err(error) => {
                if matches!(error, PullError::TooMuch { .. }) {
                    fs::remove_file(path).map_err(|error| failed(path, error))?;
                }
                return Err(error);
            }
            Ok(()) if length < file.size => "it said nothing more".to_owned(),
            Ok(()) => {
                let hashes = digests.finish();
                if file.identity.is(&hashes) {
                    return Ok(hashes);
                }
                if 0 < had && 0 < left {
                    // What was there from before is to blame, or isn't.
                    part.set_len(0).map_err(|error| failed(path, error))?;
                    continue;
                }
                fs::remove_file(path).map_err(|error| failed(path, error))?;
                let path = file.path.clone();
                return Err(PullError::Hash { path, found: hashes.sha256 });
            }
        };
        if length == had || left == 0 {
            let (path, wanted) = (file.path.clone(), file.size);
            return Err(PullError::Cut { path, wanted, found: length, why });
        }
    }
}

/// Opens a file that isn't whole, for us alone.
fn open(path: &Path) -> Result<File, PullError> {
    let mut options = OpenOptions::new();
    let part = options.create(true).truncate(false).read(true).write(true).open(path);
    let part = part.map_err(|error| failed(path, error))?;
    match part.try_lock() {
        Ok(()) => Ok(part),
        Err(TryLockError::WouldBlock) => Err(PullError::Busy(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(path, error)),
    }
}

/// Reads a file to its end, where it is left; the hashes are those of a file of `size` bytes, which may
/// have more to come.
fn hashes(path: &Path, file: &mut File, size: u64) -> Result<Digests, PullError> {
    let failed = |source| FileError::NotReadable { path: path.to_owned(), source };
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut digests = Digests::new(size);
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).map_err(failed)? {
            0 => return Ok(digests),
            read => digests.update(&chunk[..read]),
        }
    }
}

fn failed(path: &Path, source: io::Error) -> PullError {
    FileError::of_writing(path, source).into()
}
