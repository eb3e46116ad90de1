//! Which attribute of a judge an axis of a plan is, and which of its values mean which.
//!
//! An axis is read by the attribute whose name is one of its words: "skin tone" by `tone`, "hair colour" by `hair`. A
//! value means the judge's value that its name, or else a word of `also`, or else its phrase says: "in a red coat"
//! means `red`. It is all of an axis or nothing: with a value that the judge doesn't know, or two that are one to it, its
//! tallies would be others than the plan's.

use troupe_core::audit::Unread;
use troupe_core::plan::{AxisProof, ScenePlan, ValueDefinition};

use crate::config::{Head, JudgeConfig};

/// The attribute that says what a person is.
const ROLE: &str = "role";

/// The most values of an axis that are asked for, each of which is a text to be read.
const MOST_VALUES: usize = 64;

/// What a judge that is asked with the plan's words calls the nouns. An axis of this name couldn't be asked for.
pub(crate) const NOUN: &str = "";

/// Words by which a value of an attribute with `yes` and `no` says no.
const NEGATIONS: [&str; 5] = ["no", "not", "none", "without", "never"];

/// How a plan is read off what a judge says.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    axes: Vec<AxisReader<'a>>,
    /// The axes that can't be read.
    pub(crate) unread: Vec<Unread>,
    nouns: Option<Nouns<'a>>,
}

/// How nouns are told.
#[derive(Debug)]
struct Nouns<'a> {
    attribute: &'a str,
    known: Vec<&'a str>,
}

/// How an axis is read.
#[derive(Debug)]
pub(crate) struct AxisReader<'a> {
    /// The axis.
    pub(crate) axis: &'a str,
    /// The attribute.
    pub(crate) attribute: &'a str,
    /// Each value of the axis, and the judge's word for it.
    values: Vec<(&'a str, &'a str)>,
}

impl<'a> Reader<'a> {
    /// By the classes of a trained judge.
    pub(crate) fn of_heads(plan: &'a ScenePlan, judge: &'a JudgeConfig) -> Self {
        let role = judge.heads.iter().find(|head| head.name == ROLE);
        let nouns = role.map(|head| Nouns {
            attribute: &head.name,
            known: head.values.iter().map(String::as_str).collect(),
        });
        Self::of(plan, nouns, |proof| AxisReader::of_heads(proof, judge))
    }

    /// By the plan's own words, of which each is asked for: what can be told is what there is another word for.
    pub(crate) fn of_words(plan: &'a ScenePlan) -> Self {
        let known = distinct_nouns(plan);
        let nouns = (1 < known.len()).then_some(Nouns { attribute: NOUN, known });
        Self::of(plan, nouns, AxisReader::of_words)
    }

    fn of(
        plan: &'a ScenePlan,
        nouns: Option<Nouns<'a>>,
        read: impl Fn(&'a AxisProof) -> Result<AxisReader<'a>, String>,
    ) -> Self {
        let (mut axes, mut unread) = (Vec::new(), Vec::new());
        for proof in &plan.axes {
            match read(proof) {
                Ok(axis) => axes.push(axis),
                Err(why) => unread.push(Unread { axis: proof.axis.clone(), why }),
            }
        }
        Self { axes, unread, nouns }
    }

    /// How an axis is read, if it can be.
    pub(crate) fn axis(&self, name: &str) -> Option<&AxisReader<'a>> {
        self.axes.iter().find(|axis| axis.axis == name)
    }

    /// The attribute by which a noun is told, if the judge knows it.
    pub(crate) fn noun(&self, noun: &str) -> Option<&'a str> {
        let nouns = self.nouns.as_ref()?;
        let known = nouns.known.iter().any(|known| known.eq_ignore_ascii_case(noun));
        known.then_some(nouns.attribute)
    }
}

/// The nouns of a plan, each once, in the order of its people.
pub(crate) fn distinct_nouns(plan: &ScenePlan) -> Vec<&str> {
    let mut nouns: Vec<&str> = Vec::new();
    for subject in &plan.subjects {
        if !nouns.iter().any(|it| it.eq_ignore_ascii_case(&subject.noun)) {
            nouns.push(&subject.noun);
        }
    }
    nouns
}

impl<'a> AxisReader<'a> {
    /// Every value by its own name.
    fn of_words(proof: &'a AxisProof) -> Result<Self, String> {
        let values = &proof.values;
        if proof.axis == NOUN {
            return Err("has no name".to_owned());
        }
        if values.len() < 2 {
            return Err("has no second value from which the judge could tell the first".to_owned());
        }
        if MOST_VALUES < values.len() {
            let found = values.len();
            return Err(format!("has {found} values, and at most {MOST_VALUES} are asked for"));
        }
        for (at, value) in values.iter().enumerate() {
            let asked = words(&value.phrase);
            if let Some(other) = values[..at].iter().find(|it| words(&it.phrase) == asked) {
                let (one, other) = (&other.name, &value.name);
                return Err(format!("`{one}` and `{other}` have the same words in their phrases"));
            }
        }
        let values = values.iter().map(|value| (value.name.as_str(), value.name.as_str()));
        Ok(Self { axis: &proof.axis, attribute: &proof.axis, values: values.collect() })
    }

    fn of_heads(proof: &'a AxisProof, judge: &'a JudgeConfig) -> Result<Self, String> {
        let said = words(&proof.axis);
        let attributes = judge.heads.iter().skip(1).filter(|head| head.name != ROLE);
        let mut named = attributes.clone().filter(|head| said.contains(&head.name));
        let (Some(head), None) = (named.next(), named.next()) else {
            let known: Vec<&str> = attributes.map(|head| head.name.as_str()).collect();
            return Err(format!(
                "wanted one of {} as a word of its name, by which the judge would tell it",
                known.join(", ")
            ));
        };
        let mut values: Vec<(&str, &str)> = Vec::new();
        for value in &proof.values {
            let meant = meaning(value, head).ok_or_else(|| {
                format!(
                    "the judge's `{}` has {}, and `{}` says none of these",
                    head.name,
                    head.values.join(", "),
                    value.name
                )
            })?;
            if let Some((other, _)) = values.iter().find(|(_, word)| *word == meant) {
                return Err(format!(
                    "`{other}` and `{}` are both `{meant}` to the judge's `{}`",
                    value.name, head.name
                ));
            }
            values.push((&value.name, meant));
        }
        Ok(Self { axis: &proof.axis, attribute: &head.name, values })
    }

    /// The plan's word for one of the judge's, if it has any.
    pub(crate) fn value_of(&self, judged: &str) -> Option<&'a str> {
        self.values.iter().find(|(_, word)| *word == judged).map(|(value, _)| *value)
    }
}

/// The value of an attribute that a value of an axis means.
fn meaning<'a>(value: &ValueDefinition, head: &'a Head) -> Option<&'a str> {
    let texts = [value.name.as_str()].into_iter().chain(value.also.iter().map(String::as_str));
    let mut texts = texts.chain([value.phrase.as_str()]);
    if let [no, yes] = head.values.as_slice()
        && (no.as_str(), yes.as_str()) == ("no", "yes")
    {
        return texts.find_map(|text| {
            let words = words(text);
            let denied = words.iter().any(|word| NEGATIONS.contains(&word.as_str()));
            let named = words.iter().any(|word| *word == head.name || word == yes);
            if denied { Some(no.as_str()) } else { named.then_some(yes.as_str()) }
        });
    }
    texts.find_map(|text| only_value(&words(text), &head.values))
}

/// The one of some values that words say; "medium light" says neither `medium` nor `light`.
fn only_value<'a>(said: &[String], values: &'a [String]) -> Option<&'a str> {
    let places = values.iter().flat_map(|value| {
        let wanted = words(value);
        // A value without words is said by nothing.
        let starts =
            0..if wanted.is_empty() { 0 } else { (said.len() + 1).saturating_sub(wanted.len()) };
        let found = starts.filter(|&at| said[at..at + wanted.len()] == wanted[..]);
        found.map(|at| (value.as_str(), at, at + wanted.len())).collect::<Vec<_>>()
    });
    let places: Vec<(&str, usize, usize)> = places.collect();
    let within = |inner: &(&str, usize, usize), outer: &(&str, usize, usize)| {
        outer.1 <= inner.1 && inner.2 <= outer.2 && outer.2 - outer.1 > inner.2 - inner.1
    };
    let mut whole = places.iter().filter(|inner| !places.iter().any(|outer| within(inner, outer)));
    let first = whole.next()?.0;
    whole.all(|(value, ..)| *value == first).then_some(first)
}

/// The words of a text, in lower case; `{noun}` is none.
pub(crate) fn words(text: &str) -> Vec<String> {
    let text = text.replace("{noun}", " ").to_lowercase();
    let words = text.split(|it: char| !it.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, phrase: &str, also: &[&str]) -> ValueDefinition {
        let also = also.iter().map(|&it| it.to_owned()).collect();
        ValueDefinition { name: name.to_owned(), phrase: phrase.to_owned(), also, stature: None }
    }

    fn head(name: &str, values: &[&str]) -> Head {
        let values = values.iter().map(|&it| it.to_owned()).collect();
        let (not_visible, temperature, threshold) = (false, 1.0, 0.5);
        Head { name: name.to_owned(), values, not_visible, temperature, threshold }
    }

    fn judge() -> JudgeConfig {
        let heads = vec![
            head("presence", &["nobody", "one", "more"]),
            head("role", &["doctor", "chef"]),
            head("tone", &["light", "medium light", "medium", "dark"]),
            head("hair", &["black", "red", "grey"]),
            head("glasses", &["no", "yes"]),
        ];
        let architecture = crate::Architecture::Residual;
        JudgeConfig { architecture, channels: [8; 4], heads }
    }

    fn proof(axis: &str, values: Vec<ValueDefinition>) -> AxisProof {
        AxisProof {
            axis: axis.to_owned(),
            applies_to: None,
            scope: troupe_core::axis::Scope::Image,
            stream: String::new(),
            mixed: Vec::new(),
            values,
            cells: Vec::new(),
            marginal: Vec::new(),
        }
    }

    #[track_caller]
    fn check(axis: &str, values: Vec<ValueDefinition>, meant: &[&str]) {
        let (proof, judge) = (proof(axis, values), judge());
        let reader = AxisReader::of_heads(&proof, &judge).unwrap();
        let found: Vec<&str> = reader.values.iter().map(|(_, word)| *word).collect();
        assert_eq!(found, meant);
    }

    #[track_caller]
    fn refused(axis: &str, values: Vec<ValueDefinition>, part: &str) {
        let why = AxisReader::of_heads(&proof(axis, values), &judge()).unwrap_err();
        assert!(why.contains(part), "{why}");
    }

    #[test]
    fn values_are_told_by_name_by_other_words_and_by_phrase() {
        let tones = vec![
            value("Light", "with light skin", &[]),
            value("medium light", "with medium light skin", &[]),
            value("ebony", "with ebony skin", &["dark"]),
        ];
        check("skin tone", tones, &["light", "medium light", "dark"]);
        let hair = vec![
            value("redhead", "with red hair", &[]),
            value("grey hair", "{noun} with silver hair", &[]),
        ];
        check("hair-colour", hair, &["red", "grey"]);
        let glasses = vec![value("bare", "without glasses", &[]), value("glasses", "", &[])];
        check("glasses", glasses, &["no", "yes"]);
    }

    #[test]
    fn an_axis_that_is_asked_for_has_several_values_with_words_of_their_own() {
        let read = |axis: &str, values: Vec<ValueDefinition>| {
            AxisReader::of_words(&proof(axis, values)).map(|it| it.values.len())
        };
        let two =
            || vec![value("dark", "with dark skin", &[]), value("light", "with light skin", &[])];
        assert_eq!(read("tone", two()), Ok(2));
        let same = vec![two().remove(0), value("ebony", "{noun} With dark skin!", &[])];
        let many = (0..65).map(|at| value("it", &at.to_string(), &[])).collect();
        let refusals = [("", two()), ("tone", same), ("tone", two().split_off(1)), ("tone", many)];
        for ((axis, values), part) in refusals.into_iter().zip([
            "no name",
            "`dark` and `ebony`",
            "no second",
            "has 65 values",
        ]) {
            let why = read(axis, values).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn an_axis_is_read_as_a_whole_or_not() {
        refused("role", vec![value("doctor", "doctor", &[])], "wanted one of tone, hair, glasses");
        refused("mood", vec![value("gay", "gay", &[])], "wanted one of tone, hair, glasses");
        refused("hair", vec![value("red", "", &[]), value("dark", "", &[])], "`dark` says none");
        refused("hair", vec![value("red", "", &[]), value("ginger", "red", &[])], "are both `red`");
        refused("hair", vec![value("streaky", "with red and grey hair", &[])], "says none");
    }
}
