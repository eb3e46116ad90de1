//! What a prompt states: which value of which axis a phrase or a noun means.

use std::collections::HashMap;

use super::{Axes, AxesError, AxisProblem, CheckedAxis, shortened, stating};
use crate::phrase::SLOT;
use crate::words::{is_one_of, key, key_without, words};

/// What a stated phrase means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// This value of this axis.
    Value(usize, usize),
    /// Variety on these axes.
    Mixed(Vec<usize>),
    /// A value of each of these axes, and nothing says which.
    Ambiguous(Vec<usize>),
    /// Something that these axes know, none of which people of this kind have.
    Elsewhere(Vec<usize>),
    /// Nothing that an axis knows.
    Unknown,
}

/// What phrases mean as they stand.
pub(super) type Known = HashMap<String, Vec<(usize, usize)>>;

impl Axes {
    /// Whether people who are called so have an axis.
    pub(crate) fn applies(&self, axis: usize, noun: &str) -> bool {
        applies(self.list[axis].applies_to.as_deref(), noun)
    }

    /// What a phrase means that is stated of people who have the axes of which `has` is true; it has to be known as a
    /// whole.
    pub(crate) fn meaning(&self, phrase: &str, has: &[bool]) -> Meaning {
        let whole = key(phrase);
        let known = self.known.get(&whole).map(Vec::as_slice).unwrap_or_default();
        if let Some(&(axis, value)) = known.iter().find(|(axis, _)| has[*axis]) {
            return Meaning::Value(axis, value);
        }
        let asking = self.indices(|axis| axis.mixed.contains(&whole));
        let mixed: Vec<usize> = asking.iter().copied().filter(|&axis| has[axis]).collect();
        if !mixed.is_empty() {
            return Meaning::Mixed(mixed);
        }
        let reduced: Vec<(usize, usize)> = self
            .list
            .iter()
            .enumerate()
            .filter_map(|(index, axis)| {
                let reduced = key_without(phrase, &axis.nouns)?;
                axis.reduced.get(&reduced).map(|&value| (index, value))
            })
            .collect();
        let here: Vec<&(usize, usize)> = reduced.iter().filter(|(axis, _)| has[*axis]).collect();
        if let &[&(axis, value)] = here.as_slice() {
            return Meaning::Value(axis, value);
        }
        if !here.is_empty() {
            return Meaning::Ambiguous(here.iter().map(|(axis, _)| *axis).collect());
        }
        let mut elsewhere: Vec<usize> =
            known.iter().chain(&reduced).map(|&(axis, _)| axis).chain(asking).collect();
        elsewhere.sort_unstable();
        elsewhere.dedup();
        if elsewhere.is_empty() { Meaning::Unknown } else { Meaning::Elsewhere(elsewhere) }
    }

    /// What a noun states by itself, "woman" as a whole or in "woman firefighter", where people who are called so have
    /// the axes of which `has` is true; then the axes that would know it and that they don't have.
    pub(crate) fn meanings_of_noun(
        &self,
        noun: &str,
        has: &[bool],
    ) -> (Vec<(usize, usize)>, Vec<usize>) {
        let (mut found, mut elsewhere) = (Vec::new(), Vec::new());
        match self.meaning(noun, has) {
            Meaning::Value(axis, value) => found.push((axis, value)),
            Meaning::Elsewhere(axes) => elsewhere = axes,
            Meaning::Mixed(_) | Meaning::Ambiguous(_) | Meaning::Unknown => {}
        }
        for word in words(noun) {
            let known = self.known.get(&word).map(Vec::as_slice).unwrap_or_default();
            let wraps = |&&(axis, value): &&(usize, usize)| {
                self.list[axis].values[value].phrase.contains(SLOT)
            };
            let known: Vec<(usize, usize)> = known.iter().filter(wraps).copied().collect();
            match known.iter().find(|(axis, _)| has[*axis]) {
                Some(&(axis, value)) if found.iter().all(|&(other, _)| other != axis) => {
                    found.push((axis, value));
                }
                Some(_) => {}
                None => elsewhere.extend(known.iter().map(|(axis, _)| axis)),
            }
        }
        elsewhere.sort_unstable();
        elsewhere.dedup();
        (found, elsewhere)
    }

    fn indices(&self, wanted: impl Fn(&CheckedAxis) -> bool) -> Vec<usize> {
        self.list
            .iter()
            .enumerate()
            .filter(|(_, axis)| wanted(axis))
            .map(|(index, _)| index)
            .collect()
    }
}

/// Whether people who are called so have an axis of the kinds that these nouns name.
pub(crate) fn applies(applies_to: Option<&[String]>, noun: &str) -> bool {
    applies_to.is_none_or(|kinds| {
        let kinds: Vec<Vec<String>> = kinds.iter().map(|it| words(it)).collect();
        is_one_of(&words(noun), &kinds)
    })
}

/// Everything that a prompt may state, and what it means: of each kind of people one thing.
pub(super) fn known(axes: &mut [CheckedAxis]) -> Result<Known, AxesError> {
    let mut known: Known = HashMap::new();
    let twice = |axes: &[CheckedAxis],
                 words: &str,
                 (axis, value): (usize, String),
                 other: (usize, usize)| {
        let problem = AxisProblem::KnownTwice {
            words: shortened(words),
            value,
            other_axis: axes[other.0].name.clone(),
            other_value: axes[other.0].values[other.1].name.clone(),
        };
        AxesError { axis: axes[axis].name.clone(), problem }
    };
    for axis in 0..axes.len() {
        for value in 0..axes[axis].values.len() {
            for text in stating(&axes[axis].values[value]) {
                let name = || axes[axis].values[value].name.clone();
                let meanings = known.entry(key(&text)).or_default();
                let clash = meanings.iter().find(|&&it| {
                    it != (axis, value) && (it.0 == axis || !are_apart(&axes[it.0], &axes[axis]))
                });
                if let Some(&other) = clash {
                    return Err(twice(axes, &text, (axis, name()), other));
                }
                if !meanings.contains(&(axis, value)) {
                    meanings.push((axis, value));
                }
                let Some(reduced) = key_without(&text, &axes[axis].nouns) else { continue };
                let name = name();
                let other = *axes[axis].reduced.entry(reduced).or_insert(value);
                if other != value {
                    return Err(twice(axes, &text, (axis, name), (axis, other)));
                }
            }
        }
    }
    for axis in 0..axes.len() {
        for word in &axes[axis].mixed {
            let on_axis = axes[axis].reduced.get(word).map(|&value| (axis, value));
            let known = known.get(word).map(Vec::as_slice).unwrap_or_default();
            let clash = known.iter().find(|it| !are_apart(&axes[it.0], &axes[axis]));
            if let Some(other) = clash.copied().or(on_axis) {
                return Err(twice(axes, word, (axis, "a mixture".to_owned()), other));
            }
        }
    }
    Ok(known)
}

/// Whether nobody can have both axes. Nouns are known by their last words, so a noun that two lists mean ends with one
/// of each, and the longer of these ends with the shorter.
fn are_apart(one: &CheckedAxis, other: &CheckedAxis) -> bool {
    let (Some(one), Some(other)) = (&one.applies_to, &other.applies_to) else { return false };
    let meets = |noun: &String, list: &[String]| applies(Some(list), noun);
    !one.iter().any(|noun| meets(noun, other)) && !other.iter().any(|noun| meets(noun, one))
}
