//! The starter planner on the twenty prompts of `prompts/groups`, half of them about what it never saw.

#![expect(clippy::unwrap_used, reason = "a test may fail where its own files do")]

#[expect(dead_code, reason = "other tests need more of it")]
mod support;

use std::fs;

use serde_json::Value;

use self::support::{Place, read_json, repository};

/// Of twenty briefs, how many must have number, noun and setting right.
const RIGHT: usize = 19;

/// What is wrong with a plan's brief, if anything.
fn problem(plan: &Value, wanted: &Value) -> Option<String> {
    let brief = &plan["brief"];
    let people = brief["people"].as_array().unwrap();
    let accepted = |key: &str, found: &Value| wanted[key].as_array().unwrap().contains(found);
    let right = people.len() == 1
        && people[0]["number"] == wanted["number"]
        && accepted("noun", &people[0]["noun"])
        && accepted("setting", &brief["setting"])
        && wanted["number"].as_u64().map(usize::try_from)
            == Some(Ok(plan["subjects"].as_array().unwrap().len()));
    (!right).then(|| format!("wanted {wanted}, and the brief is {brief}"))
}

#[test]
fn number_noun_and_setting_are_right_in_nineteen_of_twenty() {
    let place = Place::new();
    let wanted = read_json(&repository().join("tests/prompts/groups.json"));
    let wanted = wanted.as_object().unwrap();
    assert_eq!(wanted.len(), 20);
    let mut wrong = Vec::new();
    for (name, wanted) in wanted {
        let file = repository().join(format!("prompts/groups/{name}.txt"));
        let prompt = fs::read_to_string(file).unwrap();
        let done = place.run(&["--quiet", "plan", prompt.trim_end()]);
        let problem = match done.code {
            Some(0) => problem(&read_json(&place.path("plan.json")), wanted),
            _ => Some(done.stderr),
        };
        wrong.extend(problem.map(|problem| format!("{name}: {problem}")));
    }
    assert!(RIGHT + wrong.len() <= 20, "{} of 20 are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
