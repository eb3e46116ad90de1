//! The starter planner on the two hundred prompts of `tests/prompts/held_out.json`, part by part.
//!
//! With `--nocapture` it prints every failure and the shares; `models/starter/train/planner/evaluate.py` does so for any file.

#![expect(clippy::unwrap_used, reason = "a test may fail where its own files do")]
#![expect(clippy::print_stdout, reason = "the report is what `--nocapture` is for")]

#[expect(dead_code, reason = "other tests need more of it")]
mod support;

use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use troupe_pipeline::config::Config;
use troupe_pipeline::manifest::Manifest;
use troupe_pipeline::plan::Reader;
use troupe_pipeline::{ChildLog, ChildProgram, Progress, Studio, Talk};

use self::support::{read_json, repository};

/// Of the two hundred prompts, in how many each part of the brief must be right.
///
/// What the shipped planner reaches, less two: another processor adds up in another order.
const FLOORS: [(&str, usize); 7] = [
    ("number", 192),
    ("noun", 175),
    ("stated", 174),
    ("activity", 191),
    ("clothing", 192),
    ("setting", 181),
    ("style", 190),
];

struct Silent;

impl Talk for Silent {
    fn note(&mut self, _: &str) {}

    fn progress(&mut self, _: Progress) {}

    fn stopped(&self) -> bool {
        false
    }
}

/// As briefs are compared: without capitals, more than one space, and an article before a value.
fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let text = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
            let bare = ["a ", "an ", "the "].iter().find_map(|it| text.strip_prefix(it));
            Value::from(bare.unwrap_or(&text))
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), plain(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// What a brief says of one part; of people, a list with an entry for each kind.
fn part(brief: &Value, name: &str) -> Value {
    if let Some(value) = brief.get(name) {
        return plain(value);
    }
    let kinds = brief["people"].as_array().unwrap().iter().map(|it| plain(&it[name]));
    // Kinds that are missing or too many are the count's and the nouns' business.
    kinds.filter(|it| name != "stated" || *it != json!([])).collect()
}

fn says(value: &Value) -> bool {
    value.as_array().map_or(value != "", |kinds| !kinds.is_empty())
}

#[test]
fn every_part_of_the_brief_is_right_as_often_as_the_readme_says() {
    let child = ChildProgram {
        program: PathBuf::from(env!("CARGO_BIN_EXE_troupe")),
        arguments: vec![OsString::from("llm-serve")],
        log: ChildLog::Quoted,
        stop: None,
    };
    let manifest = Manifest::open(&repository().join("models")).unwrap();
    let studio = Studio::new(Config::default(), manifest, child).unwrap();
    let mut reader = Reader::start(&studio).unwrap();
    let entries = read_json(&repository().join("tests/prompts/held_out.json"));
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.len(), 200);
    let mut read = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        // As the program takes it: on one line, with single spaces.
        let prompt = entry["prompt"].as_str().unwrap();
        let prompt = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
        let brief = reader.read(&prompt, (index + 1, 200), &mut Silent);
        let brief = brief.map_or(json!({"people": []}), |it| json!(it.brief));
        read.push((prompt, entry["brief"].clone(), brief));
    }
    reader.close();
    let (mut report, mut low) = (String::new(), Vec::new());
    for (name, floor) in FLOORS {
        let parts = read
            .iter()
            .map(|(prompt, wanted, found)| (prompt, part(wanted, name), part(found, name)));
        let (right, wrong): (Vec<_>, Vec<_>) = parts.partition(|it| it.1 == it.2);
        let said = right.iter().filter(|it| says(&it.1)).count();
        writeln!(
            report,
            "{name}: {} of 200 right; where it is said or read, {said} of {}",
            right.len(),
            said + wrong.len()
        )
        .unwrap();
        for (prompt, wanted, found) in &wrong {
            writeln!(report, "    {prompt}\n        wanted {wanted}\n        read   {found}")
                .unwrap();
        }
        if right.len() < floor {
            low.push(format!("{name}: {} of 200, wanted {floor}", right.len()));
        }
    }
    println!("{report}");
    assert!(low.is_empty(), "{low:?}\n{report}");
}
