//! The command line from outside: what commands do, and what they refuse.

#![expect(clippy::unwrap_used, reason = "a test may fail where its own files do")]

mod audit;
mod bad_documents;
mod bad_weights;
mod commands;
mod pull;
mod regions;
mod repaint;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use self::support::{Done, Place};

/// Five chefs, as the language model would have read them.
const BRIEF: &str = r#"{
  "schema": "troupe.brief/1",
  "prompt": "five chefs in a kitchen",
  "brief": {
    "people": [{ "number": 5, "noun": "chef", "stated": [] }],
    "activity": "", "clothing": "", "setting": "in a kitchen", "style": "",
    "formation": "auto", "shot": "full_body"
  }
}"#;

/// A call fails with this exit code, says all of these, and leaves no file that wasn't there.
#[track_caller]
fn refuses(place: &Place, arguments: &[&str], code: i32, says: &[&str]) {
    let before = files(&place.path(""));
    let done = place.run(arguments);
    refused(&done, code, says);
    assert_eq!(files(&place.path("")), before, "{arguments:?} left something behind");
}

#[track_caller]
fn refused(done: &Done, code: i32, says: &[&str]) {
    assert_eq!(done.code, Some(code), "{}", done.stderr);
    for said in says {
        assert!(done.stderr.contains(said), "wanted {said:?} in: {}", done.stderr);
    }
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    assert_eq!(done.stdout, "", "what failed prints no data");
}

/// Every file and folder below a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.insert(path.display().to_string());
    }
    found
}

/// A place with `brief.json`, `plan.json` and `layout.json` of five chefs; no language model is asked.
fn laid_out() -> Place {
    let place = Place::new();
    place.write("brief.json", BRIEF);
    place.succeed(&["plan", "five chefs in a kitchen", "--brief", "brief.json"]);
    place.succeed(&["layout", "plan.json"]);
    place
}
