//! What is written, held against what its key takes.

use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};
use troupe_core::layout::Canvas;
use troupe_core::share::Share;
use troupe_models::lora::{PARTS, is_part};
use troupe_plan::axes::{AxesError, AxisProblem};
use troupe_sampler::Method;

use super::ConfigProblem;
use super::keys::{Key, SIZE, TILES, Takes, is_tile};
use super::nearest::nearest;

/// What is wrong, and which bytes of the text.
pub(super) struct Problem {
    pub(super) span: Range<usize>,
    pub(super) problem: ConfigProblem,
}

/// Something that is wrong only together with something else.
pub(super) struct Place<'a> {
    /// The keys from the root.
    pub(super) keys: &'a [&'static str],
    /// Which axis of the list, and what in it.
    pub(super) axis: Option<&'a AxesError>,
}

/// Checks a table; `path` leads to it.
pub(super) fn table(
    path: &mut Vec<String>,
    table: &DeTable<'_>,
    span: Range<usize>,
    keys: &[Key],
) -> Result<(), Problem> {
    for (name, found) in table {
        let Some(key) = keys.iter().find(|key| key.name == name.get_ref()) else {
            let problem =
                unknown(name.get_ref(), &keys.iter().map(|key| key.name).collect::<Vec<_>>());
            return Err(Problem { span: name.span(), problem });
        };
        path.push(key.name.to_owned());
        value(path, found, key.takes)?;
        path.pop();
    }
    for key in keys {
        if key.required && !table.contains_key(key.name) {
            let problem =
                ConfigProblem::Missing { key: key.name, table: format!("`{}`", path.join(".")) };
            return Err(Problem { span, problem });
        }
    }
    Ok(())
}

/// Checks a value; `path` leads to it.
pub(super) fn value(
    path: &mut Vec<String>,
    found: &Spanned<DeValue<'_>>,
    takes: Takes,
) -> Result<(), Problem> {
    let span = || found.span();
    let refused = |path: &[String], message: String| {
        let problem = ConfigProblem::Refused(format!("`{}`: {message}", path.join(".")));
        Err(Problem { span: span(), problem })
    };
    let wrong = |path: &[String]| {
        let (key, wanted) = (path.join("."), wanted(takes));
        let problem = ConfigProblem::Value { key, wanted, found: shown(found.get_ref()) };
        Err(Problem { span: span(), problem })
    };
    match (takes, found.get_ref()) {
        (Takes::Table(keys), DeValue::Table(below)) => table(path, below, span(), keys),
        (Takes::List(of), DeValue::Array(list)) => {
            for (index, entry) in list.iter().enumerate() {
                if let Some(last) = path.last_mut() {
                    *last = format!("{}[{index}]", last.split('[').next().unwrap_or_default());
                }
                value(path, entry, *of)?;
            }
            Ok(())
        }
        (Takes::Text, DeValue::String(_)) => Ok(()),
        (Takes::Word(words), DeValue::String(word)) if words.contains(&word.as_ref()) => Ok(()),
        (Takes::Whole(least, most), DeValue::Integer(number)) => match whole(number) {
            Some(number) if least <= number && number <= most => Ok(()),
            Some(_) | None => wrong(path),
        },
        (Takes::Tile, DeValue::Integer(number)) if whole(number).is_some_and(is_tile) => Ok(()),
        (Takes::Number(least, most), number) => match float(number) {
            Some(number) if least <= number && number <= most => Ok(()),
            Some(_) | None => wrong(path),
        },
        (Takes::Ramp(least, most), DeValue::Table(below)) => {
            let keys = ["from", "to"].map(|name| Key {
                name,
                takes: Takes::Number(least, most),
                required: true,
            });
            table(path, below, span(), &keys)
        }
        (Takes::Ramp(least, most), number) => match float(number) {
            Some(number) if least <= number && number <= most => Ok(()),
            Some(_) | None => wrong(path),
        },
        (Takes::Parts(least, most), DeValue::Table(parts)) => {
            for (name, found) in parts {
                if !is_part(name.get_ref()) {
                    let problem = unknown(name.get_ref(), &PARTS);
                    return Err(Problem { span: name.span(), problem });
                }
                path.push(shortened(name.get_ref()));
                if found.get_ref().is_table() {
                    let quotes = "wanted a number; a name with dots in it stands in quotes";
                    let problem = format!("`{}`: {quotes}", path.join("."));
                    let problem = ConfigProblem::Refused(problem);
                    return Err(Problem { span: found.span(), problem });
                }
                value(path, found, Takes::Number(least, most))?;
                path.pop();
            }
            Ok(())
        }
        (Takes::Share, number) => match float(number).map(Share::try_from) {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => refused(path, error.to_string()),
            None => wrong(path),
        },
        (Takes::Sampler, DeValue::String(name)) => match Method::from_str(name) {
            Ok(_) => Ok(()),
            Err(error) => refused(path, error.to_string()),
        },
        (Takes::Canvas, DeValue::String(word)) if word == "auto" => Ok(()),
        (Takes::Canvas, DeValue::Table(_)) => {
            value(path, found, SIZE)?;
            match canvas(found.get_ref()) {
                Some(Err(message)) => refused(path, message),
                Some(Ok(_)) | None => Ok(()),
            }
        }
        (
            Takes::Table(_)
            | Takes::List(_)
            | Takes::Text
            | Takes::Word(_)
            | Takes::Whole(..)
            | Takes::Parts(..)
            | Takes::Tile
            | Takes::Sampler
            | Takes::Canvas,
            _,
        ) => wrong(path),
    }
}

/// A key that isn't there, and the nearest that is.
pub(super) fn unknown(key: &str, known: &[&str]) -> ConfigProblem {
    let key = shortened(key);
    let nearest = nearest(&key, known.iter().copied()).to_owned();
    ConfigProblem::UnknownKey { key, nearest, known: known.join(", ") }
}

/// A text as it may stand in a message.
pub(super) fn shortened(text: &str) -> String {
    let clean = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut short: String = text.chars().take(60).map(clean).collect();
    if 60 < text.chars().count() {
        short.push('…');
    }
    short
}

/// The bytes in which a place is, or as much of the way as there is.
pub(super) fn span_of(root: &Spanned<DeTable<'_>>, place: &Place<'_>) -> Range<usize> {
    let mut span = 0..0;
    let mut table = Some(root.get_ref());
    let mut found = None;
    for key in place.keys {
        found = table.and_then(|table| table.get(*key));
        let Some(value) = found else { return span };
        span = value.span();
        table = value.get_ref().as_table();
    }
    let axis = found.zip(place.axis).and_then(|(axes, error)| axis_span(axes.get_ref(), error));
    axis.unwrap_or(span)
}

/// Where in the list of axes the problem of one is.
fn axis_span(axes: &DeValue<'_>, error: &AxesError) -> Option<Range<usize>> {
    let named = |value: &&Spanned<DeValue<'_>>, name: &str| {
        let found = value.get_ref().get("name").and_then(|name| name.get_ref().as_str());
        found.is_some_and(|found| shortened(found) == shortened(name))
    };
    let mut with_name = axes.as_array()?.iter().filter(|axis| named(axis, &error.axis));
    let axis = if error.problem == AxisProblem::TwiceNamed {
        with_name.next_back()?
    } else {
        with_name.next()?
    };
    let field = |name| axis.get_ref().get(name);
    let value = |name: &str| {
        let values = field("values")?.get_ref().as_array()?;
        values.iter().rfind(|value| named(value, name))
    };
    let kinds = "`applies_to`";
    let of_kinds = matches!(&error.problem, AxisProblem::NoKinds)
        || matches!(&error.problem, AxisProblem::Words { field, .. } if field == kinds)
        || matches!(&error.problem, AxisProblem::TooMany { what, .. } if what.ends_with(kinds));
    let part = if of_kinds {
        field("applies_to")
    } else if let AxisProblem::AllZero(list) | AxisProblem::NoValues(list) = &error.problem {
        if list == "`values`" { field("values") } else { field("given") }
    } else if let AxisProblem::TwiceListed { value: name, .. }
    | AxisProblem::KnownTwice { value: name, .. } = &error.problem
    {
        value(name)
    } else if let AxisProblem::UnknownAxis(_)
    | AxisProblem::UnknownValue { .. }
    | AxisProblem::Undescribed { .. }
    | AxisProblem::TwiceDescribed { .. }
    | AxisProblem::Cycle(_) = &error.problem
    {
        field("given")
    } else {
        None
    };
    Some(part.or_else(|| field("name")).unwrap_or(axis).span())
}

/// What a key takes, in words.
fn wanted(takes: Takes) -> String {
    match takes {
        Takes::Table(keys) => {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            format!("a table of {}", names.join(", "))
        }
        Takes::List(Takes::Table(_)) => "a list of tables".to_owned(),
        Takes::List(_) => "a list of texts".to_owned(),
        Takes::Text => "a text in quotes".to_owned(),
        Takes::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            words.join(" or ")
        }
        Takes::Whole(least, most) => format!("a whole number from {least} to {most}"),
        Takes::Tile => TILES.to_owned(),
        Takes::Number(least, most) => format!("a number from {least} to {most}"),
        Takes::Ramp(least, most) => {
            format!("a number from {least} to {most}, or {{ from, to }} with two of them")
        }
        Takes::Parts(least, most) => {
            format!("a table of parts of the model with numbers from {least} to {most}")
        }
        Takes::Share => "a number".to_owned(),
        Takes::Sampler => "the name of a sampler in quotes".to_owned(),
        Takes::Canvas => "\"auto\" or { width, height }".to_owned(),
    }
}

/// What is there, in words.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{}\"", shortened(text)),
        DeValue::Integer(number) => shortened(&number.to_string()),
        DeValue::Float(number) => shortened(number.as_str()),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date or a time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn whole(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A number that is finite.
fn float(value: &DeValue<'_>) -> Option<f64> {
    let number: f64 = match value {
        // A whole number beyond what TOML has isn't read as one later either.
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            number.to_string().parse().ok()?
        }
        DeValue::Float(number) => number.as_str().parse().ok()?,
        DeValue::String(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => return None,
    };
    number.is_finite().then_some(number)
}

/// The canvas of a table of two sides that are in range.
fn canvas(size: &DeValue<'_>) -> Option<Result<Canvas, String>> {
    let side = |name| {
        let side = whole(size.get(name)?.get_ref().as_integer()?)?;
        u32::try_from(side).ok()
    };
    let canvas = Canvas::new(side("width")?, side("height")?);
    Some(canvas.map_err(|error| error.to_string()))
}
