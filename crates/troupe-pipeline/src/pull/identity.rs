//! What a hub says of a file, and whether bytes are it.
//!
//! Small files are blobs of git, known by SHA-1 of a header and their bytes. Large ones lie in Git LFS:
//! git has a pointer to them, a text of their SHA-256 and size (git-lfs, `docs/spec.md`), so the SHA-1
//! of that pointer holds a file to its SHA-256 also where the listing doesn't give it.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use troupe_models::hash::hexadecimal;

/// What a file is. Hashes are of lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The SHA-1 of git's blob of the file.
    Blob(String),
    /// The SHA-1 of git's blob of the pointer to the file.
    Pointer(String),
    /// The SHA-256 of the file.
    Sha256(String),
}

/// The hashes of a file that is being read.
pub(super) struct Digests {
    sha256: Sha256,
    blob: Sha1,
    size: u64,
}

/// The hashes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hashes {
    pub(super) sha256: String,
    blob: String,
    size: u64,
}

impl Identity {
    /// Its digits, whatever they are of; a name for what isn't whole yet.
    pub(super) fn digits(&self) -> &str {
        match self {
            Self::Blob(digits) | Self::Pointer(digits) | Self::Sha256(digits) => digits,
        }
    }

    /// Whether its digits are some; a hub may say anything.
    pub(super) fn is_sound(&self) -> bool {
        let length = match self {
            Self::Blob(_) | Self::Pointer(_) => 40,
            Self::Sha256(_) => 64,
        };
        let digits = self.digits();
        digits.len() == length && digits.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// Whether a file with these hashes is the one that is meant.
    pub(super) fn is(&self, hashes: &Hashes) -> bool {
        match self {
            Self::Blob(blob) => *blob == hashes.blob,
            Self::Pointer(pointer) => *pointer == pointer_of(&hashes.sha256, hashes.size),
            Self::Sha256(sha256) => *sha256 == hashes.sha256,
        }
    }

    /// Whether a file in Git LFS with this SHA-256 and size is the one that is meant.
    pub(super) fn is_large(&self, sha256: &str, size: u64) -> bool {
        match self {
            Self::Blob(_) => false,
            Self::Pointer(pointer) => *pointer == pointer_of(sha256, size),
            Self::Sha256(own) => own == sha256,
        }
    }

    /// What the hub's own cache calls a file with these hashes: in Git LFS by SHA-256, else by git's.
    pub(super) fn name(&self, hashes: &Hashes) -> String {
        match self {
            Self::Blob(blob) => blob.clone(),
            Self::Pointer(_) | Self::Sha256(_) => hashes.sha256.clone(),
        }
    }
}

impl Digests {
    /// Of a file of so many bytes.
    pub(super) fn new(size: u64) -> Self {
        Self { sha256: Sha256::new(), blob: Sha1::new_with_prefix(header(size)), size }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.blob.update(bytes);
    }

    pub(super) fn finish(self) -> Hashes {
        let sha256 = hexadecimal(&self.sha256.finalize());
        let blob = hexadecimal(&self.blob.finalize());
        Hashes { sha256, blob, size: self.size }
    }
}

/// The SHA-1 of git's blob of the pointer to a file in Git LFS.
fn pointer_of(sha256: &str, size: u64) -> String {
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n");
    let header = header(pointer.len() as u64);
    hexadecimal(&Sha1::new_with_prefix(header).chain_update(pointer).finalize())
}

/// What git puts before the bytes of a blob.
fn header(size: u64) -> String {
    format!("blob {size}\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(bytes: &[u8]) -> Hashes {
        let mut digests = Digests::new(bytes.len() as u64);
        for part in bytes.chunks(3) {
            digests.update(part);
        }
        digests.finish()
    }

    #[test]
    fn blobs_are_gits() {
        // `printf 'hello\n' | git hash-object --stdin`.
        let blob = Identity::Blob("ce013625030ba8dba906f756967f9e9ca394464a".to_owned());
        assert!(blob.is_sound() && blob.is(&hashes(b"hello\n")));
        assert!(!blob.is(&hashes(b"hello")));
    }

    #[test]
    fn a_pointer_holds_a_file_to_its_sha256_and_size() {
        // What the hub lists for a file of 383,865,448 bytes, `layers-0.safetensors`.
        let sha256 = "07f700e293baeaf3cd4240c3df1a948c4403f16961ea7979e86c8d6a9f8fd466";
        let pointer = Identity::Pointer("2414184f64bda500ff7d0997c6a5e1a5bf69f84f".to_owned());
        assert!(pointer.is_large(sha256, 383_865_448));
        assert!(!pointer.is_large(sha256, 383_865_449));
        assert!(!pointer.is_large(&sha256.replace('7', "8"), 383_865_448));
    }

    #[test]
    fn what_is_no_hash_is_told() {
        for digits in ["", "abc", "../../../../../../../../../../../../etc/a", &"A".repeat(40)] {
            assert!(!Identity::Blob(digits.to_owned()).is_sound(), "{digits}");
        }
        assert!(!Identity::Sha256("a".repeat(40)).is_sound());
        assert!(Identity::Sha256("a".repeat(64)).is_sound());
    }
}
