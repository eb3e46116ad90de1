//! Words as they are compared: lower case, hyphens as spaces, no articles, no plurals.

/// Plurals that no rule makes singular.
const IRREGULAR: [(&str, &str); 9] = [
    ("people", "person"),
    ("children", "child"),
    ("feet", "foot"),
    ("teeth", "tooth"),
    ("wives", "wife"),
    ("elves", "elf"),
    ("dwarves", "dwarf"),
    ("wolves", "wolf"),
    ("thieves", "thief"),
];

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

/// A word in the singular, or at least in a form that its singular has too.
/// The plural of a noun, of which the last word changes: "basketball player" → "basketball players".
pub(crate) fn plural(noun: &str) -> String {
    let (before, word) = noun.rsplit_once(' ').map_or(("", noun), |(before, word)| (before, word));
    let many = if let Some((many, _)) = IRREGULAR.iter().find(|(_, one)| *one == word) {
        (*many).to_owned()
    } else if let Some(stem) = word.strip_suffix("man") {
        format!("{stem}men")
    } else if ["s", "x", "z", "ch", "sh", "hero"].iter().any(|it| word.ends_with(it)) {
        format!("{word}es")
    } else {
        match word.strip_suffix('y') {
            Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
            Some(_) | None => format!("{word}s"),
        }
    };
    if before.is_empty() { many } else { format!("{before} {many}") }
}

fn singular(word: &str) -> String {
    if let Some((_, one)) = IRREGULAR.iter().find(|(many, _)| *many == word) {
        return (*one).to_owned();
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
        check("dresses", "dress");
        check("glasses", "glass");
        check("boss", "boss");
        check("two boxes", "two box");
        check("\u{7}!?", "");
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
