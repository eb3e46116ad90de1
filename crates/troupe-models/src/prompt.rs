//! Weights in prompts, and prompts longer than a text encoder reads.
//!
//! The syntax is that of AUTOMATIC1111's web UI (its wiki, "Attention/emphasis"):
//! `(word)` weighs 1.1 times as much, `[word]` 1.1 times less, `(word:1.3)` 1.3 times, brackets
//! nest, a backslash takes the meaning from a bracket, and `BREAK` ends a chunk. A text encoder
//! reads 75 tokens at a time ([`chunks`]); each chunk is encoded alone and the results are put
//! in a row. Weights multiply what the encoder says of a token, after which the mean of all
//! numbers is brought back to what it was ([`Chunk::weigh`]).

mod chunks;

use candle_core::{Device, Tensor};

pub use self::chunks::{Chunk, Learned, chunks};
use crate::error::ModelError;

/// What a pair of round brackets without a number multiplies by.
const ROUND: f64 = 1.1;
/// What a pair of square brackets multiplies by.
const SQUARE: f64 = 1.0 / 1.1;

/// A piece of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Words of one weight.
    Text {
        /// The words, without syntax.
        text: String,
        /// 1 where nothing is said.
        weight: f64,
    },
    /// The end of a chunk.
    Break,
}

/// What a prompt consists of, letter by letter.
enum Sign<'a> {
    Escaped(&'a str),
    OpenRound,
    OpenSquare,
    /// `:1.3)`.
    CloseWeighted(f64),
    CloseRound,
    CloseSquare,
    Text(&'a str),
}

/// Takes the syntax out of a prompt; neighbours of the same weight are one piece, and there is
/// always a piece.
///
/// ```
/// use troupe_models::prompt::{Piece, parse};
///
/// let text = |text: &str, weight| Piece::Text { text: text.to_owned(), weight };
/// assert_eq!(parse("a (red:1.3) hat"), [text("a ", 1.0), text("red", 1.3), text(" hat", 1.0)]);
/// ```
#[expect(clippy::float_cmp, reason = "pieces of the same weight had the same multiplications")]
pub fn parse(prompt: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    // Where the open brackets begin, in pieces.
    let (mut round, mut square): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut rest = prompt;
    while let Some((sign, length)) = next_sign(rest) {
        let here = &rest[..length];
        rest = &rest[length..];
        match sign {
            Sign::Escaped(text) => pieces.push(plain(text)),
            Sign::OpenRound => round.push(pieces.len()),
            Sign::OpenSquare => square.push(pieces.len()),
            Sign::CloseWeighted(weight) => match round.pop() {
                Some(from) => multiply(&mut pieces[from..], weight),
                None => push_text(&mut pieces, here),
            },
            Sign::CloseRound => match round.pop() {
                Some(from) => multiply(&mut pieces[from..], ROUND),
                None => push_text(&mut pieces, here),
            },
            Sign::CloseSquare => match square.pop() {
                Some(from) => multiply(&mut pieces[from..], SQUARE),
                None => push_text(&mut pieces, here),
            },
            Sign::Text(text) => push_text(&mut pieces, text),
        }
    }
    // Brackets that nobody closed reach to the end.
    for (open, factor) in [(round, ROUND), (square, SQUARE)] {
        for from in open {
            multiply(&mut pieces[from..], factor);
        }
    }

    let mut merged: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (merged.last_mut(), piece) {
            (Some(Piece::Text { text: before, weight: same }), Piece::Text { text, weight })
                if *same == weight =>
            {
                before.push_str(&text);
            }
            (_, piece) => merged.push(piece),
        }
    }
    if merged.is_empty() {
        merged.push(plain(""));
    }
    merged
}

/// Whether a prompt holds what the web UI calls prompt editing, `[from:to:when]`, or alternating
/// words, `[one|other]`, which are read as words in square brackets here.
pub fn has_editing(prompt: &str) -> bool {
    let inside = prompt.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    inside.into_iter().any(|text| text.contains('|') || text.matches(':').count() == 2)
}

/// The first sign of a text, and its length in bytes.
fn next_sign(text: &str) -> Option<(Sign<'_>, usize)> {
    let first = text.chars().next()?;
    let sign = match first {
        '\\' => match text[1..].chars().next() {
            Some(next @ ('(' | ')' | '[' | ']' | '\\')) => {
                let length = 1 + next.len_utf8();
                return Some((Sign::Escaped(&text[1..length]), length));
            }
            // A lone backslash is left out.
            Some(_) | None => Sign::Escaped(""),
        },
        '(' => Sign::OpenRound,
        '[' => Sign::OpenSquare,
        ')' => Sign::CloseRound,
        ']' => Sign::CloseSquare,
        ':' => match weight(text) {
            Some((weight, length)) => return Some((Sign::CloseWeighted(weight), length)),
            None => Sign::Text(":"),
        },
        _ => {
            let length = text.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(text.len());
            return Some((Sign::Text(&text[..length]), length));
        }
    };
    Some((sign, 1))
}

/// Reads `: 1.3 )`, and says how long it is.
fn weight(text: &str) -> Option<(f64, usize)> {
    let (inside, _) = text.strip_prefix(':')?.split_once(')')?;
    let number = inside.trim();
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let plain = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    let weight: f64 = number.parse().ok().filter(|_| plain)?;
    weight.is_finite().then_some((weight, 1 + inside.len() + 1))
}

fn plain(text: &str) -> Piece {
    Piece::Text { text: text.to_owned(), weight: 1.0 }
}

/// Adds a text, cut where `BREAK` stands as a word of its own.
fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    const BREAK: &str = "BREAK";
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut from, mut search) = (0, 0);
    while let Some(at) = text[search..].find(BREAK).map(|at| search + at) {
        let end = at + BREAK.len();
        let alone = !text[..at].chars().next_back().is_some_and(is_word)
            && !text[end..].chars().next().is_some_and(is_word);
        search = end;
        if alone {
            pieces.push(plain(text[from..at].trim_end()));
            pieces.push(Piece::Break);
            from = text.len() - text[end..].trim_start().len();
            search = from;
        }
    }
    pieces.push(plain(&text[from..]));
}

fn multiply(pieces: &mut [Piece], factor: f64) {
    for piece in pieces {
        if let Piece::Text { weight, .. } = piece {
            *weight *= factor;
        }
    }
}

impl Chunk {
    /// Multiplies what an encoder says of each token by its weight, and brings the mean of all
    /// numbers back to what it was.
    ///
    /// Shape `(tokens, width)` → the same, and the same bits where no weight differs from 1.
    ///
    /// # Errors
    ///
    /// If there aren't as many rows as tokens.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵² numbers")]
    pub fn weigh(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        if self.is_plain() {
            return Ok(hidden.clone());
        }
        let values: Vec<f32> = hidden.flatten_all()?.to_vec1()?;
        let width = values.len().checked_div(self.weights.len()).unwrap_or(0);
        let mut weighed = values.clone();
        for (row, weight) in weighed.chunks_mut(width.max(1)).zip(&self.weights) {
            for value in row {
                *value *= weight;
            }
        }
        let mean = |values: &[f32]| {
            values.iter().map(|&it| f64::from(it)).sum::<f64>() / values.len() as f64
        };
        let back = mean(&values) / mean(&weighed);
        // As when every weight is zero: then there is nothing to bring back.
        let back = if back.is_finite() { back } else { 1.0 };
        let weighed = Tensor::from_vec(weighed, hidden.shape(), &Device::Cpu)?;
        Ok(weighed.affine(back, 0.0)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, proptest};

    use super::*;

    /// Pieces with their weights; `BREAK` has none.
    #[track_caller]
    fn check(prompt: &str, expected: &[(&str, f64)]) {
        let found = parse(prompt);
        let found: Vec<(&str, f64)> = found
            .iter()
            .map(|piece| match piece {
                Piece::Text { text, weight } => (text.as_str(), *weight),
                Piece::Break => ("BREAK", -1.0),
            })
            .collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((text, weight), (wanted, of)) in found.iter().zip(expected) {
            assert!(text == wanted && (weight - of).abs() < 1e-9, "{found:?}");
        }
    }

    // The examples of the documentation of the web UI's `parse_prompt_attention`.
    #[test]
    fn the_documented_examples_are_ours() {
        check("normal text", &[("normal text", 1.0)]);
        check("an (important) word", &[("an ", 1.0), ("important", 1.1), (" word", 1.0)]);
        check("(unbalanced", &[("unbalanced", 1.1)]);
        check(r"\(literal\]", &[("(literal]", 1.0)]);
        check("(unnecessary)(parens)", &[("unnecessaryparens", 1.1)]);
        check(
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            &[
                ("a ", 1.0),
                ("house", 1.573),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641),
                (".", 1.1),
            ],
        );
    }

    // The table of the wiki, "Attention/emphasis".
    #[test]
    fn the_wiki_s_table_is_ours() {
        check("a (word)", &[("a ", 1.0), ("word", 1.1)]);
        check("a ((word))", &[("a ", 1.0), ("word", 1.21)]);
        check("a [word]", &[("a ", 1.0), ("word", 1.0 / 1.1)]);
        check("a (word:1.5)", &[("a ", 1.0), ("word", 1.5)]);
        check("a (word:0.25)", &[("a ", 1.0), ("word", 0.25)]);
        check(r"a \(word\)", &[("a (word)", 1.0)]);
    }

    #[test]
    fn odd_brackets_and_numbers_are_words() {
        check("", &[("", 1.0)]);
        check("a) b] c", &[("a) b] c", 1.0)]);
        check("at 10:30", &[("at 10:30", 1.0)]);
        check("(at 10:30)", &[("at 10", 30.0)]); // So it is there, too.
        check("ratio :2)", &[("ratio :2)", 1.0)]);
        check("(a:1.2.3)", &[("a:1.2.3", 1.1)]);
        check("(a: -0.5 )", &[("a", -0.5)]);
        check("(a:x)", &[("a:x", 1.1)]);
        check(r"a \b \\", &[(r"a b \", 1.0)]);
        check("[(a:1.1)", &[("a", 1.0)]);
    }

    #[test]
    fn break_ends_a_chunk_where_it_is_a_word() {
        check("a BREAK b", &[("a", 1.0), ("BREAK", -1.0), ("b", 1.0)]);
        check("BREAK", &[("", 1.0), ("BREAK", -1.0), ("", 1.0)]);
        check("BREAKFAST, OUTBREAK", &[("BREAKFAST, OUTBREAK", 1.0)]);
        check("a, BREAK, b", &[("a,", 1.0), ("BREAK", -1.0), (", b", 1.0)]);
        check("(a BREAK b:1.5)", &[("a", 1.5), ("BREAK", -1.0), ("b", 1.5)]);
    }

    #[test]
    fn prompt_editing_is_noticed() {
        for (prompt, edits) in
            [("[a:b:0.5]", true), ("[a|b]", true), ("[a] (b:1.2)", false), ("a:b:c | d", false)]
        {
            assert_eq!(has_editing(prompt), edits, "{prompt}");
        }
    }

    proptest! {
        #[test]
        fn every_text_has_pieces_with_finite_weights(text in "[a ()\\[\\]:1.5\\\\BREAKé,-]{0,60}") {
            for piece in parse(&text) {
                if let Piece::Text { weight, .. } = piece {
                    prop_assert!(!weight.is_nan());
                }
            }
        }

        #[test]
        fn text_without_syntax_is_itself(text in "[a-z ,.'éß0-9-]{0,60}") {
            let whole = Piece::Text { text: text.clone(), weight: 1.0 };
            prop_assert!(parse(&text) == [whole]);
        }
    }
}
