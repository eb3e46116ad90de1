//! A prompt in chunks of as many tokens as a text encoder reads at once.
//!
//! What the web UI does: text goes on in the next chunk where one is full; where the last comma is
//! no more than twenty tokens away, what follows it moves along, so that a phrase stays in one piece.

use candle_core::Tensor;

use super::{Piece, parse};
use crate::clip::LearnedToken;
use crate::tokenizer::{Tokenizer, TokenizerError};

/// How far back a comma may be: the web UI's "Prompt word wrap length limit".
const BACKTRACK: usize = 20;

/// As many tokens as a text encoder reads at once.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Start, text, end, then padding.
    pub ids: Vec<u32>,
    // As many as `ids`.
    /// The weight of each token.
    pub weights: Vec<f32>,
    /// Tokens that a textual inversion has learned.
    pub learned: Vec<LearnedToken>,
}

/// A textual inversion for one text encoder.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The tokens of its name, at least one.
    pub name: Vec<u32>,
    /// Shape `(tokens, width)`.
    pub vectors: Tensor,
}

/// A token that is on its way into a chunk.
#[derive(Clone)]
struct Placed {
    id: u32,
    weight: f32,
    vector: Option<Tensor>,
}

impl Chunk {
    /// Whether no token weighs other than 1.
    #[expect(clippy::float_cmp, reason = "a weight that nobody set is exactly one")]
    pub fn is_plain(&self) -> bool {
        self.weights.iter().all(|&weight| weight == 1.0)
    }
}

/// The chunks of a prompt with its syntax; at least one, and one alone for a text that fits.
///
/// # Errors
///
/// If the tokenizer fails, or a textual inversion is broken.
pub fn chunks(
    tokenizer: &Tokenizer,
    prompt: &str,
    learned: &[Learned],
) -> Result<Vec<Chunk>, TokenizerError> {
    let room = tokenizer.length() - 2; // For start and end.
    let comma = tokenizer.words(",")?.first().copied();
    let mut full: Vec<Vec<Placed>> = Vec::new();
    let mut open: Vec<Placed> = Vec::new();
    let mut last_comma = None;
    for piece in parse(prompt) {
        let (text, weight) = match piece {
            Piece::Text { text, weight } => (text, weight),
            Piece::Break => {
                full.push(std::mem::take(&mut open));
                last_comma = None;
                continue;
            }
        };
        #[expect(clippy::cast_possible_truncation, reason = "weights are single precision there")]
        let weight = weight as f32;
        let ids = tokenizer.words(&text)?;
        let mut at = 0;
        while let Some(&id) = ids.get(at) {
            let found = longest(learned, &ids[at..]);
            if Some(id) == comma {
                last_comma = Some(open.len());
            } else if let Some(comma) = last_comma
                && open.len() == room
                && open.len() - comma <= BACKTRACK
            {
                let moved = open.split_off(comma + 1);
                full.push(std::mem::replace(&mut open, moved));
                last_comma = None;
            }
            let needed = found.map_or(1, |it| it.vectors.dims().first().copied().unwrap_or(0));
            if room < open.len() + needed {
                full.push(std::mem::take(&mut open));
                last_comma = (Some(id) == comma).then_some(0);
            }
            match found {
                None => {
                    open.push(Placed { id, weight, vector: None });
                    at += 1;
                }
                Some(found) => {
                    for row in 0..needed.min(room) {
                        let vector = Some(found.vectors.get(row).map_err(failed)?);
                        open.push(Placed { id: 0, weight, vector });
                    }
                    at += found.name.len();
                }
            }
        }
    }
    if !open.is_empty() || full.is_empty() {
        full.push(open);
    }
    Ok(full.into_iter().map(|tokens| closed(tokenizer, tokens)).collect())
}

/// The inversion with the longest name with which the tokens begin.
fn longest<'a>(learned: &'a [Learned], ids: &[u32]) -> Option<&'a Learned> {
    let here = learned.iter().filter(|it| !it.name.is_empty() && ids.starts_with(&it.name));
    here.max_by_key(|it| it.name.len())
}

fn closed(tokenizer: &Tokenizer, tokens: Vec<Placed>) -> Chunk {
    let (marks, length) = (tokenizer.marks(), tokenizer.length());
    let mut chunk = Chunk { ids: vec![marks.start], weights: vec![1.0], learned: Vec::new() };
    for Placed { id, weight, vector } in tokens {
        if let Some(vector) = vector {
            chunk.learned.push(LearnedToken { position: chunk.ids.len(), vector });
        }
        chunk.ids.push(id);
        chunk.weights.push(weight);
    }
    chunk.ids.push(marks.end);
    chunk.ids.resize(length, marks.padding);
    chunk.weights.resize(length, 1.0);
    chunk
}

fn failed(error: candle_core::Error) -> TokenizerError {
    TokenizerError::Library(Box::new(error))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::tokenizer::TokenizerConfig;

    fn tokenizer() -> Tokenizer {
        Tokenizer::built_in(&TokenizerConfig::default()).unwrap()
    }

    /// The tokens of each chunk without start, end and padding.
    fn texts(prompt: &str) -> Vec<Vec<u32>> {
        let tokenizer = tokenizer();
        let marks = tokenizer.marks();
        let of = |chunk: Chunk| {
            assert_eq!((chunk.ids.len(), chunk.weights.len(), chunk.ids[0]), (77, 77, marks.start));
            let end = chunk.ids.iter().position(|&id| id == marks.end).unwrap();
            chunk.ids[1..end].to_vec()
        };
        chunks(&tokenizer, prompt, &[]).unwrap().into_iter().map(of).collect()
    }

    #[test]
    fn what_fits_is_encoded_as_ever() {
        for prompt in ["", "a photo of a cat", &"cat ".repeat(75)] {
            let chunks = chunks(&tokenizer(), prompt, &[]).unwrap();
            assert_eq!(chunks.len(), 1);
            assert_eq!(chunks[0].ids, tokenizer().encode(prompt).unwrap().ids);
            assert!(chunks[0].is_plain());
        }
    }

    #[test]
    fn seventy_five_tokens_are_a_chunk() {
        let lengths = |prompt: &str| texts(prompt).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(&"cat ".repeat(76)), [75, 1]);
        assert_eq!(lengths(&"cat ".repeat(225)), [75, 75, 75]);
        // A comma nearby: what follows it goes to the next chunk. It counts as a token itself.
        let with_comma = |before: usize, after: usize| {
            format!("{}, {}", "cat ".repeat(before), "dog ".repeat(after))
        };
        assert_eq!(lengths(&with_comma(60, 30)), [61, 30]);
        assert_eq!(lengths(&with_comma(55, 30)), [56, 30]);
        assert_eq!(lengths(&with_comma(54, 30)), [75, 10]); // 21 tokens away.
        assert_eq!(lengths(&with_comma(75, 3)), [75, 4]);
        assert_eq!(lengths("a BREAK b"), [1, 1]);
        assert_eq!(lengths("a BREAK"), [1]);
    }

    #[test]
    fn weights_stand_at_their_tokens() {
        let chunk = chunks(&tokenizer(), "a (red hat:1.5)", &[]).unwrap().remove(0);
        let heavy: Vec<usize> = (0..77).filter(|&at| chunk.weights[at] > 1.0).collect();
        assert_eq!(heavy, [2, 3]);
        assert!(!chunk.is_plain());
    }

    #[test]
    fn the_mean_stays_where_it_was() {
        let mut chunk = chunks(&tokenizer(), "(cat:2)", &[]).unwrap().remove(0);
        chunk.weights.truncate(3);
        let hidden = Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        let weighed: Vec<Vec<f32>> = chunk.weigh(&hidden).unwrap().to_vec2().unwrap();
        // Sums 21 and 28.
        let expected = [[0.75, 1.5], [4.5, 6.0], [3.75, 4.5]];
        for (row, expected) in weighed.iter().zip(expected) {
            assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{weighed:?}");
        }
    }

    #[test]
    fn a_learned_name_takes_as_many_tokens_as_it_has_vectors() {
        let tokenizer = tokenizer();
        let vectors = Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let learned = [Learned { name: tokenizer.words("my-style").unwrap(), vectors }];
        let chunk =
            chunks(&tokenizer, "cat, my-style, (My-Style:1.2)", &learned).unwrap().remove(0);
        let places: Vec<usize> = chunk.learned.iter().map(|it| it.position).collect();
        assert_eq!(places, [3, 4, 6, 7]);
        assert_eq!(chunk.ids[3..5], [0, 0]);
        assert_eq!(chunk.learned[1].vector.to_vec1::<f32>().unwrap(), [3.0, 4.0]);
        assert!(chunk.weights[6] > 1.0 && chunk.weights[7] > 1.0);
        // One that finds no room goes to the next chunk whole.
        let crowded = format!("{} my-style", "cat ".repeat(74));
        let both = chunks(&tokenizer, &crowded, &learned).unwrap();
        assert_eq!(both[1].learned.len(), 2);
        assert_eq!(both[0].learned.len(), 0);
    }
}
