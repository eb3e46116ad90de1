//! The words of a prompt, and how they are tied to one another.

/// A word of the prompt, and how it is tied to the one before it.
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// Where it stands in the line, in bytes.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) lower: String,
    pub(super) tie: Tie,
}

impl Word<'_> {
    /// Whether it is one of these, whatever its capitals.
    pub(super) fn is(&self, any: &[&str]) -> bool {
        any.contains(&self.lower.as_str())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tie {
    /// Nothing but white space.
    Space,
    /// A comma.
    Comma,
    /// Anything else.
    Break,
}

/// The words of a line; hyphens, apostrophes and full stops inside a word belong to it.
pub(super) fn split(line: &str) -> Vec<Word<'_>> {
    let letters: Vec<(usize, char)> = line.char_indices().collect();
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut at = 0;
    while let Some(&(start, letter)) = letters.get(at) {
        if !letter.is_alphanumeric() {
            at += 1;
            continue;
        }
        let belongs = |at: usize| {
            let is = |at: usize| letters.get(at).is_some_and(|it| it.1.is_alphanumeric());
            let joins = letters.get(at).is_some_and(|it| "-'’.".contains(it.1));
            is(at) || (joins && is(at + 1))
        };
        while belongs(at) {
            at += 1;
        }
        let end = letters.get(at).map_or(line.len(), |it| it.0);
        let between = words.last().and_then(|it| line.get(it.end..start)).unwrap_or(".");
        let tie = match between.trim() {
            "" => Tie::Space,
            "," => Tie::Comma,
            _ => Tie::Break,
        };
        let text = line.get(start..end).unwrap_or_default();
        words.push(Word { text, start, end, lower: text.to_lowercase(), tie });
    }
    words
}

/// Every run of at most `most` words that are tied no looser than that.
pub(super) fn spans<'a, 'b>(
    words: &'a [Word<'b>],
    most: usize,
    loosest: Tie,
) -> impl Iterator<Item = &'a [Word<'b>]> {
    (0..words.len()).flat_map(move |first| {
        let tied = words[first + 1..].iter().take_while(|it| it.tie <= loosest).count();
        (1..=(tied + 1).min(most)).map(move |length| &words[first..first + length])
    })
}

/// The text from the first word of a run to its last.
pub(super) fn slice<'a>(line: &'a str, span: &[Word<'_>]) -> &'a str {
    let ends = span.first().zip(span.last());
    ends.and_then(|(first, last)| line.get(first.start..last.end)).unwrap_or_default()
}
