//! CLIP's byte-pair vocabulary as data of the program; see `data/README.md` for where it comes from.
//!
//! The file lists merges. Tokens are, in this order: the 256 bytes as printable characters, the
//! same as ends of a word, what each merge makes, and the two special tokens.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::GzDecoder;
use tokenizers::AddedToken;

use super::files::Vocabulary;
use super::{END_OF_WORD, TokenizerError};

/// What messages call it.
pub(super) const NAME: &str = "CLIP's vocabulary";
const COMPRESSED: &[u8] = include_bytes!("../../data/bpe_simple_vocab_16e6.txt.gz");
/// The list goes on after the merges that CLIP takes: 49,152 tokens but bytes and specials.
const MERGES: usize = 49_152 - 256 - 2;
const SPECIAL: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

pub(super) fn vocabulary() -> Result<Vocabulary, TokenizerError> {
    let invalid = |rule: String| TokenizerError::Invalid { file: NAME.to_owned(), rule };
    let mut text = String::new();
    GzDecoder::new(COMPRESSED)
        .read_to_string(&mut text)
        .map_err(|error| invalid(format!("can't be unpacked: {error}")))?;
    let pair = |line: &str| {
        let (first, second) = line.split_once(' ')?;
        Some((first.to_owned(), second.to_owned()))
    };
    // The first line is a title.
    let merges: Option<Vec<_>> = text.lines().skip(1).take(MERGES).map(pair).collect();
    let merges = merges
        .filter(|merges| merges.len() == MERGES)
        .ok_or_else(|| invalid(format!("hasn't {MERGES} merges")))?;

    let bytes = printable_bytes();
    let ends = bytes.iter().map(|byte| format!("{byte}{END_OF_WORD}"));
    let whole = merges.iter().map(|(first, second)| format!("{first}{second}"));
    let tokens = bytes
        .iter()
        .map(char::to_string)
        .chain(ends)
        .chain(whole)
        .chain(SPECIAL.map(str::to_owned));
    let ids: HashMap<String, u32> = tokens.zip(0_u32..).collect();
    let added = SPECIAL.map(|token| AddedToken::from(token.to_owned(), true)).to_vec();
    Ok(Vocabulary { ids, merges, added })
}

/// The characters that stand for bytes: printable ones for themselves, first, and then the others,
/// for which characters from U+0100 on stand.
fn printable_bytes() -> Vec<char> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !printable(byte)).zip('\u{100}'..);
    (0..=u8::MAX).filter(printable).map(char::from).chain(others.map(|(_, it)| it)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use troupe_testkit::golden_path;

    use super::super::{Tokenizer, TokenizerConfig};

    /// Draws the same texts as `tests/reference/clip_vocabulary.py`.
    struct Dice(u64);

    impl Dice {
        /// Below `count`; the constants are Knuth's.
        fn below(&mut self, count: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % count
        }

        fn text(&mut self, words: &[&str]) -> String {
            const RANGES: [(u32, u32); 9] = [
                (0x20, 0x7f),
                (0x20, 0x7f),
                (0x80, 0x250),
                (0x300, 0x370),
                (0x370, 0x530),
                (0x5d0, 0x700),
                (0x2000, 0x2c00),
                (0x3040, 0xa000),
                (0x1_f300, 0x1_fb00),
            ];
            const JOINTS: [&str; 6] = [" ", " ", ", ", "", "-", "'s "];
            let mut text = String::new();
            for _ in 0..=self.below(10) {
                match self.below(4) {
                    0 => {
                        for _ in 0..=self.below(5) {
                            let (low, high) = RANGES[self.below(RANGES.len())];
                            let span = usize::try_from(high - low).unwrap();
                            let code = low + u32::try_from(self.below(span)).unwrap();
                            text.push(char::from_u32(code).unwrap());
                        }
                    }
                    1 => text.push_str(&words[self.below(words.len())].to_uppercase()),
                    _ => text.push_str(words[self.below(words.len())]),
                }
                text.push_str(JOINTS[self.below(JOINTS.len())]);
            }
            text
        }
    }

    /// FNV-1a of the ids.
    fn hash(ids: &[u32]) -> u32 {
        let bytes = ids.iter().flat_map(|id| id.to_le_bytes());
        bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }

    // Fails when a token has another id, or a merge another rank.
    #[test]
    fn ten_thousand_texts_have_the_tokens_of_transformers() {
        let words = fs::read_to_string(golden_path("clip/words.txt")).unwrap();
        let words: Vec<&str> = words.lines().collect();
        let hashes = fs::read(golden_path("clip/vocabulary.bin")).unwrap();
        let hashes: Vec<u32> =
            hashes.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        assert_eq!(hashes.len(), 10_000);
        let tokenizer = Tokenizer::built_in(&TokenizerConfig::default()).unwrap();
        assert_eq!(tokenizer.vocabulary_size(), 49_408);
        let mut dice = Dice(8);
        let mut kinds = std::collections::BTreeSet::new();
        for (index, &expected) in hashes.iter().enumerate() {
            let text = dice.text(&words);
            let ids = tokenizer.words(&text).unwrap();
            assert_eq!(hash(&ids), expected, "text {index}: {text:?}, {ids:?}");
            kinds.extend(ids);
        }
        // Otherwise the texts would say little of the vocabulary.
        assert!(2_000 < kinds.len(), "{}", kinds.len());
    }

    #[test]
    fn a_well_known_prompt_has_its_well_known_tokens() {
        let tokenizer = Tokenizer::built_in(&TokenizerConfig::default()).unwrap();
        let ids = tokenizer.encode("a photo of a cat").unwrap().ids;
        assert_eq!(ids[..8], [49_406, 320, 1125, 539, 320, 2368, 49_407, 49_407]);
    }
}
