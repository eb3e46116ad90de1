//! Sub-prompts and the base prompt: the words that the painter gets.
//!
//! What the language model wrote is data. It never fills a slot of a phrase, and what other tools would read as syntax
//! in it (LoRA tags, weights in brackets) is taken out.

use troupe_core::brief::Brief;
use troupe_core::plan::{ScenePlan, Subject, ValueDefinition};

use crate::axes::stating;
use crate::words::{NUMBERS, key, plural, words};

/// What stands for the noun in a value's phrase.
pub const SLOT: &str = "{noun}";

/// First words of a phrase that follow a noun without a comma.
const JOINING: [&str; 31] = [
    "with", "in", "wearing", "holding", "who", "of", "on", "at", "by", "beside", "behind", "under",
    "near", "inside", "outside", "along", "around", "over", "above", "beneath", "among", "between",
    "before", "against", "across", "from", "aboard", "atop", "within", "through", "next",
];

/// What ends a phrase is said by what follows it.
const ENDS: [char; 5] = [',', '.', ';', ':', ' '];

/// A value's phrase without its slot and without weights: "with dark skin" of "(with dark skin:1.3)".
pub(crate) fn bare_phrase(phrase: &str) -> String {
    let mut parts: Vec<&str> = phrase.split(')').collect();
    let last = parts.pop();
    for part in &mut parts {
        if let Some((words, weight)) = part.rsplit_once(':')
            && weight.trim().parse::<f64>().is_ok()
        {
            *part = words;
        }
    }
    parts.extend(last);
    let text = parts.join(" ").replace(['(', '[', ']'], " ").replace(SLOT, " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Words that came from a language model or a person, without what other tools read as syntax.
pub fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        kept.push_str(&rest[..start]);
        kept.push(' ');
        // A tag without an end is dropped to the end.
        rest = rest[start..].find('>').map_or("", |end| &rest[start + end + 1..]);
    }
    kept.push_str(rest);
    let dropped =
        |letter: char| letter.is_control() || matches!(letter, '(' | ')' | '[' | ']' | '>' | '\\');
    let kept: String = kept.chars().map(|it| if dropped(it) { ' ' } else { it }).collect();
    let joined: Vec<&str> = kept.split_whitespace().collect();
    joined.join(" ").trim_matches(ENDS).to_owned()
}

/// The scene: "a group of three nurses, two patients and a doctor in a hospital", without any attribute.
///
/// Kinds come in the order of the prompt, those of one noun together. A group is said to be one where its first kind has
/// several people: "a nurse and a doctor" are none in words.
///
/// With the place alone, the starter painter leaves most boxes empty: of twenty people of the first example, seeds 1 to
/// 4, four came; eleven did with the group named here and the place left out of the sub-prompts.
pub fn base_prompt(brief: &Brief, subjects: &[Subject]) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for (kind, people) in brief.people.iter().enumerate() {
        let number = subjects.iter().filter(|subject| subject.kind == kind).count();
        let noun = bare(&clean(&people.noun)).to_owned();
        match kinds.iter_mut().find(|(other, _)| key(other) == key(&noun)) {
            Some((_, sum)) => *sum += number,
            None => kinds.push((noun, number)),
        }
    }
    kinds.retain(|(_, number)| 0 < *number);
    let several = kinds.first().is_some_and(|(_, number)| 1 < *number);
    let mut parts: Vec<String> =
        kinds.iter().map(|(noun, number)| counted(noun, *number)).collect();
    let last = parts.pop().unwrap_or_default();
    let mut text = if parts.is_empty() { last } else { format!("{} and {last}", parts.join(", ")) };
    if several {
        text = format!("a group of {text}");
    }
    append(&mut text, &clean(&brief.setting));
    append(&mut text, &clean(&brief.style));
    text
}

/// "a nurse", "two nurses".
fn counted(noun: &str, number: usize) -> String {
    if number == 1 {
        return format!("{} {noun}", article(noun));
    }
    let word = NUMBERS.get(number).map_or_else(|| number.to_string(), |it| (*it).to_owned());
    format!("{word} {}", plural(noun))
}

/// A noun without the article that a language model may have left before it.
fn bare(noun: &str) -> &str {
    match noun.split_once(' ') {
        Some((article, rest)) if matches!(&*article.to_lowercase(), "a" | "an" | "the") => rest,
        Some(_) | None => noun,
    }
}

/// What the painter is told about a subject: everything but the place, which the base prompt says; see there.
pub fn sub_prompt(plan: &ScenePlan, subject: &Subject) -> String {
    let mut noun = bare(&clean(&subject.noun)).to_owned();
    let mut following = Vec::new();
    let mut wrapped: Vec<&ValueDefinition> = Vec::new();
    for assigned in &subject.values {
        let Some(proof) = plan.axes.iter().find(|proof| proof.axis == assigned.axis) else {
            continue;
        };
        let Some(value) = proof.values.iter().find(|it| it.name == assigned.value) else {
            continue;
        };
        if says(&noun, value) {
            continue;
        }
        for other in &proof.values {
            if says(&noun, other) {
                noun = without(&noun, other);
            }
        }
        if value.phrase.contains(SLOT) {
            wrapped.push(value);
        } else {
            following.push(value.phrase.clone());
        }
    }
    if noun.is_empty() && wrapped.is_empty() {
        noun.push_str("person");
    }
    for value in wrapped {
        noun = match value.phrase.split_once(SLOT) {
            Some((before, after)) => format!("{before}{noun}{after}").trim().to_owned(),
            None => noun,
        };
    }
    let mut text = format!("{} {noun}", article(&noun)).trim().to_owned();
    // The configuration's own words may weigh; those of a prompt may not.
    for phrase in &following {
        append(&mut text, phrase.trim_matches(ENDS));
    }
    for phrase in &subject.also {
        append(&mut text, &clean(phrase));
    }
    append(&mut text, &worn(&plan.brief));
    append(&mut text, &clean(&plan.brief.activity));
    append(&mut text, &clean(&plan.brief.style));
    text
}

fn worn(brief: &Brief) -> String {
    let clothing = clean(&brief.clothing);
    match first_word(&clothing).as_str() {
        "" | "in" | "wearing" | "with" | "dressed" => clothing,
        _ => format!("wearing {clothing}"),
    }
}

/// What a subject is before anything more is said: "a wizard". Words of the noun that say a value of the subject are taken out,
/// and without a noun it is "a person"; nothing where the subject's prompt says no more.
pub fn kind(plan: &ScenePlan, subject: &Subject, sub_prompt: &str) -> String {
    let mut noun = bare(&clean(&subject.noun)).to_owned();
    for assigned in &subject.values {
        let proof = plan.axes.iter().find(|proof| proof.axis == assigned.axis);
        for value in proof.iter().flat_map(|proof| &proof.values) {
            if says(&noun, value) {
                noun = without(&noun, value);
            }
        }
    }
    let kind = counted(if noun.is_empty() { "person" } else { &noun }, 1);
    if kind == sub_prompt { String::new() } else { kind }
}

/// Whether a noun says a value by itself: as a whole, or, for a value that stands before nouns, with one of its words.
pub(crate) fn says(noun: &str, value: &ValueDefinition) -> bool {
    let (whole, parts) = (key(noun), words(noun));
    let before_nouns = value.phrase.contains(SLOT);
    stating(value).iter().any(|text| {
        let text = key(text);
        text == whole || (before_nouns && parts.contains(&text))
    })
}

/// A noun without the words that say a value.
fn without(noun: &str, value: &ValueDefinition) -> String {
    let saying: Vec<String> = stating(value).iter().map(|text| key(text)).collect();
    if saying.contains(&key(noun)) {
        return String::new();
    }
    let left: Vec<&str> = noun.split(' ').filter(|word| !saying.contains(&key(word))).collect();
    left.join(" ")
}

/// Adds a phrase to a text.
fn append(text: &mut String, phrase: &str) {
    if phrase.is_empty() {
        return;
    }
    if !text.is_empty() {
        let first = first_word(phrase);
        let joins =
            JOINING.contains(&first.as_str()) || (first.ends_with("ing") && 5 < first.len());
        text.push_str(if joins { " " } else { ", " });
    }
    text.push_str(phrase);
}

/// The first word in small letters, without the brackets that weigh it.
fn first_word(text: &str) -> String {
    text.trim_start_matches(['(', '[']).split(' ').next().unwrap_or_default().to_lowercase()
}

/// The indefinite article of a noun phrase, by its sound as far as letters tell.
fn article(noun: &str) -> &'static str {
    let word = first_word(noun);
    let starts = |beginnings: &[&str]| beginnings.iter().any(|it| word.starts_with(it));
    if starts(&["hour", "honest", "heir", "honour", "honor", "8", "11", "18"]) {
        return "an";
    }
    let like_you =
        starts(&["uni", "use", "usu", "eu", "ewe"]) || word == "one" || word.starts_with("one-");
    let unlike_you = starts(&["unin", "unim", "unid", "unint"]);
    if starts(&["a", "e", "i", "o", "u"]) && (!like_you || unlike_you) { "an" } else { "a" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_of_other_tools_is_taken_out() {
        let check = |text: &str, expected: &str| assert_eq!(clean(text), expected);
        check("a <lora:evil:9> (red:1.5) [hat]", "a red:1.5 hat");
        check("chef <lora:unclosed", "chef");
        check("{noun}", "{noun}");
        check(" x\u{0}\ny,. ", "x y");
    }

    #[test]
    fn a_phrase_is_compared_without_its_slot_and_weights() {
        let check = |phrase: &str, bare: &str| assert_eq!(bare_phrase(phrase), bare);
        check("(with dark skin:1.3)", "with dark skin");
        check("((very) old:1.2) {noun} from 10:30", "very old from 10:30");
        check("  tall {noun}, thin ", "tall , thin");
    }

    #[test]
    fn articles_follow_the_sound() {
        let check = |noun: &str, expected: &str| assert_eq!(article(noun), expected, "{noun}");
        for noun in
            ["old man", "astronaut", "hour keeper", "unimpressed man", "archivist", "8-year-old"]
        {
            check(noun, "an");
        }
        for noun in ["woman", "uniformed man", "European", "one-armed man", "user"] {
            check(noun, "a");
        }
    }

    #[test]
    fn phrases_join_as_a_sentence_would() {
        let mut text = "a chef".to_owned();
        for phrase in
            ["with dark skin", "tall", "cutting bread", "", "in a kitchen", "oil painting"]
        {
            append(&mut text, phrase);
        }
        assert_eq!(text, "a chef with dark skin, tall cutting bread in a kitchen, oil painting");
    }
}
