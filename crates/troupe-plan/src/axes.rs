//! The axes of a configuration, checked: what a cast may rely on.

mod check;
mod meaning;

use std::collections::HashMap;

use troupe_core::axis::{Axis, Scope};
use troupe_core::plan::ValueDefinition;

use self::check::{check_values, condition};
use self::meaning::{Known, known};
pub(crate) use self::meaning::{Meaning, applies};
use crate::phrase::bare_phrase;
use crate::quota::Shares;
use crate::words::{key, words};

/// The most axes, values of one axis, and conditions of one axis.
const MOST: usize = 64;
/// The longest name or phrase, in characters.
const LONGEST: usize = 120;

/// Axes that passed every check.
#[derive(Clone, Debug)]
pub struct Axes {
    /// In the order of the configuration.
    pub(crate) list: Vec<CheckedAxis>,
    /// Invariant: a permutation of the axes in which each comes after those that its conditions name.
    pub(crate) order: Vec<usize>,
    /// The axes and values that a phrase means as it stands: at most one for each kind of people.
    known: Known,
}

/// One axis that passed every check.
#[derive(Clone, Debug)]
pub(crate) struct CheckedAxis {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    /// The nouns of those who have it, as they were written; all have it without them.
    pub(crate) applies_to: Option<Vec<String>>,
    /// Every value of the axis, those that only a condition knows last.
    pub(crate) values: Vec<ValueDefinition>,
    /// One entry for each condition, then the one where none holds; each has a share for every value.
    pub(crate) shares: Vec<Shares>,
    /// One entry for each condition.
    pub(crate) given: Vec<Condition>,
    /// The words of the axis's name.
    nouns: Vec<String>,
    /// The values by what their words are once the axis's own noun is dropped.
    reduced: HashMap<String, usize>,
    mixed: Vec<String>,
}

/// Another axis's value, and what the condition is called.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) axis: usize,
    pub(crate) value: usize,
    pub(crate) label: String,
}

/// Why axes are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("axis `{axis}`: {problem}")]
pub struct AxesError {
    /// The axis.
    pub axis: String,
    /// What is wrong with it.
    pub problem: AxisProblem,
}

/// What is wrong with an axis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AxisProblem {
    /// Too many axes, values or conditions.
    #[error("wanted at most {MOST} {what}, and there are {found}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
    },
    /// An axis that nobody has.
    #[error(
        "wanted at least one noun in `applies_to`, and there is none; without it the axis applies to all"
    )]
    NoKinds,
    /// No values.
    #[error("wanted at least one value in {0}, and there is none")]
    NoValues(String),
    /// A name that another axis has too.
    #[error("two axes have this name")]
    TwiceNamed,
    /// A name that another value of the list has too.
    #[error("two values of {list} have the name `{value}`")]
    TwiceListed {
        /// Which list.
        list: String,
        /// The name.
        value: String,
    },
    /// Shares that divide nothing.
    #[error("wanted at least one share greater than zero in {0}, and all are zero")]
    AllZero(String),
    /// A condition on an axis that isn't there.
    #[error("`given` names the axis `{0}`, which isn't declared")]
    UnknownAxis(String),
    /// A condition on a value that isn't there.
    #[error(
        "`given` names the value `{value}`, which the axis `{axis}` doesn't have; it has {known}"
    )]
    UnknownValue {
        /// The axis that the condition names.
        axis: String,
        /// The value that the condition names.
        value: String,
        /// The values of that axis.
        known: String,
    },
    /// A value that only a condition knows and that nothing says how to paint.
    #[error("the value `{value}` under {list} isn't among the axis's own values; give it a phrase")]
    Undescribed {
        /// Which list.
        list: String,
        /// The value.
        value: String,
    },
    /// Two lists that say different things of one value.
    #[error("{list} gives the value `{value}` another `{field}` than it has elsewhere")]
    TwiceDescribed {
        /// Which list.
        list: String,
        /// The value.
        value: String,
        /// The field.
        field: &'static str,
    },
    /// Conditions that wait for one another.
    #[error("`given` makes a cycle: {0}")]
    Cycle(String),
    /// Words that mean two things.
    #[error(
        "the words `{words}` mean `{value}` here, and `{other_value}` on the axis `{other_axis}`"
    )]
    KnownTwice {
        /// The words.
        words: String,
        /// The value here.
        value: String,
        /// The axis that knows them too.
        other_axis: String,
        /// What they mean there.
        other_value: String,
    },
    /// Words that a prompt can't state, or a painter can't use.
    #[error("wanted {wanted} in {field}, and it is `{found}`")]
    Words {
        /// The field.
        field: String,
        /// What was wanted.
        wanted: &'static str,
        /// What is there, shortened.
        found: String,
    },
    /// A height that nobody has.
    #[error("wanted a stature from 0.2 to 2 for `{value}`, and it is {found}")]
    Stature {
        /// The value.
        value: String,
        /// What is there.
        found: String,
    },
}

impl Axes {
    /// Checks the axes of a configuration.
    ///
    /// # Errors
    ///
    /// With the first axis that breaks a rule, and the rule.
    pub fn new(declared: &[Axis]) -> Result<Self, AxesError> {
        let fail = |axis: &Axis, problem| AxesError { axis: shortened(&axis.name), problem };
        if let Some(axis) = declared.get(MOST) {
            return Err(fail(axis, AxisProblem::TooMany { what: "axes", found: declared.len() }));
        }
        let mut axes = Vec::with_capacity(declared.len());
        for (index, axis) in declared.iter().enumerate() {
            if declared[..index].iter().any(|other| key(&other.name) == key(&axis.name)) {
                return Err(fail(axis, AxisProblem::TwiceNamed));
            }
            axes.push(check_values(axis).map_err(|problem| fail(axis, problem))?);
        }
        for (index, axis) in declared.iter().enumerate() {
            for given in &axis.given {
                let condition = condition(&axes, &given.axis, &given.is)
                    .map_err(|problem| fail(axis, problem))?;
                axes[index].given.push(condition);
            }
        }
        let order = order(&axes)?;
        let known = known(&mut axes)?;
        Ok(Self { list: axes, order, known })
    }

    /// The names of the axes, in the order of the configuration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|axis| axis.name.as_str())
    }
}

/// An order in which each axis comes after those that its conditions name, else as declared.
fn order(axes: &[CheckedAxis]) -> Result<Vec<usize>, AxesError> {
    let mut order: Vec<usize> = Vec::with_capacity(axes.len());
    let waits_for = |axis: usize, order: &[usize]| {
        axes[axis].given.iter().map(|it| it.axis).find(|other| !order.contains(other))
    };
    while order.len() < axes.len() {
        let open = || (0..axes.len()).filter(|axis| !order.contains(axis));
        if let Some(ready) = open().find(|&axis| waits_for(axis, &order).is_none()) {
            order.push(ready);
            continue;
        }
        // Each open axis waits for another open one, so following them comes back to one already seen.
        let mut path: Vec<usize> = open().take(1).collect();
        while let Some(next) = path.last().and_then(|&axis| waits_for(axis, &order)) {
            let seen = path.iter().position(|&axis| axis == next);
            path.push(next);
            if let Some(start) = seen {
                path.drain(..start);
                break;
            }
        }
        let names: Vec<String> =
            path.iter().map(|&axis| format!("`{}`", axes[axis].name)).collect();
        let axis = path.first().map_or_else(String::new, |&axis| axes[axis].name.clone());
        return Err(AxesError { axis, problem: AxisProblem::Cycle(names.join(" needs ")) });
    }
    Ok(order)
}

/// The texts by which a prompt may state a value.
pub(crate) fn stating(value: &ValueDefinition) -> Vec<String> {
    let mut texts = vec![value.name.clone()];
    texts.extend(value.also.iter().cloned());
    texts.push(bare_phrase(&value.phrase));
    texts.retain(|text| !words(text).is_empty());
    texts
}

/// A text as it may stand in a message.
pub(crate) fn shortened(text: &str) -> String {
    let mut short: String =
        text.chars().take(60).map(|it| if it.is_control() { ' ' } else { it }).collect();
    if 60 < text.chars().count() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use troupe_core::axis::{AxisValue, Given};
    use troupe_core::share::Share;

    use super::*;

    fn value(text: &str) -> AxisValue {
        let (name, phrase) =
            text.split_once('=').map_or((text, None), |(name, it)| (name, Some(it)));
        AxisValue {
            name: name.to_owned(),
            share: Share::try_from(1.0).unwrap(),
            phrase: phrase.map(str::to_owned),
            also: Vec::new(),
            stature: None,
        }
    }

    fn axis(name: &str, values: &[&str]) -> Axis {
        let values = values.iter().map(|text| value(text)).collect();
        Axis {
            name: name.to_owned(),
            applies_to: None,
            values,
            scope: Scope::Batch,
            given: Vec::new(),
            mixed: Vec::new(),
        }
    }

    fn given(mut of: Axis, axis: &str, is: &str, values: &[&str]) -> Axis {
        let values = values.iter().map(|text| value(text)).collect();
        of.given.push(Given { axis: axis.to_owned(), is: is.to_owned(), values });
        of
    }

    #[track_caller]
    fn refused(axes: &[Axis], axis: &str, part: &str) {
        let error = Axes::new(axes).unwrap_err();
        assert_eq!(error.axis, axis, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }

    #[test]
    fn nonsense_is_refused_with_the_axis() {
        refused(&[axis("age", &["old"]), axis("Age", &["x"])], "Age", "two axes");
        refused(&[axis("age", &[])], "age", "at least one value");
        refused(&[axis("age", &["old", "Old"])], "age", "`Old`");
        refused(&[axis("age", &["old=<lora:x:1>"])], "age", "LoRA");
        refused(&[axis("age", &["old={noun} {noun}"])], "age", "braces");
        refused(&[axis("age", &["old={x}"])], "age", "braces");
        refused(&[axis("age", &["old={noun}"])], "age", "at least one word");
        refused(&[axis("age", &["o\u{7}ld"])], "age", "control");
        let mut zero = axis("age", &["old", "young"]);
        zero.values.iter_mut().for_each(|it| it.share = Share::try_from(0.0).unwrap());
        refused(&[zero], "age", "all are zero");
        for stature in [0.1, 2.1, f64::NAN] {
            let mut tall = axis("age", &["old"]);
            tall.values[0].stature = Some(stature);
            refused(&[tall], "age", "0.2 to 2");
        }
    }

    #[test]
    fn conditions_name_what_is_there() {
        let hair = || axis("hair", &["red", "grey"]);
        let age = || axis("age", &["old", "young"]);
        let with = |axis: &str, is: &str, values: &[&str]| [given(hair(), axis, is, values), age()];
        assert!(Axes::new(&with("age", "old", &["grey", "bald=a bald head"])).is_ok());
        refused(&with("size", "old", &["grey"]), "hair", "`size`");
        refused(&with("age", "middle", &["grey"]), "hair", "it has `old`, `young`");
        refused(&with("age", "old", &["bald"]), "hair", "give it a phrase");
        refused(&with("age", "old", &["grey=silver hair"]), "hair", "another `phrase`");
        refused(&[given(hair(), "hair", "red", &["grey"])], "hair", "`hair` needs `hair`");
    }

    #[test]
    fn a_cycle_is_named() {
        let axes = [
            given(axis("s", &["s1"]), "p", "p1", &["s1"]),
            given(axis("p", &["p1"]), "q", "q1", &["p1"]),
            given(axis("q", &["q1"]), "r", "r1", &["q1"]),
            given(axis("r", &["r1"]), "p", "p1", &["r1"]),
        ];
        refused(&axes, "p", "`p` needs `q` needs `r` needs `p`");
    }

    #[test]
    fn words_mean_one_thing() {
        let brown = [axis("skin", &["brown"]), axis("hair", &["Brown"])];
        refused(&brown, "hair", "`brown` on the axis `skin`");
        refused(&[axis("skin", &["tan", "tan-skinned"])], "skin", "`tan`");
        let mut mixed = axis("skin", &["tan"]);
        mixed.mixed = vec!["Tan".to_owned()];
        refused(&[mixed], "skin", "a mixture");
        let axes =
            Axes::new(&[axis("skin", &["brown"]), axis("hair", &["brown hair", "red hair"])])
                .unwrap();
        let meaning = |phrase: &str| axes.meaning(phrase, &[true; 2]);
        assert_eq!(meaning("brown"), Meaning::Value(0, 0));
        assert_eq!(meaning("brown-haired"), Meaning::Value(1, 0));
        assert_eq!(meaning("red"), Meaning::Value(1, 1));
        assert_eq!(meaning("red coat"), Meaning::Unknown);
        let two = Axes::new(&[axis("hair", &["red hair"]), axis("beard", &["red beard"])]).unwrap();
        assert_eq!(two.meaning("red", &[true; 2]), Meaning::Ambiguous(vec![0, 1]));
        // Of people who have one of them it means that one, and of people who have none it stays text.
        assert_eq!(two.meaning("red", &[false, true]), Meaning::Value(1, 0));
        assert_eq!(two.meaning("red", &[false; 2]), Meaning::Elsewhere(vec![0, 1]));
        assert_eq!(two.meaning("red hair", &[false; 2]), Meaning::Elsewhere(vec![0]));
        assert_eq!(two.meaning("blue", &[false; 2]), Meaning::Unknown);
    }

    fn of(mut axis: Axis, kinds: &[&str]) -> Axis {
        axis.applies_to = Some(kinds.iter().map(|&it| it.to_owned()).collect());
        axis
    }

    #[test]
    fn kinds_are_nouns() {
        let age = || axis("age", &["old"]);
        refused(&[of(age(), &[])], "age", "at least one noun in `applies_to`");
        refused(&[of(age(), &["nurse", "!"])], "age", "at least one word in `applies_to`");
        refused(&[of(age(), &["<lora:x:1>"])], "age", "LoRA");
        refused(&[of(age(), &["nurse"; 65])], "age", "at most 64 nouns in `applies_to`");
        let axes = Axes::new(&[of(age(), &["Nurses", "police officer"]), axis("x", &["y"])]);
        let axes = axes.unwrap();
        for (noun, has) in [("nurse", true), ("head nurse", true), ("officer", false)] {
            assert_eq!(axes.applies(0, noun), has, "{noun}");
            assert!(axes.applies(1, noun), "{noun}");
        }
    }

    #[test]
    fn axes_of_other_kinds_may_know_the_same_words() {
        let age = |name: &str| axis(name, &["old=old {noun}"]);
        let axes = Axes::new(&[of(age("x"), &["nurse"]), of(age("b"), &["patient"])]).unwrap();
        assert_eq!(axes.meaning("old", &[true, false]), Meaning::Value(0, 0));
        assert_eq!(axes.meaning("old", &[false, true]), Meaning::Value(1, 0));
        assert_eq!(axes.meanings_of_noun("old nurse", &[true, false]), (vec![(0, 0)], vec![]));
        assert_eq!(axes.meanings_of_noun("old chef", &[false, false]), (vec![], vec![0, 1]));
        // A head nurse would have both.
        let clash = [of(age("x"), &["nurse"]), of(age("b"), &["patient", "head nurse"])];
        refused(&clash, "b", "`old` on the axis `x`");
        refused(&[age("x"), of(age("b"), &["nurse"])], "b", "`old` on the axis `x`");
        let mut mixed = of(axis("c", &["young"]), &["patient"]);
        mixed.mixed = vec!["old".to_owned()];
        assert!(Axes::new(&[of(age("x"), &["nurse"]), mixed.clone()]).is_ok());
        refused(&[of(age("x"), &["nurse", "patient"]), mixed], "c", "a mixture");
    }
}
