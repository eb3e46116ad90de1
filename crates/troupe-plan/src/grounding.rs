//! What of a prompt a brief may hold.
//!
//! A brief says what the prompt says, in its words. A small model knows where they stand, but not always how they are
//! spelled; so it chooses among pieces of the prompt, nouns in the singular, and numbers that the prompt names.

use troupe_core::brief::MAXIMUM_SUBJECTS;

/// Prompts of more words are read without choices, which grow with their square.
const MOST_WORDS: usize = 64;

const NUMBERS: [&str; 12] = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
];

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

/// Plurals that no rule makes.
const IRREGULAR: [(&str, &str); 9] = [
    ("men", "man"),
    ("women", "woman"),
    ("children", "child"),
    ("people", "person"),
    ("geese", "goose"),
    ("mice", "mouse"),
    ("wives", "wife"),
    ("midwives", "midwife"),
    ("housewives", "housewife"),
];

/// What each part of a brief may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
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

/// A word of the prompt, and how it is tied to the one before it.
struct Word<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    lower: String,
    tie: Tie,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tie {
    /// Nothing but white space.
    Space,
    /// A comma.
    Comma,
    /// Anything else.
    Break,
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
        let ends = |word: &Word<'_>| LINKS.contains(&word.lower.as_str());
        let whole = |most_words, most_letters, loose: Tie, begins: fn(&str) -> bool| {
            let mut texts = vec![String::new()];
            for span in spans(&words, most_words, loose) {
                let (Some(first), Some(last)) = (span.first(), span.last()) else { continue };
                if begins(&first.lower) && !ends(last) {
                    push(&mut texts, slice(&line, span), most_letters);
                }
            }
            texts
        };
        let any = |word: &str| !LINKS.contains(&word);
        let place = |word: &str| ["a", "an", "the"].contains(&word) || !LINKS.contains(&word);
        let (number, of) = numbers(&words);
        Some(Self {
            number,
            of,
            noun: nouns(&line, &words),
            what: stated(&line, &words),
            activity: whole(10, 80, Tie::Comma, any),
            clothing: whole(8, 80, Tie::Comma, any),
            setting: whole(16, 120, Tie::Comma, place),
            style: whole(8, 80, Tie::Comma, any),
        })
    }
}

/// The words of a line; hyphens, apostrophes and full stops inside a word belong to it.
fn split(line: &str) -> Vec<Word<'_>> {
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
fn spans<'a, 'b>(
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
fn slice<'a>(line: &'a str, span: &[Word<'_>]) -> &'a str {
    let ends = span.first().zip(span.last());
    ends.and_then(|(first, last)| line.get(first.start..last.end)).unwrap_or_default()
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

/// How many people the prompt may mean, and of how many of them it may say something.
fn numbers(words: &[Word<'_>]) -> (Vec<Option<u32>>, Vec<Option<u32>>) {
    let mut found: Vec<u32> = words.iter().flat_map(|it| named(&it.lower)).collect();
    if found.iter().all(|&it| it == 1) {
        found.extend(words.iter().filter_map(|it| misspelt(&it.lower)));
    }
    found.sort_unstable();
    found.dedup();
    let says = |any: &[&str]| words.iter().any(|it| any.contains(&it.lower.as_str()));
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

/// The numbers that a word may mean: "four", "4", "4x", "five-piece", "dozen".
fn named(word: &str) -> Vec<u32> {
    let first = word.split('-').next().unwrap_or_default();
    let digits = first.trim_matches('x');
    let mut found: Vec<u32> = NAMED.iter().filter(|it| it.0 == word).map(|it| it.1).collect();
    let spelled = (1..).zip(NUMBERS).find(|it| it.1 == first).map(|it| it.0);
    found.extend(spelled.or_else(|| digits.parse().ok()));
    found.retain(|it| (1..=MAXIMUM_SUBJECTS).contains(it));
    found
}

/// The number that a word is but for a letter that is missing, doubled or swapped with the next.
fn misspelt(word: &str) -> Option<u32> {
    let letters: Vec<char> = word.chars().collect();
    let without = |letters: &[char], at: usize| {
        letters.iter().enumerate().filter(|it| it.0 != at).map(|it| *it.1).collect::<Vec<_>>()
    };
    (1..).zip(NUMBERS).find_map(|(number, name)| {
        let name: Vec<char> = name.chars().collect();
        let missing = (0..name.len()).any(|at| without(&name, at) == letters);
        let more = (0..letters.len()).any(|at| without(&letters, at) == name);
        let swapped = (1..letters.len()).any(|at| {
            let mut other = letters.clone();
            other.swap(at - 1, at);
            other == name
        });
        (3 < name.len() && (missing || more || swapped)).then_some(number)
    })
}

/// What one of the people may be called.
fn nouns(line: &str, words: &[Word<'_>]) -> Vec<String> {
    let mut texts = Vec::new();
    let holds = |span: &[Word<'_>]| {
        let edges = span.first().into_iter().chain(span.last());
        let loose = edges.clone().any(|it| LINKS.contains(&it.lower.as_str()));
        loose
            || span.iter().any(|it| {
                let inside = it.lower != "of" && LINKS.contains(&it.lower.as_str());
                inside || OUTSIDE.contains(&it.lower.as_str()) || !named(&it.lower).is_empty()
            })
    };
    for (end, word) in words.iter().enumerate() {
        for start in end.saturating_sub(4)..=end {
            let span = &words[start..=end];
            let tied = span.iter().skip(1).all(|it| it.tie == Tie::Space);
            if !tied || holds(span) {
                continue;
            }
            let before = line.get(span[0].start..word.start).unwrap_or_default();
            for one in singulars(word.text) {
                push(&mut texts, &format!("{before}{one}"), 60);
            }
            let next = words.get(end + 1).filter(|it| it.tie == Tie::Space);
            if next.is_some_and(|it| TEAMS.contains(&it.lower.as_str())) && span.len() <= 3 {
                for member in MEMBERS {
                    push(&mut texts, &format!("{} {member}", slice(line, span)), 60);
                }
            }
        }
    }
    push(&mut texts, "person", 60);
    texts
}

/// What may be stated of people; of none of them, with "no" or "not" before it.
fn stated(line: &str, words: &[Word<'_>]) -> Vec<String> {
    let mut texts = Vec::new();
    let denied = words.iter().any(|it| NEGATIONS.contains(&it.lower.as_str()));
    for span in spans(words, 6, Tie::Space) {
        let (Some(first), Some(last)) = (span.first(), span.last()) else { continue };
        let edge = |it: &Word<'_>| LINKS.contains(&it.lower.as_str());
        if edge(first) || edge(last) {
            continue;
        }
        let text = slice(line, span);
        push(&mut texts, text, 40);
        if span.len() <= 2 {
            let before = line.get(first.start..last.start).unwrap_or_default();
            for one in singulars(last.text) {
                push(&mut texts, &format!("{before}{one}"), 40);
            }
        }
        if denied && span.len() <= 4 {
            push(&mut texts, &format!("no {text}"), 40);
            push(&mut texts, &format!("not {text}"), 40);
        }
    }
    if texts.is_empty() {
        push(&mut texts, "person", 40);
    }
    texts
}

/// What a word may be the plural or the possessive of; the word itself unless it can only be a plural.
fn singulars(word: &str) -> Vec<String> {
    let lower = word.to_lowercase();
    let upper = word.chars().all(|it| !it.is_lowercase());
    let cut = |ending: &str, instead: &str| {
        let stem: String = word.chars().take(word.chars().count() - ending.len()).collect();
        if upper { stem + &instead.to_uppercase() } else { stem + instead }
    };
    let owner = lower.strip_suffix("'s").or_else(|| lower.strip_suffix("’s"));
    if let Some(owner) = owner {
        return singulars(owner);
    }
    if let Some((_, one)) = IRREGULAR.iter().find(|it| it.0 == lower) {
        return vec![(*one).to_owned()];
    }
    let ends = |ending: &str| lower.len() > ending.len() && lower.ends_with(ending);
    if ends("men") {
        return vec![cut("men", "man"), word.to_owned()];
    }
    if ends("ies") {
        return vec![cut("ies", "y"), cut("s", "")];
    }
    if ends("ves") {
        return vec![cut("s", ""), cut("ves", "f"), cut("ves", "fe")];
    }
    if ["sses", "shes", "ches", "xes", "zzes"].iter().any(|it| ends(it)) {
        return vec![cut("es", "")];
    }
    if ends("oes") || ends("uses") || ends("ises") || ends("ases") {
        return vec![cut("es", ""), cut("s", "")];
    }
    if ends("s") && !ends("ss") && !ends("us") && !ends("is") {
        return vec![cut("s", "")];
    }
    let mut found = vec![word.to_owned()];
    if ends("us") || ends("is") {
        found.push(cut("s", ""));
    }
    if ends("i") {
        found.push(cut("i", "us"));
    }
    if ends("ae") {
        found.push(cut("e", ""));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_lead_to_singulars() {
        let first = |word| singulars(word).remove(0);
        for (many, one) in [
            ("nurses", "nurse"),
            ("waitresses", "waitress"),
            ("waitress", "waitress"),
            ("coaches", "coach"),
            ("ladies", "lady"),
            ("women's", "woman"),
            ("firemen", "fireman"),
            ("children", "child"),
            ("GIRLS", "GIRL"),
            ("samurai", "samurai"),
            ("walrus", "walrus"),
            ("natives", "native"),
        ] {
            assert_eq!(first(many), one);
        }
        assert!(singulars("wolves").contains(&"wolf".to_owned()));
        assert!(singulars("heroes").contains(&"hero".to_owned()));
    }

    #[test]
    fn numbers_are_those_of_the_prompt() {
        let choices = |prompt| Choices::of(prompt).unwrap();
        let said = |prompt| choices(prompt).number;
        assert_eq!(said("seven cooks"), [None, Some(1), Some(7)]);
        assert_eq!(said("sevn cooks"), [None, Some(1), Some(7)]);
        assert_eq!(said("4x cooks, 300 pots"), [None, Some(1), Some(4)]);
        assert_eq!(said("half-a-dozen cooks"), [None, Some(1), Some(6)]);
        let parts = choices("a dozen cooks, one in red, the rest in blue").of;
        assert!(parts.contains(&Some(11)), "{parts:?}");
        assert!(choices("ten cooks, half of them bald").of.contains(&Some(5)));
        assert!(!choices("ten cooks").of.contains(&Some(5)));
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
