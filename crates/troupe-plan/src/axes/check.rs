//! What is checked of one axis by itself.

use std::collections::HashMap;

use troupe_core::axis::{Axis, AxisValue};
use troupe_core::plan::ValueDefinition;

use super::{AxisProblem, CheckedAxis, Condition, LONGEST, MOST, shortened};
use crate::phrase::{SLOT, bare_phrase};
use crate::quota::Shares;
use crate::words::{key, words};

/// What messages call the nouns of those who have an axis.
const KINDS: &str = "`applies_to`";

/// Checks one axis by itself; its conditions are still to be resolved.
pub(super) fn check_values(axis: &Axis) -> Result<CheckedAxis, AxisProblem> {
    check_words("`name`", &axis.name)?;
    if let Some(kinds) = &axis.applies_to {
        match kinds.len() {
            0 => return Err(AxisProblem::NoKinds),
            found if MOST < found => {
                return Err(AxisProblem::TooMany { what: "nouns in `applies_to`", found });
            }
            _ => {}
        }
        for kind in kinds {
            check_words(KINDS, kind)?;
        }
    }
    if MOST < axis.given.len() {
        return Err(AxisProblem::TooMany { what: "conditions", found: axis.given.len() });
    }
    let mut values: Vec<ValueDefinition> = Vec::new();
    for value in list_checked("`values`", &axis.values)? {
        values.push(definition(value));
    }
    let mut lists: Vec<(String, &[AxisValue])> = Vec::new();
    for given in &axis.given {
        let list = format!("`given` {} is {}", shortened(&given.axis), shortened(&given.is));
        for value in list_checked(&list, &given.values)? {
            merge(&mut values, &list, value)?;
        }
        lists.push((list, &given.values));
    }
    if MOST < values.len() {
        return Err(AxisProblem::TooMany { what: "values", found: values.len() });
    }
    lists.push(("`values`".to_owned(), &axis.values));
    let mut shares = Vec::new();
    for (list, listed) in lists {
        let of = |value: &ValueDefinition| {
            listed.iter().find(|it| it.name == value.name).map_or(0, |it| it.share.millionths())
        };
        let all: Vec<u64> = values.iter().map(of).collect();
        shares.push(Shares::new(&all).ok_or(AxisProblem::AllZero(list))?);
    }
    for word in &axis.mixed {
        check_words("`mixed`", word)?;
    }
    Ok(CheckedAxis {
        name: axis.name.clone(),
        scope: axis.scope,
        applies_to: axis.applies_to.clone(),
        values,
        shares,
        given: Vec::new(),
        nouns: words(&axis.name),
        reduced: HashMap::new(),
        mixed: axis.mixed.iter().map(|word| key(word)).collect(),
    })
}

/// Checks one list of values by itself.
fn list_checked<'a>(list: &str, values: &'a [AxisValue]) -> Result<&'a [AxisValue], AxisProblem> {
    if values.is_empty() {
        return Err(AxisProblem::NoValues(list.to_owned()));
    }
    if MOST < values.len() {
        return Err(AxisProblem::TooMany { what: "values", found: values.len() });
    }
    for (index, value) in values.iter().enumerate() {
        check_words(&format!("a name of {list}"), &value.name)?;
        if values[..index].iter().any(|other| key(&other.name) == key(&value.name)) {
            let value = value.name.clone();
            return Err(AxisProblem::TwiceListed { list: list.to_owned(), value });
        }
        for also in &value.also {
            check_words(&format!("`also` of `{}`", value.name), also)?;
        }
        if let Some(phrase) = &value.phrase {
            check_phrase(&value.name, phrase)?;
        }
        if let Some(stature) = value.stature
            && !(0.2..=2.0).contains(&stature)
        {
            let value = value.name.clone();
            return Err(AxisProblem::Stature { value, found: stature.to_string() });
        }
    }
    Ok(values)
}

fn definition(value: &AxisValue) -> ValueDefinition {
    ValueDefinition {
        name: value.name.clone(),
        phrase: value.phrase.clone().unwrap_or_else(|| value.name.clone()),
        also: value.also.clone(),
        stature: value.stature,
    }
}

/// Takes what a condition says of a value into what is known of it.
fn merge(
    values: &mut Vec<ValueDefinition>,
    list: &str,
    value: &AxisValue,
) -> Result<(), AxisProblem> {
    let list = || list.to_owned();
    let Some(known) = values.iter_mut().find(|known| known.name == value.name) else {
        if value.phrase.is_none() {
            return Err(AxisProblem::Undescribed { list: list(), value: value.name.clone() });
        }
        values.push(definition(value));
        return Ok(());
    };
    let differs =
        |field| AxisProblem::TwiceDescribed { list: list(), value: value.name.clone(), field };
    if value.phrase.as_ref().is_some_and(|phrase| *phrase != known.phrase) {
        return Err(differs("phrase"));
    }
    if value.stature.is_some() && value.stature != known.stature {
        return Err(differs("stature"));
    }
    known.also.extend(
        value.also.iter().filter(|word| !known.also.contains(word)).cloned().collect::<Vec<_>>(),
    );
    Ok(())
}

pub(super) fn condition(
    axes: &[CheckedAxis],
    axis: &str,
    value: &str,
) -> Result<Condition, AxisProblem> {
    let at = axes
        .iter()
        .position(|other| other.name == axis)
        .ok_or_else(|| AxisProblem::UnknownAxis(shortened(axis)))?;
    let values = &axes[at].values;
    let of = values.iter().position(|known| known.name == value).ok_or_else(|| {
        let known: Vec<String> = values.iter().map(|it| format!("`{}`", it.name)).collect();
        let (axis, value) = (shortened(axis), shortened(value));
        AxisProblem::UnknownValue { axis, value, known: known.join(", ") }
    })?;
    Ok(Condition { axis: at, value: of, label: format!("{axis} is {value}") })
}

fn check_phrase(value: &str, phrase: &str) -> Result<(), AxisProblem> {
    let field = || format!("the phrase of `{value}`");
    check_words(&field(), phrase)?;
    let slots = phrase.matches(SLOT).count();
    if 1 < slots || phrase.replace(SLOT, "").contains(['{', '}']) {
        let wanted = "no braces but one `{noun}`";
        return Err(AxisProblem::Words { field: field(), wanted, found: shortened(phrase) });
    }
    check_words(&field(), &bare_phrase(phrase))
}

fn check_words(field: &str, text: &str) -> Result<(), AxisProblem> {
    let wanted = if LONGEST < text.chars().count() {
        "at most 120 characters"
    } else if text.chars().any(char::is_control) {
        "no control characters"
    } else if text.contains(['<', '>']) {
        "no `<` or `>`, which begin LoRA tags,"
    } else if words(text).is_empty() {
        "at least one word"
    } else {
        return Ok(());
    };
    Err(AxisProblem::Words { field: field.to_owned(), wanted, found: shortened(text) })
}
