//! How many people a prompt may mean, as it counts them.

use troupe_core::brief::{MAXIMUM_SUBJECTS, MOST_KINDS};

use super::words::{Tie, Word};
use crate::words::NUMBERS;

/// Other words that say how many.
const NAMED: [(&str, u32); 29] = [
    ("a", 1),
    ("an", 1),
    ("single", 1),
    ("lone", 1),
    ("solo", 1),
    ("another", 1),
    ("pair", 2),
    ("couple", 2),
    ("duo", 2),
    ("twosome", 2),
    ("brace", 2),
    ("both", 2),
    ("twins", 2),
    ("trio", 3),
    ("threesome", 3),
    ("triplets", 3),
    ("quartet", 4),
    ("foursome", 4),
    ("quadruplets", 4),
    ("quintet", 5),
    ("quintuplets", 5),
    ("sextet", 6),
    ("half-dozen", 6),
    ("half-a-dozen", 6),
    ("septet", 7),
    ("octet", 8),
    ("nonet", 9),
    ("dozen", 12),
    ("dozen", 6),
];

/// "Some cooks": people whose number isn't said.
const UNSAID: [&str; 12] = [
    "some", "several", "many", "few", "various", "numerous", "lots", "plenty", "handful", "number",
    "bunch", "crowd",
];

/// What joins kinds of people of whom one may be without a number, "four cooks and waiters"; `&` and `+` do so too.
const JOINING: [&str; 2] = ["and", "plus"];

/// What else may stand between two kinds of people that aren't counted both.
const BESIDE: [&str; 4] = ["with", "alongside", "together", "accompanied"];

/// Words that are a letter away from a number, and mean none.
const NO_SLIPS: [&str; 11] =
    ["there", "tree", "thee", "our", "for", "fur", "flour", "even", "seen", "weight", "height"];

/// What is arranged in twos: "in two rows" counts no people.
const ARRANGED: [&str; 6] = ["rows", "row", "lines", "ranks", "columns", "deep"];

/// The most kinds of people. Where somebody is counted and nothing joins kinds, each kind has its own count.
pub(super) fn kinds(line: &str, words: &[Word<'_>]) -> usize {
    let joined = joined(line, words) || words.iter().skip(1).any(|it| it.is(&BESIDE));
    let counts = (0..words.len()).map(|at| count_at(words, at)).filter(|it| !it.is_empty()).count();
    let unsaid = words.iter().filter(|it| it.is(&UNSAID)).count();
    let many = (0..words.len()).any(|at| count_at(words, at).iter().any(|&it| 1 < it));
    if joined || !many { MOST_KINDS } else { (counts + unsaid).clamp(1, MOST_KINDS) }
}

/// Whether the prompt begins by counting its people: "four cooks", "a trio of cooks", and none that it doesn't count.
pub(super) fn counted(line: &str, words: &[Word<'_>]) -> bool {
    let unsaid = words.iter().any(|it| it.is(&UNSAID));
    let many = |at: usize| count_at(words, at).iter().any(|&it| 1 < it);
    let exact = (0..words.len()).any(many);
    let first =
        many(0) || (!exact && words.first().is_some_and(|it| misspelt(&it.lower).is_some()));
    let named = (0..words.len()).any(|at| {
        let of = words.get(at + 1).is_some_and(|it| it.lower == "of" && it.tie == Tie::Space);
        of && many(at)
            && words.get(at).is_some_and(|it| NAMED.iter().any(|name| name.0 == it.lower))
    });
    !unsaid && !joined(line, words) && (first || named)
}

/// Whether something joins kinds of people.
fn joined(line: &str, words: &[Word<'_>]) -> bool {
    line.contains(['&', '+']) || words.iter().any(|it| it.is(&JOINING))
}

/// How many people the prompt may mean, and of how many of them it may say something.
pub(super) fn numbers(words: &[Word<'_>]) -> (Vec<Option<u32>>, Vec<Option<u32>>) {
    let mut found: Vec<u32> = (0..words.len()).flat_map(|at| count_at(words, at)).collect();
    if found.iter().all(|&it| it == 1) {
        found.extend(words.iter().filter_map(|it| misspelt(&it.lower)));
    }
    found.sort_unstable();
    found.dedup();
    let says = |any: &[&str]| words.iter().any(|it| it.is(any));
    let mut parts = found.clone();
    if says(&["rest", "other", "others", "remaining", "but"]) {
        let left =
            found.iter().flat_map(|&all| found.iter().map(move |&it| all.saturating_sub(it)));
        parts.extend(left.filter(|&it| it != 0));
    }
    if says(&["half", "halves"]) {
        parts.extend(found.iter().filter(|&&it| it % 2 == 0).map(|it| it / 2));
    }
    parts.sort_unstable();
    parts.dedup();
    // What is listed counts one each, with or without an article.
    if !found.contains(&1) {
        found.insert(0, 1);
    }
    let or_unsaid = |numbers: Vec<u32>| {
        std::iter::once(None).chain(numbers.into_iter().map(Some)).collect::<Vec<_>>()
    };
    (or_unsaid(found), or_unsaid(parts))
}

/// The numbers that a word may mean where it stands.
fn count_at(words: &[Word<'_>], at: usize) -> Vec<u32> {
    let arranged = words.get(at + 1).is_some_and(|it| it.is(&ARRANGED));
    words.get(at).filter(|_| !arranged).map(|it| named(&it.lower)).unwrap_or_default()
}

/// The numbers that a word may mean: "four", "4", "4x", "five-piece", "dozen".
pub(super) fn named(word: &str) -> Vec<u32> {
    let first = word.split('-').next().unwrap_or_default();
    let digits = first.trim_matches('x');
    let mut found: Vec<u32> = NAMED.iter().filter(|it| it.0 == word).map(|it| it.1).collect();
    let spelled = (0..).zip(NUMBERS).find(|it| it.1 == first).map(|it| it.0);
    found.extend(spelled.or_else(|| digits.parse().ok()));
    found.retain(|it| (1..=MAXIMUM_SUBJECTS).contains(it));
    found
}

/// The number that a word is but for a letter that is missing, doubled or swapped with the next.
pub(super) fn misspelt(word: &str) -> Option<u32> {
    if NO_SLIPS.contains(&word) {
        return None;
    }
    let letters: Vec<char> = word.chars().collect();
    let without = |letters: &[char], at: usize| {
        letters.iter().enumerate().filter(|it| it.0 != at).map(|it| *it.1).collect::<Vec<_>>()
    };
    (0..).zip(NUMBERS).find_map(|(number, name)| {
        let name: Vec<char> = name.chars().collect();
        let missing = (0..name.len()).any(|at| without(&name, at) == letters);
        let doubled = (1..letters.len())
            .any(|at| letters[at] == letters[at - 1] && without(&letters, at) == name);
        let swapped = (1..letters.len()).any(|at| {
            let mut other = letters.clone();
            other.swap(at - 1, at);
            other == name
        });
        (3 < name.len() && (missing || doubled || swapped)).then_some(number)
    })
}
