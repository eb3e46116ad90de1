//! The nearest in spelling.

/// The one of `known` that begins with the word, else takes the fewest changed letters; the first
/// of equals.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    let rank = |candidate: &&str| {
        let begun = !word.is_empty() && candidate.starts_with(word);
        (!begun, distance(word, candidate))
    };
    known.min_by_key(rank).unwrap_or_default()
}

/// How many letters must be inserted, left out, replaced, or swapped with their neighbour (optimal
/// string alignment; Damerau 1964).
pub(super) fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect(); // From nothing to each beginning of `to`.
    for row in 0..from.len() {
        let mut this = vec![row + 1];
        for column in 0..to.len() {
            let replaced = above[column] + usize::from(from[row] != to[column]);
            let mut least = replaced.min(above[column + 1] + 1).min(this[column] + 1);
            if 0 < row && 0 < column && from[row] == to[column - 1] && from[row - 1] == to[column] {
                least = least.min(before[column - 1] + 1);
            }
            this.push(least);
        }
        before = std::mem::replace(&mut above, this);
    }
    above[to.len()]
}
