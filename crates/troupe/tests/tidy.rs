//! The tree is tidy: rules that no compiler checks.

#![expect(clippy::unwrap_used, reason = "a test may fail where its own files do")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Lines of a source file before its tests.
const MOST_LINES: usize = 400;

/// Of one file in the repository.
const MOST_BYTES: u64 = 50 << 20;

/// What each golden says of itself.
const HEADINGS: [&str; 4] =
    ["## What it contains", "## What it pins", "## How it was made", "## Whose it is"];

/// Folders that git doesn't keep, relative to the root.
const NOT_OURS: [&str; 4] = [".git", "target", "runs", "models/cache"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the root is there")
}

/// All files of a folder of the repository, in order; none if there is no such folder.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop().filter(|it| it.is_dir()) {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let own = NOT_OURS.iter().all(|it| path != root().join(it));
            // A link may lead anywhere, and a folder of Python's bytecode comes and goes.
            if !own || path.is_symlink() || path.ends_with("__pycache__") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut paths = files("crates");
    paths.extend(files("tests"));
    let rust = paths.into_iter().filter(|it| it.extension().is_some_and(|it| it == "rs"));
    rust.map(|it| (it.clone(), fs::read_to_string(&it).expect("a text"))).collect()
}

/// Whether a file holds nothing but tests.
fn is_test(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.components().any(|it| it.as_os_str() == "tests")
}

/// The words of a text in lower case, letters and digits only.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Whether a phrase stands in a text, its last word in the singular or with an "s".
fn holds(text: &[String], phrase: &str) -> bool {
    let phrase = words(phrase);
    let Some((last, first)) = phrase.split_last() else { return false };
    text.windows(phrase.len()).any(|window| {
        let (end, begin) = (&window[first.len()], &window[..first.len()]);
        begin == first && (end == last || end.strip_suffix('s') == Some(last.as_str()))
    })
}

fn groups() -> serde_json::Map<String, Value> {
    let path = root().join("tests/prompts/groups.json");
    serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("a JSON object")
}

#[test]
fn every_source_file_begins_with_what_it_is() {
    let sources = sources();
    assert!(!sources.is_empty());
    for (path, text) in sources {
        assert!(text.starts_with("//! "), "{} doesn't begin with `//! `", path.display());
    }
}

#[test]
fn no_source_file_is_long() {
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let lines: Vec<&str> = text.lines().collect();
        let tests = lines.windows(2).position(|it| {
            it[0] == "#[cfg(test)]" && it[1].starts_with("mod ") && it[1].ends_with('{')
        });
        let count = tests.unwrap_or(lines.len());
        assert!(
            count <= MOST_LINES,
            "{} has {count} lines before its tests, and {MOST_LINES} are the most",
            path.display()
        );
    }
}

#[test]
fn every_test_runs_and_says_what_it_expects() {
    // In two pieces, so that this file passes.
    for attribute in [concat!("#[", "ignore"), concat!("#[", "should_panic")] {
        for (path, text) in sources() {
            assert!(!text.contains(attribute), "{} has {attribute}]", path.display());
        }
    }
}

#[test]
fn the_architecture_has_one_line_for_each_crate() {
    let text = fs::read_to_string(root().join("crates/README.md")).unwrap();
    let rows = text.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let mut lines: Vec<String> = rows
        .filter(|row| row.get(1).is_some_and(|layer| layer.parse::<u8>().is_ok()))
        .map(|row| row[2].trim_matches('`').to_owned())
        .collect();
    let folders = fs::read_dir(root().join("crates")).unwrap().map(|it| it.unwrap().path());
    let mut crates: Vec<String> = folders
        .filter(|it| it.is_dir())
        .map(|it| it.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    crates.sort();
    lines.sort();
    assert_eq!(lines, crates, "the table in crates/README.md");
}

#[test]
fn every_golden_says_where_it_comes_from() {
    let folders = fs::read_dir(root().join("tests/golden")).unwrap().map(|it| it.unwrap().path());
    let folders: Vec<PathBuf> = folders.filter(|it| it.is_dir()).collect();
    assert!(!folders.is_empty());
    for folder in folders {
        let path = folder.join("README.md");
        let text = fs::read_to_string(&path).unwrap_or_default();
        for heading in HEADINGS {
            let found = text.lines().any(|it| it == heading);
            assert!(found, "{} lacks `{heading}`", path.display());
        }
    }
}

#[test]
fn no_file_is_large() {
    let files = files("");
    assert!(!files.is_empty());
    for path in files {
        let bytes = fs::metadata(&path).unwrap().len();
        assert!(bytes <= MOST_BYTES, "{} has {bytes} bytes", path.display());
    }
}

#[test]
fn every_group_prompt_says_what_is_expected_of_it() {
    let groups = groups();
    let prompts = files("prompts/groups");
    assert_eq!(prompts.len(), groups.len());
    for path in prompts {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(groups.contains_key(name), "{name} isn't in tests/prompts/groups.json");
        assert!(!fs::read_to_string(&path).unwrap().trim().is_empty(), "{name} is empty");
    }
}

/// The planner is judged by these words too; it must not have been trained on them.
#[test]
fn half_of_the_group_prompts_are_unseen_by_the_planners_generator() {
    let unseen: Vec<(String, Vec<String>)> = groups()
        .into_iter()
        .filter_map(|(name, group)| {
            let phrases = group.get("unseen")?.as_array()?.iter();
            Some((name, phrases.map(|it| it.as_str().unwrap().to_owned()).collect()))
        })
        .collect();
    assert!(groups().len() <= 2 * unseen.len(), "{} of {}", unseen.len(), groups().len());
    for (name, phrases) in &unseen {
        let prompt = root().join("prompts/groups").join(name).with_extension("txt");
        let prompt = words(&fs::read_to_string(prompt).unwrap());
        assert!(2 <= phrases.len(), "{name} names a noun and a setting");
        for phrase in phrases {
            assert!(holds(&prompt, phrase), "{name} doesn't hold {phrase:?}");
        }
    }
    for path in files("models/starter/train/planner") {
        // Only texts can be a generator's; weights are no UTF-8.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let text = words(&text);
        for (_, phrases) in &unseen {
            for phrase in phrases {
                assert!(!holds(&text, phrase), "{} holds {phrase:?}", path.display());
            }
        }
    }
}

/// Prepositions and articles before the place itself.
const LEADING: [&str; 35] = [
    "in", "infront", "on", "at", "by", "from", "off", "near", "under", "over", "above", "below",
    "beneath", "behind", "beside", "between", "around", "along", "across", "through", "inside",
    "outside", "aboard", "deep", "next", "to", "top", "front", "of", "down", "a", "an", "the",
    "two", "some",
];

/// So many words of a prompt in a row that its brief doesn't hold are its template's.
const TEMPLATE: usize = 5;

/// The prompts by which the planner is judged: texts, and their briefs.
fn held_out() -> Vec<(String, Value)> {
    let path = root().join("tests/prompts/held_out.json");
    let entries: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).expect("a JSON array");
    let each = |it: &Value| (it["prompt"].as_str().unwrap().to_owned(), it["brief"].clone());
    entries.iter().map(each).collect()
}

fn texts(brief: &Value) -> Vec<String> {
    let people = brief["people"].as_array().unwrap();
    let stated =
        people.iter().flat_map(|it| it["stated"].as_array().unwrap()).map(|it| &it["what"]);
    let fields = ["activity", "clothing", "setting", "style"].map(|it| &brief[it]);
    let all = people.iter().map(|it| &it["noun"]).chain(stated).chain(fields);
    all.map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[test]
fn no_noun_setting_or_template_of_the_held_out_prompts_is_in_the_planners_generator() {
    assert_eq!(held_out().len(), 200);
    let folder = root().join("models/starter/train/planner");
    let sources =
        ["words.py", "generate.py"].map(|it| fs::read_to_string(folder.join(it)).unwrap());
    let sources = sources.map(|it| words(&it));
    for (prompt, brief) in held_out() {
        let mut phrases: Vec<String> = Vec::new();
        // Women and men have no other name.
        let nouns =
            brief["people"].as_array().unwrap().iter().map(|it| it["noun"].as_str().unwrap());
        phrases.extend(nouns.filter(|it| !["woman", "man"].contains(it)).map(str::to_owned));
        let place = words(brief["setting"].as_str().unwrap());
        let place = place.iter().skip_while(|it| LEADING.contains(&it.as_str()));
        phrases.push(place.cloned().collect::<Vec<_>>().join(" "));
        let held: Vec<String> = texts(&brief).iter().flat_map(|it| words(it)).collect();
        let own = words(&prompt);
        for run in
            own.split(|it| held.contains(it) || held.contains(&it.trim_end_matches('s').to_owned()))
        {
            phrases.extend((TEMPLATE <= run.len()).then(|| run.join(" ")));
        }
        for phrase in phrases {
            assert!(!sources.iter().any(|it| holds(it, &phrase)), "{phrase:?} of {prompt:?}");
        }
    }
}
