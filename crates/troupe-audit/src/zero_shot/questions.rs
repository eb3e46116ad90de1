//! What is asked of a picture.

use troupe_core::plan::ValueDefinition;
use troupe_models::prompt::{Piece, parse};

use crate::reading::words;

/// What says how many people there are, nobody, one, more.
pub(super) const PRESENCE: [&str; 3] = [
    "a photo of an empty place without people",
    "a photo of one person",
    "a photo of two people side by side",
];
/// A noun without its article.
pub(super) fn bare(noun: &str) -> String {
    let noun = noun.trim();
    match noun.split_once(' ') {
        Some((first, rest)) if ["a", "an", "the"].contains(&&*first.to_lowercase()) => rest.into(),
        Some(_) | None => noun.to_owned(),
    }
}

/// A noun without the words that say one of these values, which would be heard in every text.
pub(super) fn unsaid(noun: &str, values: &[ValueDefinition]) -> String {
    let texts = |it: &ValueDefinition| {
        let name = [it.name.clone(), unweighted(&it.phrase)];
        name.into_iter().chain(it.also.iter().cloned()).collect::<Vec<_>>()
    };
    // Words that say nothing by themselves are no values.
    let said: Vec<Vec<String>> = values.iter().flat_map(texts).map(|it| words(&it)).collect();
    let says = |word: &str| said.iter().any(|it| *it == words(word));
    bare(noun).split(' ').filter(|word| !says(word)).collect::<Vec<_>>().join(" ")
}

/// What a value is asked by.
pub(super) fn text(noun: &str, value: &ValueDefinition) -> String {
    let phrase = unweighted(&value.phrase);
    let Some((before, after)) = phrase.split_once("{noun}") else {
        let noun = if noun.is_empty() { "person" } else { noun };
        return photo(format!("{noun} {phrase}").trim());
    };
    let what = format!("{before}{noun}{after}");
    photo(&what.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A phrase without the syntax by which words weigh, which is the painter's business.
fn unweighted(phrase: &str) -> String {
    let texts = parse(phrase).into_iter().filter_map(|it| match it {
        Piece::Text { text, .. } => Some(text),
        Piece::Break => None,
    });
    texts.collect()
}

pub(super) fn photo(what: &str) -> String {
    let vowel = what.starts_with(|it: char| "aeiouAEIOU".contains(it));
    format!("a photo of {} {what}", if vowel { "an" } else { "a" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_asked_for_by_their_phrases() {
        let value = |phrase: &str| {
            let (name, phrase) = ("name".to_owned(), phrase.to_owned());
            ValueDefinition { name, phrase, also: Vec::new(), stature: None }
        };
        let asked = |noun, phrase| text(noun, &value(phrase));
        assert_eq!(asked("doctor", "with dark skin"), "a photo of a doctor with dark skin");
        assert_eq!(asked("doctor", "(old:1.2) {noun}"), "a photo of an old doctor");
        assert_eq!(asked("doctor", "older {noun}"), "a photo of an older doctor");
        assert_eq!(asked("artist", ""), "a photo of an artist");
    }

    #[test]
    fn a_noun_that_says_a_value_does_not_say_it_in_every_text() {
        let value = |name: &str, also: &[&str]| {
            let also = also.iter().map(|&it| it.to_owned()).collect();
            let (name, phrase) = (name.to_owned(), format!("{name} {{noun}}"));
            ValueDefinition { name, phrase, also, stature: None }
        };
        let genders = [value("woman", &["women", "female"]), value("man", &["men", "male"])];
        let asked = |noun: &str| genders.each_ref().map(|it| text(&unsaid(noun, &genders), it));
        assert_eq!(asked("woman"), ["a photo of a woman", "a photo of a man"]);
        assert_eq!(asked("a male nurse"), ["a photo of a woman nurse", "a photo of a man nurse"]);
        assert_eq!(unsaid("firewoman", &genders), "firewoman");
    }
}
