//! The layers of a configuration, one over the other, and where each key was set.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use troupe_plan::axes::Axes;

use super::keys::{Key, ROOT, Takes};
use super::nearest;
use super::walk::{self, Place, Problem};
use super::{Config, ConfigError, ConfigProblem, LONGEST, Origin};

/// A key that a variable or a flag sets, and its value.
struct Setting<'a> {
    origin: Origin,
    path: Vec<&'static str>,
    takes: Takes,
    value: &'a str,
}

pub(super) fn load(
    text: Option<(&str, &str)>,
    environment: &[(String, String)],
    overrides: &[(String, String)],
) -> Result<Config, ConfigError> {
    let (name, text) = text.unwrap_or(("defaults", ""));
    let at = |span: Range<usize>| position(name, text, span.start);
    if LONGEST < text.len() {
        return Err(ConfigError { origin: at(0..0), problem: ConfigProblem::TooLong(text.len()) });
    }
    let file = DeTable::parse(text).map_err(|error| ConfigError {
        origin: at(error.span().unwrap_or(0..0)),
        problem: ConfigProblem::Syntax(error.message().replace('\n', ", ")),
    })?;
    let mut merged = file.clone();
    walk::table(&mut Vec::new(), file.get_ref(), file.span(), keys_of(ROOT))
        .map_err(|Problem { span, problem }| ConfigError { origin: at(span), problem })?;

    let mut settings = Vec::new();
    for (name, value) in environment {
        settings.extend(variable(name, value)?);
    }
    for (key, value) in overrides {
        settings.push(flag(key, value)?);
    }
    for setting in &settings {
        let value = read(setting)?;
        merge(merged.get_mut(), &setting.path, value);
    }

    // Whatever set a key last has to answer for it.
    let blame = |place: &Place<'_>, problem: ConfigProblem| {
        let setting = settings.iter().rev().find(|setting| {
            let both = setting.path.iter().zip(place.keys);
            both.clone().all(|(set, key)| set == key)
        });
        let origin = setting
            .map_or_else(|| at(walk::span_of(&file, place)), |setting| setting.origin.clone());
        ConfigError { origin, problem }
    };
    let config = Config::deserialize(toml::de::Deserializer::from(merged)).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let problem = ConfigProblem::Refused(error.message().to_owned());
        match settings.last() {
            Some(setting) => ConfigError { origin: setting.origin.clone(), problem },
            None => ConfigError { origin: at(span), problem },
        }
    })?;
    let subjects = config.plan.subjects;
    if subjects.max < subjects.min {
        let problem = ConfigProblem::Value {
            key: "plan.subjects".to_owned(),
            wanted: "`min` not above `max`".to_owned(),
            found: format!("{} to {}", subjects.min, subjects.max),
        };
        return Err(blame(&Place { keys: &["plan", "subjects"], axis: None }, problem));
    }
    if let Err(error) = Axes::new(&config.plan.axes) {
        let place = Place { keys: &["plan", "axes"], axis: Some(&error) };
        return Err(blame(&place, ConfigProblem::Refused(error.to_string())));
    }
    Ok(config)
}

/// The keys of a table; of anything else, none.
fn keys_of(takes: Takes) -> &'static [Key] {
    if let Takes::Table(keys) = takes { keys } else { &[] }
}

/// What a variable sets, or `None` where it isn't of the configuration.
fn variable<'a>(name: &str, value: &'a str) -> Result<Option<Setting<'a>>, ConfigError> {
    let Some(rest) = name.strip_prefix("TROUPE_") else { return Ok(None) };
    let all = every_key();
    let spelled = |path: &[&str]| path.join("_").to_uppercase();
    let origin = Origin::Variable(walk::shortened(name));
    if let Some((path, takes)) = all.iter().find(|(path, _)| spelled(path) == rest) {
        return Ok(Some(Setting { origin, path: path.clone(), takes: *takes, value }));
    }
    let table = rest.split('_').next().unwrap_or_default().to_lowercase();
    let tables = keys_of(ROOT).iter().map(|key| key.name);
    if !tables.clone().any(|known| nearest::distance(&table, known) <= 2) {
        return Ok(None);
    }
    let names: Vec<String> =
        all.iter().map(|(path, _)| format!("TROUPE_{}", spelled(path))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Err(ConfigError { origin, problem: walk::unknown(name, &names) })
}

fn flag<'a>(key: &str, value: &'a str) -> Result<Setting<'a>, ConfigError> {
    let origin = Origin::Flag(walk::shortened(key));
    let all = every_key();
    if let Some((path, takes)) = all.iter().find(|(path, _)| path.join(".") == key) {
        return Ok(Setting { origin, path: path.clone(), takes: *takes, value });
    }
    let names: Vec<String> = all.iter().map(|(path, _)| path.join(".")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Err(ConfigError { origin, problem: walk::unknown(key, &names) })
}

/// Every key that isn't in a list, tables before what is in them, and what it takes.
fn every_key() -> Vec<(Vec<&'static str>, Takes)> {
    let mut all: Vec<(Vec<&'static str>, Takes)> = Vec::new();
    let mut open: Vec<(Vec<&'static str>, Takes)> = vec![(Vec::new(), ROOT)];
    while let Some((path, takes)) = open.pop() {
        for key in keys_of(takes).iter().rev() {
            let mut below = path.clone();
            below.push(key.name);
            open.push((below, key.takes));
        }
        if !path.is_empty() {
            all.push((path, takes));
        }
    }
    all
}

/// The value of a setting, checked.
fn read<'a>(setting: &Setting<'a>) -> Result<DeValue<'a>, ConfigError> {
    let fail = |problem| ConfigError { origin: setting.origin.clone(), problem };
    if LONGEST < setting.value.len() {
        return Err(fail(ConfigProblem::TooLong(setting.value.len())));
    }
    let words = || Spanned::new(0..0, DeValue::String(Cow::Borrowed(setting.value)));
    let value = match setting.takes {
        Takes::Text | Takes::Word(_) | Takes::Sampler => words(),
        Takes::Table(_)
        | Takes::List(_)
        | Takes::Whole(..)
        | Takes::Number(..)
        | Takes::Parts(..)
        | Takes::Ramp(..)
        | Takes::Share
        | Takes::Tile
        | Takes::Canvas => DeValue::parse(setting.value.trim()).unwrap_or_else(|_| words()),
    };
    let mut path: Vec<String> = setting.path.iter().map(|&key| key.to_owned()).collect();
    walk::value(&mut path, &value, setting.takes)
        .map_err(|Problem { problem, .. }| fail(problem))?;
    Ok(value.into_inner())
}

/// Puts a value at a path; a table keeps the keys that the value doesn't have.
fn merge<'a>(table: &mut DeTable<'a>, path: &[&'static str], value: DeValue<'a>) {
    let Some((&first, rest)) = path.split_first() else { return };
    let empty = || Spanned::new(0..0, DeValue::Table(DeTable::new()));
    let key = Spanned::new(0..0, Cow::Borrowed(first));
    if rest.is_empty() {
        match (table.entry(key).or_insert_with(empty).get_mut(), value) {
            (DeValue::Table(old), DeValue::Table(new)) => old.extend(new),
            (old, new) => *old = new,
        }
    } else if let DeValue::Table(below) = table.entry(key).or_insert_with(empty).get_mut() {
        merge(below, rest, value);
    }
}

/// Where a byte of a text is, for people.
fn position(name: &str, text: &str, byte: usize) -> Origin {
    let before = text.get(..byte.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before[start..].trim_start_matches('\u{feff}').chars().count() + 1;
    Origin::File { name: name.to_owned(), line, column }
}
