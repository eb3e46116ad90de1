//! CLIP's tokenizer: text to the fixed number of token ids that a text encoder reads.
//!
//! The pipeline is that of transformers' `CLIPTokenizer`: NFC, runs of white space to one space,
//! lower case, a regular expression that finds the words, and byte-pair merges over their bytes,
//! the last of which carries `</w>`. Only the vocabulary, the merges and the special tokens come
//! from files; a `tokenizer.json` whose pipeline is another one is refused, and never run.
//!
//! Files are untrusted: everything that the library takes on trust is checked in `files`.

mod built_in;
mod files;
mod unigram;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, normalizers::replace::ReplacePattern};

pub use self::files::TokenizerConfig;
use self::files::{Vocabulary, shortened};
pub use self::unigram::UnigramTokenizer;
use crate::config::{ConfigError, TextFile};

/// The words of a text, from transformers' `CLIPTokenizer`; what lies between them is dropped.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// What marks the last piece of a word.
const END_OF_WORD: &str = "</w>";

/// Turns text into token ids.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pipeline: tokenizers::Tokenizer,
    start: u32,
    end: u32,
    padding: u32,
    /// Invariant: at least 3.
    length: usize,
}

/// The tokens of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Start, text, end, then padding: as many as [`Tokenizer::length`] says.
    pub ids: Vec<u32>,
    /// How many tokens of the text found no room.
    pub dropped: usize,
    /// The part of the text that they stand for; empty where none was dropped.
    pub dropped_text: String,
}

/// Tokens that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// In front of every text.
    pub start: u32,
    /// Behind every text.
    pub end: u32,
    /// In what a text leaves free.
    pub padding: u32,
}

/// Why a tokenizer can't be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A file can't be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file breaks a rule.
    #[error("`{file}` {rule}")]
    Invalid {
        /// The name of the file.
        file: String,
        /// What is wrong with it.
        rule: String,
    },
    /// The library failed.
    #[error("the tokenizer failed")]
    Library(#[source] tokenizers::Error),
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// If it isn't one of CLIP's kind, contradicts itself, or lacks a special token of `config`.
    pub fn from_json(file: TextFile<'_>, config: &TokenizerConfig) -> Result<Self, TokenizerError> {
        Self::new(Vocabulary::from_json(file)?, file.name, config)
    }

    /// Reads a `vocab.json` with its `merges.txt`.
    ///
    /// # Errors
    ///
    /// If they contradict themselves or one another, or lack a special token of `config`.
    pub fn from_vocab_and_merges(
        vocab: TextFile<'_>,
        merges: TextFile<'_>,
        config: &TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        Self::new(Vocabulary::from_vocab_and_merges(vocab, merges)?, vocab.name, config)
    }

    fn new(
        vocabulary: Vocabulary,
        file: &str,
        config: &TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        let Vocabulary { ids, merges, mut added } = vocabulary;
        let specials = [&config.bos_token, &config.eos_token, &config.pad_token, &config.unk_token];
        for special in specials {
            if !added.iter().any(|token| token.content == *special) {
                added.push(AddedToken::from(special.clone(), true));
            }
        }
        if !ids.contains_key(&config.unk_token) {
            return Err(missing(file, &config.unk_token));
        }

        let model = BPE::builder()
            .vocab_and_merges(ids.into_iter().collect::<Vocab>(), merges)
            .end_of_word_suffix(END_OF_WORD.to_owned())
            .unk_token(config.unk_token.clone())
            .build()
            .map_err(TokenizerError::Library)?;
        let mut pipeline = tokenizers::Tokenizer::new(model);
        let spaces = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ")
            .map_err(TokenizerError::Library)?;
        let words = SplitPattern::Regex(WORDS.to_owned());
        let words = Split::new(words, SplitDelimiterBehavior::Removed, true)
            .map_err(TokenizerError::Library)?;
        let bytes = ByteLevel::default().add_prefix_space(false);
        let normalizers = vec![NFC.into(), spaces.into(), Lowercase.into()];
        pipeline
            .with_normalizer(Some(Normalizers::new(normalizers)))
            .map_err(TokenizerError::Library)?
            .with_pre_tokenizer(Some(PreTokenizers::new(vec![words.into(), bytes.into()])));
        pipeline.add_tokens(added).map_err(TokenizerError::Library)?;

        let id = |token: &str| pipeline.token_to_id(token).ok_or_else(|| missing(file, token));
        let (start, end) = (id(&config.bos_token)?, id(&config.eos_token)?);
        let padding = id(&config.pad_token)?;
        Ok(Self { start, end, padding, length: config.length(), pipeline })
    }

    /// CLIP's own vocabulary, which ships with the program.
    ///
    /// # Errors
    ///
    /// If it lacks a special token of `config`.
    pub fn built_in(config: &TokenizerConfig) -> Result<Self, TokenizerError> {
        Self::new(built_in::vocabulary()?, built_in::NAME, config)
    }

    /// The tokens of a text as they are: no start, no end, no padding, and nothing cut.
    ///
    /// # Errors
    ///
    /// If the library fails.
    pub fn words(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.pipeline.encode(text, false).map_err(TokenizerError::Library)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens that stand in front of every text, behind it, and in what it leaves free.
    pub fn marks(&self) -> Marks {
        Marks { start: self.start, end: self.end, padding: self.padding }
    }

    /// How many ids every text gets.
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many ids there are; every id is below it.
    pub fn vocabulary_size(&self) -> usize {
        self.pipeline.get_vocab_size(true)
    }

    /// The tokens of a text, cut or padded to [`Tokenizer::length`].
    ///
    /// # Errors
    ///
    /// If the library fails.
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        let encoding = self.pipeline.encode(text, false).map_err(TokenizerError::Library)?;
        let room = self.length - 2; // For start and end.
        let all = encoding.get_ids();
        let kept = all.len().min(room);

        let mut ids = Vec::with_capacity(self.length);
        ids.push(self.start);
        ids.extend_from_slice(&all[..kept]);
        ids.push(self.end);
        ids.resize(self.length, self.padding);
        let dropped_text = encoding.get_offsets().get(kept).and_then(|&(from, _)| text.get(from..));
        Ok(Tokens {
            ids,
            dropped: all.len() - kept,
            dropped_text: dropped_text.unwrap_or_default().to_owned(),
        })
    }
}

fn missing(file: &str, token: &str) -> TokenizerError {
    let rule = format!("has no token `{}`, which the tokenizer needs", shortened(token));
    TokenizerError::Invalid { file: file.to_owned(), rule }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fs;

    use proptest::{prop_assert_eq, proptest};
    use serde_json::Value;
    use troupe_testkit::golden_path;

    use super::*;

    fn golden(name: &str) -> Vec<u8> {
        fs::read(golden_path(&format!("clip/{name}"))).unwrap()
    }

    fn file<'a>(name: &'a str, bytes: &'a [u8]) -> TextFile<'a> {
        TextFile { name, bytes }
    }

    fn from_json(bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_json(file("tokenizer.json", bytes), &TokenizerConfig::default())
    }

    fn from_pair(vocab: &[u8], merges: &[u8]) -> Result<Tokenizer, TokenizerError> {
        let (vocab, merges) = (file("vocab.json", vocab), file("merges.txt", merges));
        Tokenizer::from_vocab_and_merges(vocab, merges, &TokenizerConfig::default())
    }

    /// Golden: transformers' ids of a few hundred texts, whole and cut.
    fn check_golden(tokenizer: &Tokenizer) {
        let cases: Vec<Value> = serde_json::from_slice(&golden("tokens.json")).unwrap();
        assert!(300 <= cases.len());
        for case in &cases {
            let text = case["text"].as_str().unwrap();
            let mut ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
            let total = usize::try_from(case["total"].as_u64().unwrap()).unwrap();
            ids.resize(77, tokenizer.padding);
            let dropped_text = case["dropped"].as_str().unwrap().to_owned();
            let expected = Tokens { ids, dropped: total.saturating_sub(77), dropped_text };
            assert_eq!(tokenizer.encode(text).unwrap(), expected, "the tokens of {text:?}");
        }
    }

    #[test]
    fn tokens_of_tokenizer_json_are_those_of_transformers() {
        check_golden(&from_json(&golden("tokenizer.json")).unwrap());
    }

    #[test]
    fn tokens_of_vocab_and_merges_are_those_of_transformers() {
        check_golden(&from_pair(&golden("vocab.json"), &golden("merges.txt")).unwrap());
    }

    #[test]
    fn older_files_have_one_string_a_merge_and_another_pattern() {
        let mut older: Value = serde_json::from_slice(&golden("tokenizer.json")).unwrap();
        for merge in older["model"]["merges"].as_array_mut().unwrap() {
            *merge =
                format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()).into();
        }
        let pattern = &mut older["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"];
        *pattern =
            pattern.as_str().unwrap().replace(r"<\|startoftext\|>|<\|endoftext\|>|", "").into();
        check_golden(&from_json(older.to_string().as_bytes()).unwrap());
    }

    #[test]
    fn the_configuration_names_padding_and_length() {
        let config = br#"{"pad_token": "!", "eos_token": {"content": "<|endoftext|>"}, "model_max_length": 9}"#;
        let config = TokenizerConfig::from_json(file("tokenizer_config.json", config)).unwrap();
        let json = golden("tokenizer.json");
        let tokenizer = Tokenizer::from_json(file("tokenizer.json", &json), &config).unwrap();
        let id = |token: &str| tokenizer.pipeline.token_to_id(token).unwrap();
        let [start, a, end, padding] = ["<|startoftext|>", "a</w>", "<|endoftext|>", "!"].map(id);
        let ids = tokenizer.encode("a A").unwrap().ids;
        assert_eq!(ids, [start, a, a, end, padding, padding, padding, padding, padding]);

        let cut = tokenizer.encode("a a a, a a a A B").unwrap();
        assert_eq!((cut.dropped, cut.dropped_text.as_str()), (2, "A B"));
    }

    #[test]
    fn a_length_that_says_not_set_is_that_of_clip() {
        let config = |text: &str| TokenizerConfig::from_json(file("c.json", text.as_bytes()));
        let unset = r#"{"model_max_length": 1000000000000000019884624838656}"#;
        assert_eq!(config(unset).unwrap(), TokenizerConfig::default());
        assert_eq!(config("{}").unwrap(), TokenizerConfig::default());
        assert_eq!(config(r#"{"model_max_length": 3}"#).unwrap().length(), 3);
        for short in ["2", "0", "-1"] {
            config(&format!(r#"{{"model_max_length": {short}}}"#)).unwrap_err();
        }
    }

    /// The error of a `tokenizer.json` in which the value at `pointer` was replaced.
    #[track_caller]
    fn check_refused(pointer: &str, value: Value, expected: &str) {
        let mut json: Value = serde_json::from_slice(&golden("tokenizer.json")).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        let error = from_json(json.to_string().as_bytes()).unwrap_err();
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        let message = format!("{error}{source}");
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn other_pipelines_are_refused() {
        let other = |part: &str| format!("`tokenizer.json` has another {part} than CLIP's");
        check_refused("/model/type", "Unigram".into(), &other("model"));
        check_refused("/model/dropout", 0.5.into(), &other("model"));
        check_refused("/model/continuing_subword_prefix", "##".into(), &other("model"));
        check_refused("/model/end_of_word_suffix", Value::Null, &other("model"));
        check_refused("/normalizer", Value::Null, &other("normalizer"));
        check_refused("/normalizer/normalizers/2/type", "NFKD".into(), &other("normalizer"));
        check_refused(
            "/pre_tokenizer/pretokenizers/0/pattern/Regex",
            "(a*)*$".into(),
            &other("pre_tokenizer"),
        );
    }

    #[test]
    fn lying_vocabularies_are_refused() {
        check_refused(
            "/model/vocab/a",
            4_000_000_000_u32.into(),
            "the id 4000000000 twice or beyond",
        );
        check_refused("/model/vocab/a", 7.into(), "twice or beyond");
        check_refused("/model/vocab/a", (-1).into(), "invalid value");
        check_refused("/model/merges/0", serde_json::json!(["a", "wombat"]), "merges `wombat`");
        check_refused("/model/merges/0", serde_json::json!(["!!", "\"\"\""]), "merges");
        check_refused("/model/merges/0", "a b c".into(), "two tokens with a space between");
        check_refused("/added_tokens/0/id", 5.into(), "the id 5, not 6");
        check_refused("/added_tokens/0/content", "".into(), "the added token ``");
        check_refused("/model/vocab", serde_json::json!({}), "which is no token");
        let error = from_pair(b"{\"a\": 0}", b"#version: 0.2\n").unwrap_err();
        let expected = "`vocab.json` has no token `<|endoftext|>`, which the tokenizer needs";
        assert_eq!(error.to_string(), expected);
        let error = from_pair(b"{\"a\": 0, \"b\": 1}", b"a b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`merges.txt` merges `ab`, which is no token of the vocabulary"
        );
        from_pair(b"[", b"").unwrap_err();
        from_pair(b"{}", b"\xff\xfe").unwrap_err();
        from_json(&vec![b' '; (16 << 20) + 1]).unwrap_err();
    }

    #[test]
    fn a_hundred_kilobytes_of_text_are_cut() {
        let tokenizer = from_json(&golden("tokenizer.json")).unwrap();
        let cut = tokenizer.encode(&"7".repeat(100_000)).unwrap();
        assert_eq!(cut.ids.len(), 77);
        assert_eq!((cut.dropped, cut.dropped_text.len()), (99_925, 99_925));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0_usize..17_000, byte: u8, length in 0_usize..17_000) {
            let mut json = golden("tokenizer.json");
            json[at] = byte;
            if let Ok(tokenizer) = from_json(&json) {
                prop_assert_eq!(tokenizer.encode("a doctor, smiling").unwrap().ids.len(), 77);
            }
            json.truncate(length);
            assert!(from_json(&json).is_err());
        }

        #[test]
        fn every_text_has_one_length_and_known_ids(text: String) {
            let tokenizer = from_json(&golden("tokenizer.json")).unwrap();
            let tokens = tokenizer.encode(&text).unwrap();
            prop_assert_eq!(tokens.ids.len(), 77);
            let known = |&id: &u32| usize::try_from(id).unwrap() < tokenizer.vocabulary_size();
            prop_assert_eq!(tokens.ids.iter().find(|id| !known(id)), None);
            prop_assert_eq!(tokens.dropped == 0, tokens.dropped_text.is_empty());
        }
    }
}
