//! Words as they are compared: lower case, hyphens as spaces, no articles, no plurals.

/// The words for the numbers of people that a picture holds, from 0.
pub(crate) const NUMBERS: [&str; 13] = [
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
];

/// Plurals that no rule makes singular, also as the end of a word: "salespeople", "midwives".
pub(crate) const IRREGULAR: [(&str, &str); 11] = [
    ("people", "person"),
    ("children", "child"),
    ("feet", "foot"),
    ("teeth", "tooth"),
    ("geese", "goose"),
    ("mice", "mouse"),
    ("wives", "wife"),
    ("elves", "elf"),
    ("dwarves", "dwarf"),
    ("wolves", "wolf"),
    ("thieves", "thief"),
];

/// Words that end in "man" and mean no man.
const NO_MEN: [&str; 7] = ["human", "german", "roman", "norman", "ottoman", "shaman", "talisman"];

/// What ends the part of a noun that takes the plural: "member of parliament".
const AFTER_NOUNS: [&str; 6] = [" of ", " in ", " on ", " at ", " with ", " from "];

/// The words of a text, each in the form in which it is compared.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .replace('’', "'")
        .split(|letter: char| !letter.is_alphanumeric() && letter != '\'')
        .map(|word| word.trim_matches('\''))
        .map(|word| word.strip_suffix("'s").unwrap_or(word))
        .filter(|word| !word.is_empty() && !matches!(*word, "a" | "an" | "the"))
        .map(singular)
        .collect()
}

/// A text in the form in which it is compared.
pub(crate) fn key(text: &str) -> String {
    words(text).join(" ")
}

/// A text without the words that name its axis, in the form in which it is compared; `None` when nothing is left.
///
/// `nouns` are the words of the axis's name: "red hair" and "red-haired" are "red" where they are `["hair"]`.
pub(crate) fn key_without(text: &str, nouns: &[String]) -> Option<String> {
    let names_axis = |word: &str| {
        nouns.iter().any(|noun| {
            let Some(last) = noun.chars().last() else { return false };
            let rest = word.strip_prefix(noun.as_str());
            rest.is_some_and(|rest| {
                matches!(rest, "" | "ed" | "d") || rest.strip_prefix(last) == Some("ed")
            })
        })
    };
    let left: Vec<String> = words(text).into_iter().filter(|word| !names_axis(word)).collect();
    (!left.is_empty()).then(|| left.join(" "))
}

/// Whether a noun is one that a list of nouns means, both in the form of [`words`]: that noun, or with words before it.
///
/// A head nurse is a nurse; a nurse's aide is none.
pub(crate) fn is_one_of(noun: &[String], listed: &[Vec<String>]) -> bool {
    listed.iter().any(|it| noun.ends_with(it))
}

/// The plural of a noun, of which the last word changes that isn't after a preposition: "basketball player" →
/// "basketball players", "member of parliament" → "members of parliament".
pub(crate) fn plural(noun: &str) -> String {
    let end = AFTER_NOUNS.iter().filter_map(|it| noun.find(it)).min().unwrap_or(noun.len());
    let (noun, after) = noun.split_at(end);
    let (before, word) = noun.rsplit_once(' ').map_or(("", noun), |(before, word)| (before, word));
    let irregular = IRREGULAR
        .iter()
        .find_map(|(many, one)| word.strip_suffix(one).map(|stem| format!("{stem}{many}")));
    let many = if let Some(many) = irregular {
        many
    } else if let Some(stem) = word.strip_suffix("man").filter(|_| !NO_MEN.contains(&word)) {
        format!("{stem}men")
    } else if ["s", "x", "z", "ch", "sh", "hero"].iter().any(|it| word.ends_with(it)) {
        format!("{word}es")
    } else {
        match word.strip_suffix('y') {
            Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
            Some(_) | None => format!("{word}s"),
        }
    };
    let space = if before.is_empty() { "" } else { " " };
    format!("{before}{space}{many}{after}")
}

/// A word in the singular, or at least in a form that its singular has too.
fn singular(word: &str) -> String {
    let irregular = IRREGULAR
        .iter()
        .find_map(|(many, one)| word.strip_suffix(many).map(|stem| format!("{stem}{one}")));
    if let Some(one) = irregular {
        return one;
    }
    if let Some(stem) = word.strip_suffix("men") {
        return format!("{stem}man");
    }
    if word.chars().count() <= 3 {
        return word.to_owned();
    }
    if let Some(stem) = word.strip_suffix("ies") {
        return format!("{stem}y");
    }
    for ending in ["sses", "shes", "ches", "xes", "zes"] {
        if word.ends_with(ending) {
            return word[..word.len() - 2].to_owned();
        }
    }
    match word.strip_suffix('s') {
        Some(stem) if !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        Some(_) | None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(key(text), expected);
    }

    #[test]
    fn the_last_word_of_a_noun_takes_the_plural() {
        for (one, many) in [
            ("basketball player", "basketball players"),
            ("person", "people"),
            ("fireman", "firemen"),
            ("superhero", "superheroes"),
            ("coach", "coaches"),
            ("lady", "ladies"),
            ("boy", "boys"),
            ("human", "humans"),
            ("midwife", "midwives"),
            ("salesperson", "salespeople"),
            ("chief of police", "chiefs of police"),
        ] {
            assert_eq!(plural(one), many);
        }
    }

    #[test]
    fn case_hyphens_articles_and_plurals_do_not_matter() {
        check("A dark-skinned  Woman", "dark skinned woman");
        check("the women's", "woman");
        check("women’s", "woman");
        check("firemen", "fireman");
        check("children", "child");
        check("ladies", "lady");
        check("Midwives", "midwife");
        check("salespeople", "salesperson");
        check("dresses", "dress");
        check("glasses", "glass");
        check("boss", "boss");
        check("two boxes", "two box");
        check("\u{7}!?", "");
    }

    #[test]
    fn a_noun_is_known_by_its_last_words() {
        let check = |noun: &str, listed: &[&str], expected: bool| {
            let listed: Vec<Vec<String>> = listed.iter().map(|it| words(it)).collect();
            assert_eq!(is_one_of(&words(noun), &listed), expected, "{noun} in {listed:?}");
        };
        check("nurse", &["doctor", "Nurses"], true);
        check("head nurse", &["nurse"], true);
        check("Head-Nurses", &["nurse"], true);
        check("nurse", &["head nurse"], false);
        check("nurse's aide", &["nurse"], false);
        check("senior police officer", &["police officer"], true);
        check("military officer", &["police officer"], false);
        check("wet-nurse", &["urse"], false);
    }

    #[test]
    fn the_axis_noun_is_dropped_in_all_its_forms() {
        let without = |text: &str, nouns: &str| key_without(text, &words(nouns));
        assert_eq!(without("dark-skinned", "skin tone").as_deref(), Some("dark"));
        assert_eq!(without("dark skin tone", "skin tone").as_deref(), Some("dark"));
        assert_eq!(without("red-haired", "hair").as_deref(), Some("red"));
        assert_eq!(without("middle-aged", "age").as_deref(), Some("middle"));
        assert_eq!(without("white coat", "skin tone").as_deref(), Some("white coat"));
        assert_eq!(without("hairy", "hair").as_deref(), Some("hairy"));
        assert_eq!(without("skin", "skin tone"), None);
    }
}
