//! All effects on the file system: a file is whole or absent, and an error names it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use troupe_models::weights::{Bytes, Contents};

/// How the name of a file begins and ends that isn't whole yet.
pub(crate) const UNFINISHED: (&str, &str) = (".troupe-", ".tmp");

/// Why a file can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It isn't there.
    #[error("`{path}` doesn't exist", path = .0.display())]
    Missing(PathBuf),
    /// It is a folder or something else that isn't a file.
    #[error("`{path}` is no file", path = .0.display())]
    NotAFile(PathBuf),
    /// It is larger than any file of its kind.
    #[error("`{path}` is larger than {most} bytes, the most that is read of such a file", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes.
        most: u64,
    },
    /// It isn't text.
    #[error("`{path}` is no UTF-8 text", path = .0.display())]
    NotUtf8(PathBuf),
    /// The disk is full.
    #[error("there is no space left for `{path}`", path = .0.display())]
    NoSpace(PathBuf),
    /// Its folder can't be written to.
    #[error("`{path}` can't be written: {source}", path = path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It can't be read.
    #[error("`{path}` can't be read: {source}", path = path.display())]
    NotReadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl FileError {
    /// What the system says of a file that can't be written.
    pub(crate) fn of_writing(path: &Path, source: io::Error) -> Self {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::NoSpace(path.to_owned())
        } else {
            Self::NotWritable { path: path.to_owned(), source }
        }
    }

    /// See [`crate::PipelineError::exit_code`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoSpace(_) => 4,
            Self::Missing(_)
            | Self::NotAFile(_)
            | Self::TooLarge { .. }
            | Self::NotUtf8(_)
            | Self::NotWritable { .. }
            | Self::NotReadable { .. } => 2,
        }
    }
}

/// Writes a file by way of a temporary one in the same folder, which is made where it is missing.
///
/// # Errors
///
/// If it can't be written; then what was there before is there still, and nothing else.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |source: io::Error| FileError::of_writing(path, source);
    // A link stays one, and its file is replaced. Renamed over, a pipe or a device (`/dev/null`, for root) would be gone.
    let target = match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => fs::canonicalize(path).map_err(failed)?,
        Ok(_) | Err(_) => path.to_owned(),
    };
    let is_other = fs::metadata(&target).is_ok_and(|found| !found.is_file());
    if is_other || target.file_name().is_none() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    let folder = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(failed)?;
    // Dropped before it is kept, it is removed.
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED.0)
        .suffix(UNFINISHED.1)
        .permissions(permissions())
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    // A folder that can't be synced is no reason to call a written file missing.
    let _synced = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Removes what a killed program was writing in a folder, which may be missing.
///
/// # Errors
///
/// If it is there and can't be removed.
pub fn remove_unfinished(folder: &Path) -> Result<(), FileError> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(UNFINISHED.0) && name.ends_with(UNFINISHED.1) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|source| FileError::NotWritable { path, source })?;
        }
    }
    Ok(())
}

/// Those of any new file, from which the system takes what the user's mask forbids.
fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o666)
}

/// Reads a text of at most `most` bytes.
///
/// # Errors
///
/// If it can't be read, is larger, or isn't UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String, FileError> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| FileError::NotReadable { path: path.to_owned(), source })?;
    if most < bytes.len() as u64 {
        return Err(FileError::TooLarge { path: path.to_owned(), most });
    }
    String::from_utf8(bytes).map_err(|_| FileError::NotUtf8(path.to_owned()))
}

/// Maps a file into memory, for reading.
///
/// # Errors
///
/// If it can't be read.
pub fn map(path: &Path) -> Result<Bytes, FileError> {
    let file = open(path)?;
    let failed = |source| FileError::NotReadable { path: path.to_owned(), source };
    if file.metadata().map_err(failed)?.len() == 0 {
        return Ok(Arc::new(Vec::new())); // The system maps no empty file.
    }
    #[expect(unsafe_code, reason = "a memory map is what keeps weights out of the heap")]
    // SAFETY: the map is only read. A file that another process shortens meanwhile ends this one with a signal, and one
    // that is overwritten gives other numbers; neither breaks what the types of plain bytes promise.
    let mapped = unsafe { memmap2::Mmap::map(&file) }.map_err(failed)?;
    Ok(Arc::new(Map(mapped)))
}

/// A file in memory, as far as it was read and not released.
struct Map(memmap2::Mmap);

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Contents for Map {
    fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            #[expect(
                unsafe_code,
                reason = "advice that empties private memory would change what it holds"
            )]
            // SAFETY: the map is never written to, so the pages that go come back from the file with the same bytes.
            let advised =
                unsafe { self.0.unchecked_advise_range(advice, range.start, range.len()) };
            // Pages that stay are no error: they only take memory.
            drop(advised);
        }
        #[cfg(not(unix))]
        let _: Range<usize> = range;
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    let failed = |source: io::Error| {
        if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            FileError::Missing(path.to_owned())
        } else {
            FileError::NotReadable { path: path.to_owned(), source }
        }
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    File::open(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_whole_and_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(read_text(&path, 3).unwrap(), "two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!((*map(&path).unwrap()).as_ref(), b"two");
    }

    #[test]
    fn only_what_is_unfinished_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".troupe-a1.tmp", ".troupe-a1", "a1.tmp", "plan.json"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        remove_unfinished(folder.path()).unwrap();
        remove_unfinished(&folder.path().join("missing")).unwrap();
        assert!(!folder.path().join(".troupe-a1.tmp").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"").unwrap();
        let inside = folder.path().join("file/x.json");
        assert!(matches!(write_atomically(&inside, b"x"), Err(FileError::NotWritable { .. })));
        assert!(matches!(write_atomically(folder.path(), b"x"), Err(FileError::NotAFile(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [socket, file, link] = ["socket", "file", "link"].map(|name| folder.path().join(name));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(matches!(write_atomically(&socket, b"x"), Err(FileError::NotAFile(_))));
        fs::write(&file, b"old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_atomically(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(read_text(&file, 3).unwrap(), "new");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert!(matches!(read_text(&path, 9), Err(FileError::Missing(_))));
        assert!(matches!(read_text(folder.path(), 9), Err(FileError::NotAFile(_))));
        fs::write(&path, b"\xff\xfe").unwrap();
        assert!(matches!(read_text(&path, 9), Err(FileError::NotUtf8(_))));
        assert!(matches!(read_text(&path, 1), Err(FileError::TooLarge { most: 1, .. })));
        fs::write(&path, b"").unwrap();
        assert!((*map(&path).unwrap()).as_ref().is_empty());
    }
}
