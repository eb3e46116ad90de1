//! The files of a tokenizer, read and checked.
//!
//! The library panics over merges that make no known token, and allots ids by counting; so the
//! ids of a vocabulary must be 0, 1, 2 … without a gap, and both halves of a merge and what they
//! make must be tokens.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::AddedToken;

use super::{END_OF_WORD, TokenizerError};
use crate::config::TextFile;

/// How many tokens CLIP reads, where a file doesn't say.
const CLIP_LENGTH: usize = 77;
/// How many SigLIP does.
const SIGLIP_LENGTH: usize = 64;
/// A length above it says "not set" (transformers writes 10³⁰), as no CLIP reads so many tokens.
const MAX_LENGTH: f64 = 4096.0;
/// The pattern of a `tokenizer.json` by older versions of transformers, and by newer ones. They
/// differ in the special tokens only, which are found before the pattern is tried.
const PATTERNS: [&str; 2] =
    [r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", super::WORDS];

/// What `tokenizer_config.json` says about the special tokens and the length.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenizerConfig {
    /// Stands in front of every text.
    pub bos_token: String,
    /// Stands behind every text.
    pub eos_token: String,
    /// Fills up what a text leaves free.
    pub pad_token: String,
    /// Stands for a byte that the vocabulary lacks.
    pub unk_token: String,
    /// Invariant: at least 3.
    length: usize,
}

impl Default for TokenizerConfig {
    /// `tokenizer_config.json` of openai/clip-vit-large-patch14.
    fn default() -> Self {
        let end = || "<|endoftext|>".to_owned();
        Self {
            bos_token: "<|startoftext|>".to_owned(),
            eos_token: end(),
            pad_token: end(),
            unk_token: end(),
            length: CLIP_LENGTH,
        }
    }
}

impl TokenizerConfig {
    /// Reads a `tokenizer_config.json`; what it doesn't say is as in [`TokenizerConfig::default`].
    ///
    /// # Errors
    ///
    /// If it isn't a JSON object of that kind, or leaves no room for a text.
    pub fn from_json(file: TextFile<'_>) -> Result<Self, TokenizerError> {
        Self::read(file, Self::default())
    }

    /// Reads the `tokenizer_config.json` of a SigLIP model; what it doesn't say is as in transformers' `SiglipTokenizer`.
    ///
    /// # Errors
    ///
    /// If it isn't a JSON object of that kind, or leaves no room for a text.
    pub fn siglip(file: Option<TextFile<'_>>) -> Result<Self, TokenizerError> {
        let end = || "</s>".to_owned();
        let default = Self {
            bos_token: end(),
            eos_token: end(),
            pad_token: end(),
            unk_token: "<unk>".to_owned(),
            length: SIGLIP_LENGTH,
        };
        match file {
            Some(file) => Self::read(file, default),
            None => Ok(default),
        }
    }

    fn read(file: TextFile<'_>, default: Self) -> Result<Self, TokenizerError> {
        let parsed: ConfigFile = file.parse("the configuration of a tokenizer")?;
        let token = |token: Option<SpecialToken>, default| {
            token.map_or(default, |token| match token {
                SpecialToken::Text(content) | SpecialToken::Object { content } => content,
            })
        };
        let room = parsed.model_max_length.is_none_or(|length| 3.0 <= length);
        let found = parsed.model_max_length.unwrap_or_default();
        file.require(room, "model_max_length", "3 or more", &found)?;
        let length = match parsed.model_max_length {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 3 and 4096"
            )]
            Some(length) if length <= MAX_LENGTH => length as usize,
            Some(_) | None => default.length,
        };
        Ok(Self {
            bos_token: token(parsed.bos_token, default.bos_token),
            eos_token: token(parsed.eos_token, default.eos_token),
            pad_token: token(parsed.pad_token, default.pad_token),
            unk_token: token(parsed.unk_token, default.unk_token),
            length,
        })
    }

    /// How many tokens a text is cut or padded to, `model_max_length`; at least 3.
    pub fn length(&self) -> usize {
        self.length
    }
}

/// The tokens of a tokenizer.
///
/// Invariant: the ids of `ids` are 0 to its length, those of the `added` tokens outside of it go
/// on from there in their order, and the halves and the wholes of all merges are in `ids`.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) ids: HashMap<String, u32>,
    pub(super) merges: Vec<(String, String)>,
    pub(super) added: Vec<AddedToken>,
}

impl Vocabulary {
    /// Reads a `tokenizer.json`, whose pipeline must be CLIP's.
    pub(super) fn from_json(file: TextFile<'_>) -> Result<Self, TokenizerError> {
        let parsed: TokenizerFile = file.parse("a tokenizer")?;
        check_pipeline(file.name, &parsed)?;
        let merges = parsed.model.merges.into_iter().map(|merge| match merge {
            Merge::Pair(first, second) => Ok((first, second)),
            Merge::Line(line) => halves(file.name, &line),
        });
        let merges = merges.collect::<Result<Vec<_>, _>>()?;
        check(file.name, &parsed.model.vocab, file.name, &merges)?;

        let ids = parsed.model.vocab;
        let mut added = parsed.added_tokens;
        added.sort_by_key(|added| added.id);
        let mut next = ids.len();
        for Added { id, token } in &added {
            // A token that the vocabulary lacks takes the next free id.
            let wanted = ids.get(&token.content).copied().map_or(next, index);
            next += usize::from(wanted == next);
            if token.content.is_empty() || index(*id) != wanted {
                let content = shortened(&token.content);
                let rule = format!("gives the added token `{content}` the id {id}, not {wanted}");
                return Err(invalid(file.name, rule));
            }
        }
        Ok(Self { added: added.into_iter().map(|added| added.token).collect(), ids, merges })
    }

    /// Reads a `vocab.json` and its `merges.txt`.
    pub(super) fn from_vocab_and_merges(
        vocab: TextFile<'_>,
        merges: TextFile<'_>,
    ) -> Result<Self, TokenizerError> {
        let ids: HashMap<String, u32> = vocab.parse("a vocabulary, token to id")?;
        let text = std::str::from_utf8(merges.within_limit()?)
            .map_err(|error| invalid(merges.name, format!("isn't text: {error}")))?;
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("#version"));
        let pairs = lines.map(|line| halves(merges.name, line)).collect::<Result<Vec<_>, _>>()?;
        check(vocab.name, &ids, merges.name, &pairs)?;
        Ok(Self { ids, merges: pairs, added: Vec::new() })
    }
}

#[derive(Deserialize)]
struct ConfigFile {
    bos_token: Option<SpecialToken>,
    eos_token: Option<SpecialToken>,
    pad_token: Option<SpecialToken>,
    unk_token: Option<SpecialToken>,
    model_max_length: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SpecialToken {
    Text(String),
    Object { content: String },
}

#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    dropout: Option<f64>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

/// Older files write a merge as one string, newer ones as two.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

/// Whether a `tokenizer.json` says what [`super::Tokenizer`] does.
fn check_pipeline(file: &str, parsed: &TokenizerFile) -> Result<(), TokenizerError> {
    let model = &parsed.model;
    let is_clip_model = model.kind.as_deref().is_none_or(|kind| kind == "BPE")
        && model.dropout.is_none_or(|dropout| dropout == 0.0)
        && model.continuing_subword_prefix.as_deref().unwrap_or_default().is_empty()
        && model.end_of_word_suffix.as_deref() == Some(END_OF_WORD)
        && !model.byte_fallback
        && !model.ignore_merges;
    let normalizers = steps(parsed.normalizer.as_ref(), "normalizers");
    let is_clip_normalizer = match normalizers.as_slice() {
        [nfc, spaces, lowercase] => {
            kind(nfc) == "NFC"
                && kind(spaces) == "Replace"
                && spaces.pointer("/pattern/Regex").and_then(Value::as_str) == Some(r"\s+")
                && spaces.get("content").and_then(Value::as_str) == Some(" ")
                && kind(lowercase) == "Lowercase"
        }
        _ => false,
    };
    let pre_tokenizers = steps(parsed.pre_tokenizer.as_ref(), "pretokenizers");
    let is_clip_pre_tokenizer = match pre_tokenizers.as_slice() {
        [split, bytes] => {
            let pattern = split.pointer("/pattern/Regex").and_then(Value::as_str);
            kind(split) == "Split"
                && pattern.is_some_and(|pattern| PATTERNS.contains(&pattern))
                && split.get("behavior").and_then(Value::as_str) == Some("Removed")
                && split.get("invert").and_then(Value::as_bool) == Some(true)
                && kind(bytes) == "ByteLevel"
                && bytes.get("add_prefix_space").and_then(Value::as_bool) == Some(false)
        }
        _ => false,
    };
    let parts = [
        ("model", is_clip_model),
        ("normalizer", is_clip_normalizer),
        ("pre_tokenizer", is_clip_pre_tokenizer),
    ];
    match parts.into_iter().find(|(_, is_clip)| !is_clip) {
        Some((part, _)) => {
            Err(invalid(file, format!("has another {part} than CLIP's, which is wanted here")))
        }
        None => Ok(()),
    }
}

/// The steps of a `Sequence`; none for anything else.
fn steps<'a>(sequence: Option<&'a Value>, key: &str) -> Vec<&'a Value> {
    let steps = sequence.and_then(|it| it.get(key)).and_then(Value::as_array);
    steps.map(|steps| steps.iter().collect()).unwrap_or_default()
}

fn kind(step: &Value) -> &str {
    step.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Checks the invariant of [`Vocabulary`] but for its added tokens.
fn check(
    file: &str,
    ids: &HashMap<String, u32>,
    merges_file: &str,
    merges: &[(String, String)],
) -> Result<(), TokenizerError> {
    let mut seen = vec![false; ids.len()];
    for &id in ids.values() {
        match seen.get_mut(index(id)) {
            Some(seen) if !*seen => *seen = true,
            _ => {
                let rule =
                    format!("has {} tokens, and the id {id} twice or beyond them", ids.len());
                return Err(invalid(file, rule));
            }
        }
    }
    for (first, second) in merges {
        let whole = format!("{first}{second}");
        if let Some(part) = [first, second, &whole].into_iter().find(|it| !ids.contains_key(*it)) {
            let part = part.chars().take(40).collect::<String>();
            let rule =
                format!("merges `{}`, which is no token of the vocabulary", part.escape_debug());
            return Err(invalid(merges_file, rule));
        }
    }
    Ok(())
}

fn halves(file: &str, line: &str) -> Result<(String, String), TokenizerError> {
    match line.trim_end_matches('\r').split_once(' ') {
        Some((first, second)) if !second.contains(' ') => Ok((first.to_owned(), second.to_owned())),
        _ => {
            let line = line.chars().take(40).collect::<String>();
            let rule = format!(
                "has the merge `{}`, and two tokens with a space between were wanted",
                line.escape_debug()
            );
            Err(invalid(file, rule))
        }
    }
}

fn invalid(file: &str, rule: String) -> TokenizerError {
    TokenizerError::Invalid { file: file.to_owned(), rule }
}

/// What a message quotes of a string that may be long, or hold control characters.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

fn index(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}
