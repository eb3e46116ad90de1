//! Reads the keys of a file and their values.

use std::{collections::BTreeMap, io::BufRead};

use super::{GgufError, invalid, source::Source};

const LONGEST_KEY: u64 = 1024;
/// The longest string that is kept: chat templates of 20 kB exist.
pub(super) const LONGEST_TEXT: u64 = 256 * 1024;

/// A value of the header, as far as it is kept.
#[derive(Debug)]
pub(super) enum Value {
    Whole(u64),
    Text(String),
    Array {
        kind: u32,
        length: u64,
    },
    /// Negative, fractional, a truth value, or a string that nothing asks for.
    Other,
}

// The types of values, `enum gguf_type` in `gguf.h`.
pub(super) const I32: u32 = 5;
pub(super) const F32: u32 = 6;
pub(super) const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// The size in bytes of a value of this type; `None` for strings, arrays and unknown types.
fn size_of_kind(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

pub(super) fn read_values<R: BufRead>(
    source: &mut Source<R>,
    keys: u64,
) -> Result<BTreeMap<String, Value>, GgufError> {
    let mut values = BTreeMap::new();
    for index in 0..keys {
        let key = source.string(LONGEST_KEY, &format!("key {index}"))?;
        let kind = source.u32(&key)?;
        let value = match kind {
            TEXT => read_text(source, &key)?,
            ARRAY => skip_array(source, &key)?,
            _ => read_number(source, &key, kind)?,
        };
        if key.is_empty() || values.insert(key.clone(), value).is_some() {
            return Err(invalid(&format!("key {index} (`{key}`)"), "is empty or there twice"));
        }
    }
    Ok(values)
}

/// Keeps the strings that [`ModelInfo`] is made of, and skips the others.
fn read_text<R: BufRead>(source: &mut Source<R>, key: &str) -> Result<Value, GgufError> {
    let length = source.u64(key)?;
    let wanted = [
        "general.architecture",
        "general.name",
        "general.license",
        "tokenizer.ggml.model",
        "tokenizer.chat_template",
    ];
    if !wanted.contains(&key) || LONGEST_TEXT < length {
        source.skip(length, key)?;
        return Ok(Value::Other);
    }
    let bytes = source.bytes(length, key)?;
    String::from_utf8(bytes).map(Value::Text).map_err(|_| invalid(key, "is not UTF-8"))
}

fn read_number<R: BufRead>(
    source: &mut Source<R>,
    key: &str,
    kind: u32,
) -> Result<Value, GgufError> {
    let size =
        size_of_kind(kind).ok_or_else(|| invalid(key, &format!("has the unknown type {kind}")))?;
    let mut bytes = source.bytes(size, key)?;
    bytes.resize(8, 0);
    let bits = bytes.try_into().map_or(0, u64::from_le_bytes);
    Ok(match kind {
        0 | 2 | 4 | 10 => Value::Whole(bits),
        // A signed number that isn't negative is below half of its range.
        1 | 3 | 5 | 11 if bits < 1 << (8 * size - 1) => Value::Whole(bits),
        _ => Value::Other,
    })
}

fn skip_array<R: BufRead>(source: &mut Source<R>, key: &str) -> Result<Value, GgufError> {
    let kind = source.u32(key)?;
    let length = source.u64(key)?;
    if kind == TEXT {
        // Each string has at least its length before it.
        source.require(length.saturating_mul(8), key)?;
        for _ in 0..length {
            let bytes = source.u64(key)?;
            source.skip(bytes, key)?;
        }
    } else {
        let size = size_of_kind(kind)
            .ok_or_else(|| invalid(key, &format!("is an array of the unknown type {kind}")))?;
        source.skip(length.saturating_mul(size), key)?;
    }
    Ok(Value::Array { kind, length })
}
