//! What is right can be said: the briefs of the held-out prompts consist of what their prompts leave to choose from.

use serde_json::Value;
use troupe_core::brief::Brief;
use troupe_plan::grounding::Choices;
use troupe_plan::schema::{brief_schema, grounded_schema};

/// As briefs are compared: without capitals and articles.
fn plain(text: &str) -> String {
    let text = text.to_lowercase();
    ["a ", "an ", "the "].iter().find_map(|it| text.strip_prefix(it)).unwrap_or(&text).to_owned()
}

#[test]
fn the_briefs_of_the_held_out_prompts_hold_and_are_among_the_choices() {
    let text = include_str!("../../../tests/prompts/held_out.json");
    let entries: Vec<Value> = serde_json::from_str(text).unwrap();
    assert_eq!(entries.len(), 200);
    let mut missing = Vec::new();
    for entry in entries {
        let prompt = entry["prompt"].as_str().unwrap();
        let brief: Brief = serde_json::from_value(entry["brief"].clone()).unwrap();
        brief.check().unwrap_or_else(|error| panic!("{prompt}: {error}"));
        let choices = Choices::of(prompt).unwrap();
        let mut texts = vec![
            (&brief.activity, &choices.activity),
            (&brief.clothing, &choices.clothing),
            (&brief.setting, &choices.setting),
            (&brief.style, &choices.style),
        ];
        let mut numbers = Vec::new();
        for kind in &brief.people {
            texts.push((&kind.noun, &choices.noun));
            texts.extend(kind.stated.iter().map(|it| (&it.what, &choices.what)));
            numbers.push((kind.number, &choices.number));
            numbers.extend(kind.stated.iter().map(|it| (it.of, &choices.of)));
        }
        for (text, choices) in texts {
            if !choices.iter().any(|it| plain(it) == plain(text)) {
                missing.push(format!("{text:?} of {prompt:?}"));
            }
        }
        for (number, choices) in numbers {
            if !choices.contains(&number) {
                missing.push(format!("{number:?} of {prompt:?}"));
            }
        }
    }
    assert!(missing.is_empty(), "{} can't be said:\n{}", missing.len(), missing.join("\n"));
}

#[test]
fn a_grounded_schema_has_the_order_of_the_plain_one() {
    let grounded = grounded_schema("a \"quoted\" cook, naïve & 2 Ärzte");
    let schema: Value = serde_json::from_str(&grounded).unwrap();
    let noun = &schema["properties"]["people"]["items"]["properties"]["noun"];
    assert!(noun["enum"].as_array().unwrap().contains(&Value::from("cook")), "{noun}");
    let plain = brief_schema();
    let keys = |text: &str| {
        let all =
            ["number", "noun", "stated", "what", "of", "activity", "clothing", "setting", "style"];
        let mut found: Vec<_> =
            all.iter().map(|it| (text.find(&format!("\"{it}\":{{")).unwrap(), *it)).collect();
        found.sort_unstable();
        found.into_iter().map(|it| it.1).collect::<Vec<_>>()
    };
    assert_eq!(keys(&grounded), keys(&plain));
    assert_eq!(grounded_schema(&"word ".repeat(200)), plain);
}
