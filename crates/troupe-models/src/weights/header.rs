//! Checks the header of a safetensors file before anything else reads it.
//!
//! The layout is that of the [format's description](https://github.com/huggingface/safetensors#format):
//! eight bytes with the header's length, the header (a JSON object that gives each tensor its
//! type, shape and byte range), then the data, which the ranges must cover without a hole or an
//! overlap. Every file is untrusted. What is accepted here can be read without a further check of
//! lengths, and what is kept in memory is bounded by the header, whose length is bounded too.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fmt;
use std::ops::Range;

use safetensors::Dtype;
use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess};

use super::WeightsError;

/// The longest header that the format allows, in bytes.
const MAX_HEADER: usize = 100_000_000;
/// The bytes in front of the header, which hold its length.
const LENGTH_BYTES: usize = 8;
/// More tensors than any network has; the largest ones that we know of have a few thousand.
const MAX_TENSORS: usize = 100_000;
/// More entries of metadata than any trainer writes.
const MAX_METADATA: usize = 10_000;
/// More dimensions than any weight has.
const MAX_DIMENSIONS: usize = 8;

/// What a checked header says.
#[derive(Debug)]
pub(crate) struct Header {
    /// Each tensor by its name.
    pub(crate) tensors: BTreeMap<String, Entry>,
    /// The strings under `__metadata__`.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// One tensor of a file.
///
/// Invariant: `range` lies in the file, and its length is that of `shape` elements of `dtype`.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The type of its elements.
    pub(crate) dtype: Dtype,
    /// Its dimensions.
    pub(crate) shape: Vec<usize>,
    /// Its bytes in the file.
    pub(crate) range: Range<usize>,
}

impl Header {
    /// Reads and checks the header of the file that `bytes` are.
    ///
    /// # Errors
    ///
    /// If the bytes are a pickle, or no whole and consistent safetensors file.
    pub(crate) fn read(file: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        Self::check(file, bytes).map_err(|error| match pickle_sign(file, bytes) {
            Some(sign) => WeightsError::Pickle { file: printable(file, 200), sign },
            None if bytes.starts_with(b"GGUF") => {
                corrupt(file, "is a GGUF file, and a safetensors file was wanted")
            }
            None => error,
        })
    }

    fn check(file: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
            return Err(corrupt(
                file,
                format!(
                    "has {} bytes, and the length of its header alone takes {LENGTH_BYTES}",
                    bytes.len()
                ),
            ));
        };
        let length = u64::from_le_bytes(*length);
        let length = usize::try_from(length)
            .ok()
            .filter(|&length| length <= MAX_HEADER && length <= rest.len())
            .ok_or_else(|| {
                corrupt(
                    file,
                    format!(
                        "announces a header of {length} bytes; {} bytes follow, and at most \
                         {MAX_HEADER} are allowed",
                        rest.len()
                    ),
                )
            })?;
        let (header, data) = rest.split_at(length);
        if !header.starts_with(b"{") {
            return Err(corrupt(file, "has a header that does not begin with `{`"));
        }
        let header = std::str::from_utf8(header)
            .map_err(|error| corrupt(file, format!("has a header that is not UTF-8: {error}")))?;
        let raw: RawHeader = serde_json::from_str(header).map_err(|error| {
            corrupt(
                file,
                format!("has a header that is not valid: {}", printable(&error.to_string(), 300)),
            )
        })?;
        let data_start = LENGTH_BYTES + length;
        let tensors = raw
            .tensors
            .into_iter()
            .map(|(name, raw)| {
                let entry = raw.check(data_start, data.len()).map_err(|rule| {
                    corrupt(file, format!("has a tensor `{}` {rule}", printable(&name, 200)))
                })?;
                Ok((name, entry))
            })
            .collect::<Result<BTreeMap<_, _>, WeightsError>>()?;
        check_cover(file, &tensors, data_start..bytes.len())?;
        Ok(Self { tensors, metadata: raw.metadata })
    }
}

/// Checks that the tensors cover the data of the file, each byte once.
fn check_cover(
    file: &str,
    tensors: &BTreeMap<String, Entry>,
    data: Range<usize>,
) -> Result<(), WeightsError> {
    let mut in_order: Vec<(&String, &Entry)> = tensors.iter().collect();
    in_order.sort_by_key(|(_, entry)| (entry.range.start, entry.range.end));
    let mut covered = data.start;
    for (name, entry) in in_order {
        if entry.range.start != covered {
            let fault =
                if entry.range.start < covered { "overlaps" } else { "leaves a hole after" };
            return Err(corrupt(
                file,
                format!(
                    "has a tensor `{}` that {fault} the one before it: its data begins at byte \
                     {}, and byte {} was next",
                    printable(name, 200),
                    entry.range.start - data.start,
                    covered - data.start
                ),
            ));
        }
        covered = entry.range.end;
    }
    if covered != data.end {
        return Err(corrupt(
            file,
            format!(
                "has {} bytes of data, and its tensors cover {}",
                data.len(),
                covered - data.start
            ),
        ));
    }
    Ok(())
}

/// The header as it is written, before its numbers are checked.
struct RawHeader {
    tensors: BTreeMap<String, RawEntry>,
    metadata: BTreeMap<String, String>,
}

/// One tensor as it is written.
#[derive(serde::Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

impl RawEntry {
    /// The entry, with its range in the file; or the rule that it breaks.
    fn check(self, data_start: usize, data_length: usize) -> Result<Entry, String> {
        let dtype = Dtype::deserialize(self.dtype.as_str().into_deserializer()).map_err(
            |_: serde::de::value::Error| {
                format!("of the unknown type `{}`", printable(&self.dtype, 40))
            },
        )?;
        let bits = self
            .shape
            .0
            .iter()
            .try_fold(dtype.bitsize(), |bits, &side| bits.checked_mul(side))
            .ok_or_else(|| format!("whose shape {:?} is larger than any file", self.shape.0))?;
        let (from, to) = self.data_offsets;
        let offset = |at: u64| usize::try_from(at).ok().filter(|&at| at <= data_length);
        let (Some(start), Some(end)) = (offset(from), offset(to)) else {
            return Err(format!(
                "whose data is at bytes {from} to {to}, and the file has {data_length} bytes of data"
            ));
        };
        let length = end
            .checked_sub(start)
            .ok_or_else(|| format!("whose data ends before it begins, at bytes {from} to {to}"))?;
        if length.checked_mul(8) != Some(bits) {
            return Err(format!(
                "of type {dtype} and shape {:?} with {length} bytes of data",
                self.shape.0
            ));
        }
        Ok(Entry { dtype, shape: self.shape.0, range: data_start + start..data_start + end })
    }
}

/// At most [`MAX_DIMENSIONS`] dimensions.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_DIMENSIONS} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sides: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(side) = sides.next_element()? {
                    if shape.len() == MAX_DIMENSIONS {
                        return Err(A::Error::invalid_length(MAX_DIMENSIONS + 1, &self));
                    }
                    shape.push(side);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

/// At most [`MAX_METADATA`] entries of text.
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_METADATA} entries of metadata")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if entries.len() == MAX_METADATA {
                        return Err(A::Error::invalid_length(MAX_METADATA + 1, &self));
                    }
                    entries.insert(key, value);
                }
                Ok(Metadata(entries))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object that describes at most {MAX_TENSORS} tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut tensors = BTreeMap::new();
                let mut metadata = None;
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        let Metadata(entries) = map.next_value()?;
                        if metadata.replace(entries).is_some() {
                            return Err(A::Error::custom("`__metadata__` is there twice"));
                        }
                        continue;
                    }
                    if tensors.len() == MAX_TENSORS {
                        return Err(A::Error::invalid_length(MAX_TENSORS + 1, &self));
                    }
                    match tensors.entry(name) {
                        Slot::Vacant(slot) => {
                            slot.insert(map.next_value()?);
                        }
                        Slot::Occupied(slot) => {
                            let name = printable(slot.key(), 200);
                            return Err(A::Error::custom(format!("`{name}` is there twice")));
                        }
                    }
                }
                Ok(RawHeader { tensors, metadata: metadata.unwrap_or_default() })
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// What shows that a file which is no safetensors file is a pickle, whatever its name.
///
/// PyTorch writes a zip archive with a pickle in it, and before 1.6 wrote bare pickles.
fn pickle_sign(file: &str, bytes: &[u8]) -> Option<&'static str> {
    const EXTENSIONS: [&str; 6] = [".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"];
    let lower = file.to_ascii_lowercase();
    let text_protocol = || {
        // Protocol 0 is text. A global is `c`, its module and its name, each ended by a newline;
        // a list or dictionary is a mark, its kind and where to remember it.
        let line = bytes.strip_prefix(b"c").and_then(|rest| rest.split(|&b| b == b'\n').next());
        let global = line.is_some_and(|line| {
            !line.is_empty()
                && line.len() < 100
                && line.iter().all(|b| b.is_ascii_alphanumeric() || b"._".contains(b))
        });
        global || bytes.starts_with(b"(dp") || bytes.starts_with(b"(lp")
    };
    match bytes {
        [b'P', b'K', 3 | 5 | 7, 4 | 6 | 8, ..] => Some("a zip archive"),
        [0x80, 0..=9, ..] => Some("a pickle"),
        _ if text_protocol() => Some("a pickle"),
        _ if EXTENSIONS.iter().any(|extension| lower.ends_with(extension)) => {
            Some("a pickle by its name")
        }
        _ => None,
    }
}

/// Text from a file as a message may show it: no control characters, at most `most` characters.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(most)
        .map(|c| if c.is_control() || is_invisible(c) { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// Characters that change the direction or the look of the text around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn corrupt(file: &str, rule: impl Into<String>) -> WeightsError {
    WeightsError::Corrupt { file: printable(file, 200), rule: rule.into() }
}
