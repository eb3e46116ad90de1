//! The hashes by which pictures name the models that made them.
//!
//! The forms are those of AUTOMATIC1111's web UI (`modules/hashes.py`), so that its users' tools
//! find the same files: a checkpoint or autoencoder by the first ten digits of its SHA-256
//! ("`AutoV2`"), a textual inversion by the first twelve, a LoRA by the first twelve of the SHA-256 of
//! what follows the safetensors header, so that a changed title in the metadata changes nothing.

use sha2::{Digest, Sha256};

use crate::weights::Bytes;

/// Bytes that are hashed at a time.
const PIECE: usize = 16 << 20;

/// The SHA-256 of bytes, in lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The SHA-256 of a file, a piece at a time, so that no more of a map is in memory.
pub fn sha256_of_file(file: &Bytes) -> String {
    let mut hash = Sha256::new();
    for (index, piece) in (**file).as_ref().chunks(PIECE).enumerate() {
        hash.update(piece);
        file.release(index * PIECE..index * PIECE + piece.len());
    }
    hexadecimal(&hash.finalize())
}

/// Bytes as lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let pair = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(pair).collect()
}

/// The short hash of a checkpoint: ten digits, of the SHA-256 of its file.
pub fn checkpoint_hash(sha256: &str) -> String {
    shorten(sha256.to_owned(), 10)
}

/// The short hash of a textual inversion: twelve digits, of the SHA-256 of its file.
pub fn embedding_hash(sha256: &str) -> String {
    shorten(sha256.to_owned(), 12)
}

/// The short hash of a LoRA: twelve digits, from the bytes of its safetensors file; `None` where
/// they end before the header does.
pub fn lora_hash(bytes: &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk()?;
    let data = rest.get(usize::try_from(u64::from_le_bytes(*length)).ok()?..)?;
    Some(shorten(sha256(data), 12))
}

fn shorten(mut digits: String, length: usize) -> String {
    digits.truncate(length);
    digits
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The second example of FIPS 180-2, "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn sha256_of_the_standard_is_ours() {
        assert_eq!(sha256(b"abc"), ABC);
        let file = |bytes: &[u8]| -> Bytes { Arc::new(bytes.to_vec()) };
        assert_eq!(sha256_of_file(&file(b"abc")), ABC);
        let large: Vec<u8> = (0..=255).cycle().take(PIECE + 3).collect();
        assert_eq!(sha256_of_file(&file(&large)), sha256(&large));
        assert_eq!(checkpoint_hash(ABC), ABC[..10]);
        assert_eq!(embedding_hash(ABC), ABC[..12]);
    }

    #[test]
    fn a_lora_is_known_by_its_data_alone() {
        for header in ["{}", r#"{"__metadata__":{}}"#] {
            let length = u64::try_from(header.len()).unwrap().to_le_bytes();
            let file = [&length, header.as_bytes(), b"abc"].concat();
            assert_eq!(lora_hash(&file).as_deref(), Some(&ABC[..12]));
        }
    }

    #[test]
    fn a_header_past_the_end_has_no_hash() {
        assert_eq!(lora_hash(&[]), None);
        assert_eq!(lora_hash(&[1, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(lora_hash(&[0xff; 16]), None);
    }
}
