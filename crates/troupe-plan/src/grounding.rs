//! What of a prompt a brief may hold.
//!
//! A brief says what the prompt says, in its words. A small model knows where they stand, but not always how they are
//! spelled; so it chooses among pieces of the prompt, nouns in the singular, and numbers that the prompt names.

mod count;
mod plural;
mod words;

use troupe_core::brief::{LONGEST_NOUN, LONGEST_SETTING, LONGEST_STATED, LONGEST_TEXT};

use count::{counted, kinds, misspelt, named, numbers};
use plural::singulars;
use words::{Tie, Word, slice, spans, split};

/// Prompts of more words are read without choices, of which there are some twenty for each word.
const MOST_WORDS: usize = 64;

/// What stands between two parts of a brief and in none.
const LINKS: [&str; 18] = [
    "a", "an", "the", "and", "or", "with", "of", "who", "whom", "are", "is", "has", "have", "them",
    "wearing", "wears", "their", "to",
];

/// What a noun doesn't hold, beside [`LINKS`] and numbers.
const OUTSIDE: [&str; 17] = [
    "in", "on", "at", "by", "from", "under", "near", "beside", "behind", "all", "each", "both",
    "some", "several", "half", "dressed", "wear",
];

/// Words after which comes no noun of one person: "a handball team" has handball players.
const TEAMS: [&str; 20] = [
    "team",
    "squad",
    "side",
    "club",
    "crew",
    "band",
    "group",
    "combo",
    "ensemble",
    "choir",
    "orchestra",
    "duo",
    "trio",
    "quartet",
    "quintet",
    "sextet",
    "septet",
    "octet",
    "nonet",
    "class",
];

/// What the members of a team are called.
const MEMBERS: [&str; 4] = ["player", "musician", "singer", "member"];

const NEGATIONS: [&str; 6] = ["no", "none", "nobody", "not", "without", "neither"];

/// What a picture is called, and no person.
const PICTURES: [&str; 12] = [
    "picture",
    "pictures",
    "image",
    "photo",
    "photograph",
    "drawing",
    "painting",
    "scene",
    "sketch",
    "portrait",
    "shot",
    "illustration",
];

/// Words of a request that say nothing of people.
const ASIDES: [&str; 8] =
    ["exactly", "just", "only", "precisely", "please", "pls", "thanks", "imagine"];

/// What each part of a brief may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// The most kinds of people; at least 1.
    pub kinds: usize,
    /// Of how many people of one kind there are; never empty.
    pub number: Vec<Option<u32>>,
    /// Of how many something is said; never empty.
    pub of: Vec<Option<u32>>,
    /// Of what one of them is called; never empty.
    pub noun: Vec<String>,
    /// Of what is stated of them; never empty.
    pub what: Vec<String>,
    /// Of what they do, or nothing.
    pub activity: Vec<String>,
    /// Of what they wear, or nothing.
    pub clothing: Vec<String>,
    /// Of where they are, or nothing.
    pub setting: Vec<String>,
    /// Of how the picture looks, or nothing.
    pub style: Vec<String>,
}

impl Choices {
    /// The choices that a prompt leaves; none if it has no words, or too many.
    #[must_use]
    pub fn of(prompt: &str) -> Option<Self> {
        let line = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = split(&line);
        if words.is_empty() || MOST_WORDS < words.len() {
            return None;
        }
        let whole = |most_words, most_letters, begins: fn(&Word<'_>) -> bool| {
            let mut texts = vec![String::new()];
            for span in spans(&words, most_words, Tie::Comma) {
                let (Some(first), Some(last)) = (span.first(), span.last()) else { continue };
                if begins(first) && !last.is(&LINKS) {
                    push(&mut texts, slice(&line, span), most_letters);
                }
            }
            texts
        };
        let any = |word: &Word<'_>| !word.is(&LINKS);
        let place = |word: &Word<'_>| word.is(&["a", "an", "the"]) || !word.is(&LINKS);
        let (mut number, of) = numbers(&words);
        if counted(&line, &words) {
            number.retain(Option::is_some);
        }
        Some(Self {
            kinds: kinds(&line, &words),
            number,
            of,
            noun: nouns(&line, &words),
            what: stated(&line, &words),
            activity: whole(10, LONGEST_TEXT, any),
            clothing: whole(8, LONGEST_TEXT, any),
            setting: whole(16, LONGEST_SETTING, place),
            style: whole(8, LONGEST_TEXT, any),
        })
    }
}

/// Adds a text as it stands, without its first capital, and without any; each once.
fn push(texts: &mut Vec<String>, text: &str, most_letters: usize) {
    if text.is_empty() || most_letters < text.chars().count() {
        return;
    }
    let mut letters = text.chars();
    let first = letters.next().map(char::to_lowercase).into_iter().flatten();
    let small: String = first.chain(letters).collect();
    for text in [text.to_owned(), small, text.to_lowercase()] {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
}

/// What one of the people may be called.
fn nouns(line: &str, words: &[Word<'_>]) -> Vec<String> {
    let mut texts = Vec::new();
    let is_no_noun = |span: &[Word<'_>]| {
        span.iter().enumerate().any(|(at, it)| {
            let inside = it.lower == "of" && at != 0 && at + 1 != span.len();
            (it.is(&LINKS) && !inside) || it.is(&OUTSIDE) || !named(&it.lower).is_empty()
        })
    };
    for (end, word) in words.iter().enumerate() {
        for start in end.saturating_sub(4)..=end {
            let span = &words[start..=end];
            let tied = span.iter().skip(1).all(|it| it.tie == Tie::Space);
            // "Dancers resting" are dancers.
            let doing = word.lower.ends_with("ing") || word.is(&["up", "down", "out"]);
            let several = end != start && words[end - 1].lower.ends_with('s');
            if !tied || is_no_noun(span) || (doing && several) || word.is(&PICTURES) {
                continue;
            }
            let before = line.get(span[0].start..word.start).unwrap_or_default();
            for one in singulars(word.text) {
                push(&mut texts, &format!("{before}{one}"), LONGEST_NOUN);
            }
            let next = words.get(end + 1).filter(|it| it.tie == Tie::Space);
            if next.is_some_and(|it| it.is(&TEAMS)) && span.len() <= 3 {
                for member in MEMBERS {
                    push(&mut texts, &format!("{} {member}", slice(line, span)), LONGEST_NOUN);
                }
            }
        }
    }
    push(&mut texts, "person", LONGEST_NOUN);
    texts
}

/// What may be stated of people; of none of them, with "no" or "not" before it.
fn stated(line: &str, words: &[Word<'_>]) -> Vec<String> {
    let mut texts = Vec::new();
    let denied = words.iter().any(|it| it.is(&NEGATIONS));
    for span in spans(words, 6, Tie::Space) {
        let (Some(first), Some(last)) = (span.first(), span.last()) else { continue };
        let edge = |it: &Word<'_>| it.is(&LINKS);
        if edge(first) || edge(last) || says_nothing(last) {
            continue;
        }
        let text = slice(line, span);
        push(&mut texts, text, LONGEST_STATED);
        if span.len() <= 2 {
            let before = line.get(first.start..last.start).unwrap_or_default();
            for one in singulars(last.text) {
                push(&mut texts, &format!("{before}{one}"), LONGEST_STATED);
            }
        }
        if denied && span.len() <= 4 {
            push(&mut texts, &format!("no {text}"), LONGEST_STATED);
            push(&mut texts, &format!("not {text}"), LONGEST_STATED);
        }
    }
    if texts.is_empty() {
        push(&mut texts, "person", LONGEST_STATED);
    }
    texts
}

/// Whether no statement ends in this word: an aside, an adverb or a slip for a number.
fn says_nothing(word: &Word<'_>) -> bool {
    let adverb =
        ["ally", "ily", "ibly", "ably", "htly", "edly"].iter().any(|it| word.lower.ends_with(it));
    let slip = misspelt(&word.lower).is_some();
    adverb || slip || word.is(&ASIDES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_prompt() {
        let choices = |prompt| Choices::of(prompt).unwrap();
        let said = |prompt| choices(prompt).number;
        assert_eq!(said("seven cooks"), [Some(1), Some(7)]);
        assert_eq!(said("sevn cooks"), [Some(1), Some(7)]);
        assert_eq!(said("4x cooks, 300 pots"), [Some(1), Some(4)]);
        assert_eq!(said("half-a-dozen cooks"), [Some(1), Some(6)]);
        let parts = choices("a dozen cooks, one in red, the rest in blue").of;
        assert!(parts.contains(&Some(11)), "{parts:?}");
        assert!(choices("ten cooks, half of them bald").of.contains(&Some(5)));
        assert!(!choices("ten cooks").of.contains(&Some(5)));
    }

    #[test]
    fn people_that_are_counted_first_have_a_number() {
        for (prompt, number) in [
            ("four cooks in a yard", vec![Some(1), Some(4)]),
            ("a trio of cooks", vec![Some(1), Some(3)]),
            ("fuor cooks", vec![Some(1), Some(4)]),
            ("cooks, two of them bald", vec![None, Some(1), Some(2)]),
            ("four cooks and waiters", vec![None, Some(1), Some(4)]),
            ("cooks in two rows", vec![None, Some(1)]),
            ("there are cooks", vec![None, Some(1)]),
            ("our cooks in a yard", vec![None, Some(1)]),
            ("three nurses & patients", vec![None, Some(1), Some(3)]),
        ] {
            assert_eq!(Choices::of(prompt).unwrap().number, number, "{prompt}");
        }
    }

    #[test]
    fn kinds_that_nothing_joins_are_counted_each() {
        for (prompt, kinds) in [
            ("4 cooks, aprons, kitchen, row", 1),
            ("4 cooks, 2 waiters, in two rows", 2),
            ("4 cooks, some waiters", 2),
            ("4 cooks and waiters", 6),
            ("4 cooks & waiters", 6),
            ("cook, waiter, maid", 6),
        ] {
            assert_eq!(Choices::of(prompt).unwrap().kinds, kinds, "{prompt}");
        }
    }

    #[test]
    fn a_part_is_a_piece_of_the_prompt() {
        let choices =
            Choices::of("A women's rugby team; Six players in red, on a muddy field").unwrap();
        let noun = |it: &str| choices.noun.contains(&it.to_owned());
        assert!(noun("rugby player") && noun("player") && !noun("players in red"));
        assert!(choices.what.contains(&"woman".to_owned()));
        assert!(choices.setting.contains(&"on a muddy field".to_owned()));
        assert!(!choices.setting.contains(&"team; Six players".to_owned()));
        assert_eq!(choices.style[0], "");
    }

    #[test]
    fn no_words_and_too_many_leave_no_choices() {
        assert_eq!(Choices::of("?!"), None);
        assert_eq!(Choices::of(&"word ".repeat(65)), None);
        let choices = Choices::of("the").unwrap();
        assert_eq!((choices.noun, choices.what), (vec!["person".into()], vec!["person".into()]));
    }
}
