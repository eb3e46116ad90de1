//! SigLIP's tokenizer: a unigram model of SentencePiece (Kudo 2018, arXiv:1804.10959), as transformers' `SiglipTokenizer`.
//!
//! Lower case, no punctuation, SentencePiece's `nmt_nfkc`, the likeliest pieces, the end, and the end again as padding. Only the
//! pieces and their scores come from a `tokenizer.json`; its pipeline is never run.

use std::collections::HashSet;

use serde::Deserialize;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NFKC, Nmt, Replace, Sequence, Strip};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};

use super::files::{TokenizerConfig, shortened};
use super::{TokenizerError, missing};
use crate::config::TextFile;

/// The most bytes of a piece: the library's tree is as deep as the longest.
const LONGEST: usize = 256;

/// Turns text into token ids.
#[derive(Clone, Debug)]
pub struct UnigramTokenizer {
    pipeline: tokenizers::Tokenizer,
    end: u32,
    padding: u32,
}

#[derive(Deserialize)]
struct TokenizerFile {
    model: ModelFile,
}

#[derive(Deserialize)]
struct ModelFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_id: Option<usize>,
    vocab: serde_json::Value,
}

impl UnigramTokenizer {
    /// Reads a `tokenizer.json`, with the end and the padding that `config` names ([`TokenizerConfig::siglip`]).
    ///
    /// # Errors
    ///
    /// If it has another kind of model, contradicts itself, or lacks a special token of `config`.
    pub fn from_json(file: TextFile<'_>, config: &TokenizerConfig) -> Result<Self, TokenizerError> {
        let invalid = |rule: String| TokenizerError::Invalid { file: file.name.to_owned(), rule };
        let ModelFile { kind, unk_id, vocab } =
            file.parse::<TokenizerFile>("a tokenizer of SentencePiece")?.model;
        let kind = kind.unwrap_or_default();
        if kind != "Unigram" {
            let kind = shortened(&kind);
            return Err(invalid(format!("has a model of type `{kind}`, and Unigram was wanted")));
        }
        let vocab: Vec<(String, f64)> = serde_json::from_value(vocab)
            .map_err(|error| invalid(format!("has pieces that can't be read: {error}")))?;
        let mut known = HashSet::new();
        for (piece, score) in &vocab {
            let sound = (1..=LONGEST).contains(&piece.len()) && score.is_finite();
            if !sound || !known.insert(piece.as_str()) {
                let piece = shortened(piece);
                let rule = format!("has the piece `{piece}` twice, unscored, empty or too long");
                return Err(invalid(rule));
            }
        }
        let unknown = unk_id.filter(|&id| id < vocab.len());
        let Some(unknown) = unknown else {
            return Err(invalid("has no piece for what is unknown (`unk_id`)".to_owned()));
        };
        let id = |token: &str| {
            let found = vocab.iter().position(|(piece, _)| piece == token);
            let found = found.and_then(|it| u32::try_from(it).ok());
            found.ok_or_else(|| missing(file.name, token))
        };
        let (end, padding) = (id(&config.eos_token)?, id(&config.pad_token)?);

        let model = Unigram::from(vocab, Some(unknown), false).map_err(TokenizerError::Library)?;
        let mut pipeline = tokenizers::Tokenizer::new(model);
        let spaces = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ")
            .map_err(TokenizerError::Library)?;
        let normalizers =
            vec![Nmt.into(), NFKC.into(), spaces.into(), Strip::new(true, true).into()];
        pipeline
            .with_normalizer(Some(Sequence::new(normalizers)))
            .map_err(TokenizerError::Library)?
            .with_pre_tokenizer(Some(Metaspace::new('▁', PrependScheme::Always, true)));
        Ok(Self { pipeline, end, padding })
    }

    /// How many ids there are; every id is below it.
    pub fn vocabulary_size(&self) -> usize {
        self.pipeline.get_vocab_size(true)
    }

    /// The ids of a text, cut or padded to `length`, of which the end takes one.
    ///
    /// # Errors
    ///
    /// If the library fails.
    pub fn encode(&self, text: &str, length: usize) -> Result<Vec<u32>, TokenizerError> {
        let text = text.to_lowercase().replace(|it: char| it.is_ascii_punctuation(), "");
        // Before anything else is taken for no character.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let encoding = self.pipeline.encode(text, false).map_err(TokenizerError::Library)?;
        let room = length.saturating_sub(1);
        let mut ids: Vec<u32> = encoding.get_ids().iter().copied().take(room).collect();
        ids.push(self.end);
        ids.resize(length, self.padding);
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::{prop_assert_eq, proptest};
    use serde_json::{Value, json};
    use troupe_testkit::golden_path;

    use super::*;

    fn golden(name: &str) -> Vec<u8> {
        fs::read(golden_path(&format!("contrastive/siglip/{name}"))).unwrap()
    }

    fn tokenizer(json: &[u8]) -> Result<UnigramTokenizer, TokenizerError> {
        let config = golden("tokenizer_config.json");
        let config = TextFile { name: "config", bytes: &config };
        let config = TokenizerConfig::siglip(Some(config)).unwrap();
        UnigramTokenizer::from_json(TextFile { name: "tokenizer.json", bytes: json }, &config)
    }

    /// Golden: the ids of transformers' `SiglipTokenizer` over SentencePiece.
    #[test]
    fn tokens_are_those_of_transformers() {
        let tokenizer = tokenizer(&golden("tokenizer.json")).unwrap();
        let cases: Vec<Value> = serde_json::from_slice(&golden("tokens.json")).unwrap();
        assert!(100 <= cases.len());
        for case in &cases {
            let text = case["text"].as_str().unwrap();
            let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
            let found = tokenizer.encode(text, ids.len()).unwrap();
            assert_eq!(found, ids, "of {text:?}");
        }
    }

    #[test]
    fn what_is_no_unigram_model_is_refused() {
        #[track_caller]
        fn refused(pointer: &str, value: Value, expected: &str) {
            let mut json: Value = serde_json::from_slice(&golden("tokenizer.json")).unwrap();
            *json.pointer_mut(pointer).unwrap() = value;
            let error = tokenizer(json.to_string().as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        refused("/model/type", "BPE".into(), "has a model of type `BPE`, and Unigram was wanted");
        refused("/model/vocab", json!({"a": 1}), "has pieces that can't be read");
        refused("/model/vocab/4", json!(["▁", -1.0]), "has the piece `▁` twice");
        refused("/model/vocab/4", json!(["", -1.0]), "has the piece `` twice");
        let long = "a".repeat(257);
        refused("/model/vocab/4", json!([long, -1.0]), "empty or too long");
        refused("/model/unk_id", 9999.into(), "has no piece for what is unknown");
        refused("/model/vocab/1", json!(["</t>", 0.0]), "has no token `</s>`");
    }

    #[test]
    fn what_a_configuration_does_not_name_is_siglips() {
        let of = |text: &[u8]| TokenizerConfig::siglip(Some(TextFile { name: "c", bytes: text }));
        let default = TokenizerConfig::siglip(None).unwrap();
        assert_eq!((default.eos_token.as_str(), default.pad_token.as_str()), ("</s>", "</s>"));
        assert_eq!(of(b"{}").unwrap(), default);
        assert_eq!(of(br#"{"pad_token": "<pad>"}"#).unwrap().pad_token, "<pad>");
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(at in 0_usize..5_000, byte: u8, length in 0_usize..5_000) {
            let mut json = golden("tokenizer.json");
            let at = at % json.len();
            json[at] = byte;
            if let Ok(tokenizer) = tokenizer(&json) {
                prop_assert_eq!(tokenizer.encode("a doctor, smiling", 64).unwrap().len(), 64);
            }
            json.truncate(length % json.len());
            assert!(tokenizer(&json).is_err());
        }
    }
}
