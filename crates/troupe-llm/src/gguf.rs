//! Reads the header of a GGUF file, and refuses what would make llama.cpp stop the process.
//!
//! llama.cpp answers many a bad file with `abort()`, so every file passes here first. The header is walked once, with
//! each length checked against what is left of the file before anything is read or kept: the memory used is bounded
//! whatever the file says. Tensor data is not read.
//!
//! The layout is that of `gguf.h` in llama.cpp: magic, version, number of tensors, number of keys, then keys with their
//! values, then names, shapes, types and offsets of the tensors, then their data, aligned. Numbers are little-endian.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde::Serialize;

use self::{
    source::Source,
    tensors::read_tensors,
    values::{F32, I32, LONGEST_TEXT, TEXT, Value, read_values},
};

mod source;
mod tensors;
mod values;

/// What the header of a language model's file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// `general.architecture`, such as `llama`.
    pub architecture: String,
    /// `general.name`.
    pub name: Option<String>,
    /// `general.license`, an SPDX identifier as a rule.
    pub licence: Option<String>,
    /// The longest context the model was trained for, in tokens.
    pub context_length: Option<u64>,
    /// How many tokens its vocabulary has.
    pub vocabulary: u64,
    /// How many numbers its tensors hold.
    pub parameters: u64,
    /// The size of the file in bytes.
    pub file_bytes: u64,
    /// `tokenizer.chat_template`, in Jinja.
    pub chat_template: Option<String>,
}

/// Why a file is not a language model that llama.cpp can be given.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file can't be opened or read.
    #[error("it can't be read")]
    Read(#[from] io::Error),
    /// The first four bytes are others.
    #[error("not a GGUF file: it begins with `{}` instead of `GGUF`", found.escape_ascii())]
    Magic {
        /// The first bytes of the file, at most four.
        found: Vec<u8>,
    },
    /// A version that llama.cpp doesn't read, or numbers in the other byte order.
    #[error("GGUF version {found}, wanted 2 or 3 (little-endian)")]
    Version {
        /// The version of the file.
        found: u32,
    },
    /// The file ends before what it announces: it was cut off, or a length in it is a lie.
    #[error(
        "{what} takes {wanted} bytes, and {left} are left in the file: it is truncated or damaged"
    )]
    Truncated {
        /// What was being read.
        what: String,
        /// Its size in bytes.
        wanted: u64,
        /// What is left of the file.
        left: u64,
    },
    /// More of something than any real model has.
    #[error("{found} {what}, at most {most} are allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there may be.
        most: u64,
    },
    /// A key that a language model must have.
    #[error("`{key}` is missing: {why}")]
    Missing {
        /// The key.
        key: String,
        /// What it is needed for.
        why: &'static str,
    },
    /// Anything else that breaks the format.
    #[error("{what} {rule}")]
    Invalid {
        /// The key or tensor.
        what: String,
        /// What is wrong with it.
        rule: String,
    },
}

/// Keys and their names are kept, so both are bounded; real models have about 50 keys.
const MOST_KEYS: u64 = 4096;
/// Real models have hundreds, mixtures of experts some thousands.
const MOST_TENSORS: u64 = 65_536;
/// `LLAMA_MAX_LAYERS`; llama.cpp asserts it.
const MOST_LAYERS: u64 = 512;
/// More than four times the largest vocabulary known.
const MOST_TOKENS: u64 = 1 << 20;
/// `GGUF_DEFAULT_ALIGNMENT`.
const DEFAULT_ALIGNMENT: u64 = 32;

impl ModelInfo {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    ///
    /// If the file can't be read, or is not a language model in GGUF; the message doesn't name the file.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        // Before it is opened: to open a named pipe is to wait for somebody to write.
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(invalid("it", "is not a regular file"));
        }
        Self::read(BufReader::new(File::open(path)?), metadata.len())
    }

    /// Reads the header from the beginning of a file of `length` bytes.
    ///
    /// # Errors
    ///
    /// If it can't be read, or is not a language model in GGUF.
    pub fn read(reader: impl BufRead, length: u64) -> Result<Self, GgufError> {
        let mut source = Source { reader, left: length };
        let magic = source.bytes(4.min(length), "the magic number")?;
        if magic != b"GGUF" {
            return Err(GgufError::Magic { found: magic });
        }
        let version = source.u32("the version")?;
        if !matches!(version, 2 | 3) {
            return Err(GgufError::Version { found: version });
        }
        let tensors = at_most(source.u64("the number of tensors")?, MOST_TENSORS, "tensors")?;
        let keys = at_most(source.u64("the number of keys")?, MOST_KEYS, "keys")?;

        let mut header = Header { values: read_values(&mut source, keys)? };
        let (architecture, chat_template) = header.check()?;
        let alignment = header.alignment()?;
        let parameters = read_tensors(&mut source, length, tensors, alignment)?;
        Ok(Self {
            name: header.take_text("general.name"),
            licence: header.take_text("general.license"),
            context_length: header.whole(&format!("{architecture}.context_length")),
            vocabulary: header.array_length("tokenizer.ggml.tokens").unwrap_or_default(),
            architecture,
            parameters,
            file_bytes: length,
            chat_template,
        })
    }
}

/// The keys of a file.
struct Header {
    values: BTreeMap<String, Value>,
}

impl Header {
    /// Checks that a language model and its tokenizer are described; the architecture and the chat template.
    fn check(&mut self) -> Result<(String, Option<String>), GgufError> {
        let architecture =
            self.required_text("general.architecture", "llama.cpp reads it first")?;
        if 1 < self.whole("split.count").unwrap_or(1) {
            return Err(invalid(
                "split.count",
                "says that this is one of several parts; merge them (llama-gguf-split --merge)",
            ));
        }
        for (key, most) in [("block_count", MOST_LAYERS), ("embedding_length", 1 << 20)] {
            let key = format!("{architecture}.{key}");
            match self.whole(&key) {
                Some(found) if (1..=most).contains(&found) => {}
                Some(found) => {
                    return Err(invalid(&key, &format!("is {found}, wanted 1 to {most}")));
                }
                None => {
                    return Err(GgufError::Missing {
                        key,
                        why: "the network can't be built without it",
                    });
                }
            }
        }
        let tokenizer = self.required_text("tokenizer.ggml.model", "there is no tokenizer")?;
        if tokenizer == "none" || tokenizer == "no_vocab" {
            return Err(invalid("tokenizer.ggml.model", "says that the file has no tokenizer"));
        }
        let tokens = self.array("tokenizer.ggml.tokens", &[TEXT])?;
        let Some(tokens) = tokens.filter(|&tokens| 0 < tokens) else {
            return Err(GgufError::Missing {
                key: "tokenizer.ggml.tokens".to_owned(),
                why: "there is no vocabulary",
            });
        };
        at_most(tokens, MOST_TOKENS, "tokens in the vocabulary")?;
        let per_token = [("scores", [F32, I32]), ("token_type", [I32, I32])];
        for (key, kinds) in per_token.map(|(key, kinds)| (format!("tokenizer.ggml.{key}"), kinds)) {
            let found = self.array(&key, &kinds)?.unwrap_or(tokens);
            if found != tokens {
                return Err(invalid(&key, &format!("has {found} entries for {tokens} tokens")));
            }
        }
        self.array("tokenizer.ggml.merges", &[TEXT])?;
        for key in ["bos", "eos", "eot", "unknown", "padding"] {
            let key = format!("tokenizer.ggml.{key}_token_id");
            // u32::MAX is -1, "none", as some converters write it.
            if let Some(id) =
                self.whole(&key).filter(|&id| id != u64::from(u32::MAX) && tokens <= id)
            {
                return Err(invalid(
                    &key,
                    &format!("is {id}, and the vocabulary has {tokens} tokens"),
                ));
            }
        }
        let chat_template = match self.values.remove("tokenizer.chat_template") {
            None => None,
            Some(Value::Text(template)) => Some(template),
            Some(_) => {
                return Err(invalid(
                    "tokenizer.chat_template",
                    &format!("is not a string of at most {LONGEST_TEXT} bytes"),
                ));
            }
        };
        Ok((architecture, chat_template))
    }

    fn alignment(&self) -> Result<u64, GgufError> {
        let key = "general.alignment";
        match self.values.get(key) {
            None => Ok(DEFAULT_ALIGNMENT),
            Some(&Value::Whole(found)) if found.is_power_of_two() && found <= 1 << 20 => Ok(found),
            Some(_) => Err(invalid(key, "is not a power of two up to 1048576")),
        }
    }

    fn required_text(&self, key: &str, why: &'static str) -> Result<String, GgufError> {
        match self.values.get(key) {
            Some(Value::Text(text))
                if !text.is_empty() && text.chars().all(|it| it.is_ascii_graphic()) =>
            {
                Ok(text.clone())
            }
            Some(_) => Err(invalid(key, "is not a name")),
            None => Err(GgufError::Missing { key: key.to_owned(), why }),
        }
    }

    fn take_text(&mut self, key: &str) -> Option<String> {
        match self.values.remove(key)? {
            // It will be shown on terminals.
            Value::Text(text) => Some(text.replace(char::is_control, " ")),
            Value::Whole(_) | Value::Array { .. } | Value::Other => None,
        }
    }

    fn whole(&self, key: &str) -> Option<u64> {
        match self.values.get(key)? {
            &Value::Whole(value) => Some(value),
            Value::Text(_) | Value::Array { .. } | Value::Other => None,
        }
    }

    /// The length of an array whose elements are of one of the `kinds`; `None` if the key is absent.
    fn array(&self, key: &str, kinds: &[u32]) -> Result<Option<u64>, GgufError> {
        match self.values.get(key) {
            None => Ok(None),
            Some(&Value::Array { kind, length }) if kinds.contains(&kind) => Ok(Some(length)),
            Some(_) => Err(invalid(key, "is not an array of the type that it must have")),
        }
    }

    fn array_length(&self, key: &str) -> Option<u64> {
        match self.values.get(key)? {
            &Value::Array { length, .. } => Some(length),
            Value::Text(_) | Value::Whole(_) | Value::Other => None,
        }
    }
}

fn at_most(found: u64, most: u64, what: &'static str) -> Result<u64, GgufError> {
    if most < found {
        return Err(GgufError::TooMany { what, found, most });
    }
    Ok(found)
}

fn invalid(what: &str, rule: &str) -> GgufError {
    GgufError::Invalid { what: what.to_owned(), rule: rule.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TINY: &[u8] = include_bytes!("../../../tests/golden/tiny-gguf/tiny.gguf");

    fn read(bytes: &[u8]) -> Result<ModelInfo, GgufError> {
        ModelInfo::read(bytes, bytes.len() as u64)
    }

    /// What becomes of the tiny model if the bytes behind `marker` are others; `expected` is in the message.
    #[track_caller]
    fn check(marker: &[u8], skip: usize, replacement: &[u8], expected: &str) {
        let place = TINY.windows(marker.len()).position(|window| window == marker);
        let begin = place.expect("the marker is there") + marker.len() + skip;
        let mut bytes = TINY.to_vec();
        bytes[begin..begin + replacement.len()].copy_from_slice(replacement);
        let error = read(&bytes).expect_err("it is refused").to_string();
        assert!(error.contains(expected), "{error} does not contain {expected}");
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    /// A file of the given counts and further bytes.
    fn file(tensors: u64, keys: u64, rest: &[&[u8]]) -> Vec<u8> {
        let counts = [tensors.to_le_bytes(), keys.to_le_bytes()].concat();
        [b"GGUF", &3_u32.to_le_bytes()[..], &counts, &rest.concat()].concat()
    }

    #[test]
    fn a_model_is_described() {
        let info = read(TINY).unwrap();
        assert_eq!(info.architecture, "llama");
        assert_eq!(info.name.as_deref(), Some("tiny"));
        assert_eq!(info.licence.as_deref(), Some("mit"));
        assert_eq!((info.context_length, info.vocabulary), (Some(512), 272));
        let layer = 4 * 32 * 32 + 3 * 32 * 64 + 2 * 32;
        assert_eq!(info.parameters, 272 * 32 + 32 + 2 * layer);
        assert!(info.chat_template.unwrap().contains("<|im_start|>"));
    }

    #[test]
    fn other_files_are_told_apart() {
        let message = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert_eq!(message(b""), "not a GGUF file: it begins with `` instead of `GGUF`");
        assert_eq!(
            message(b"\x80\x02ctorch"),
            "not a GGUF file: it begins with `\\x80\\x02ct` instead of `GGUF`"
        );
        assert_eq!(message(b"GGUF\x01\0\0\0"), "GGUF version 1, wanted 2 or 3 (little-endian)");
        assert!(message(b"GGUF\0\0\0\x03").contains("little-endian"));
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_allocated() {
        let most = &u64::MAX.to_le_bytes()[..];
        let message = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(message(&file(u64::MAX, 0, &[])).contains("tensors, at most 65536"));
        assert!(message(&file(0, u64::MAX, &[])).contains("keys, at most 4096"));
        assert!(
            message(&file(0, 1, &[most])).contains("18446744073709551615 bytes, and 0 are left")
        );
        let string = [&text("a")[..], &TEXT.to_le_bytes(), most].concat();
        assert!(message(&file(0, 1, &[&string])).contains("a takes 18446744073709551615 bytes"));
        for kind in [TEXT, 4, 12] {
            let array = [&text("a")[..], &9_u32.to_le_bytes(), &kind.to_le_bytes(), most].concat();
            assert!(message(&file(0, 1, &[&array])).contains("bytes, and 0 are left"));
        }
        let nested = [&text("a")[..], &9_u32.to_le_bytes(), &9_u32.to_le_bytes(), most].concat();
        assert!(message(&file(0, 1, &[&nested])).contains("unknown type 9"));
    }

    #[test]
    fn headers_that_llama_cpp_would_abort_on_are_refused() {
        // A key is followed by its type, which takes four bytes.
        check(b"llama.block_count", 4, &513_u32.to_le_bytes(), "is 513, wanted 1 to 512");
        check(b"llama.block_count", 4, &0_u32.to_le_bytes(), "is 0, wanted 1 to 512");
        check(b"llama.embedding_lengt", 0, b"x", "`llama.embedding_length` is missing");
        check(b"general.architectur", 0, b"x", "`general.architecture` is missing");
        check(b"general.architecture", 12, b"\x1b", "is not a name");
        check(b"general.nam", 0, b"\x1b", "has a name that is no name");
        check(b"tokenizer.ggml.mode", 0, b"x", "there is no tokenizer");
        check(
            b"tokenizer.ggml.eos_token_id",
            4,
            &272_u32.to_le_bytes(),
            "is 272, and the vocabulary has 272",
        );
    }

    #[test]
    fn tensors_lie_in_the_file_one_behind_the_other() {
        // A name is followed by the number of dimensions (4 bytes), the sides (8 each), the type (4) and the offset.
        let name = b"blk.0.attn_q.weight";
        check(name, 0, &9_u32.to_le_bytes(), "has 9 dimensions");
        check(name, 4, &0_u64.to_le_bytes(), "has the shape [0, 32]");
        check(name, 4, &u64::MAX.to_le_bytes(), "which overflows");
        check(name, 12, &(1_u64 << 40).to_le_bytes(), "the tensor before it ends at");
        check(name, 20, &4_u32.to_le_bytes(), "has the unknown type 4");
        check(name, 20, &12_u32.to_le_bytes(), "no whole blocks of 256");
        check(name, 24, &0_u64.to_le_bytes(), "lies at offset 0");
        check(b"token_embd.weigh", 0, b"x", "`token_embd.weight` is missing");
        check(b"blk.1.attn_q.weigh", 0, b"\0", "has a name that is no name");
        check(b"blk.", 0, b"1", "is there twice");
    }

    #[test]
    fn every_cut_is_noticed() {
        for length in (0..TINY.len()).rev().step_by(97) {
            assert!(read(&TINY[..length]).is_err(), "{length} bytes are taken for a model");
        }
    }

    proptest! {
        #[test]
        fn damage_is_no_panic(places in prop::collection::vec((0..12_000_usize, any::<u8>()), 1..8)) {
            let mut bytes = TINY.to_vec();
            for (place, byte) in places {
                bytes[place] = byte;
            }
            if let Ok(info) = read(&bytes) {
                prop_assert!(info.parameters <= bytes.len() as u64);
            }
        }
    }
}
