//! Two pictures of three people each, whose audits are written by hand.

use serde_json::json;
use troupe_core::audit::SubjectAudit;
use troupe_core::axis::Scope;
use troupe_core::brief::Brief;
use troupe_core::plan::{Cell, Subject, Tally, ValueDefinition};
use troupe_core::seed::Seed;

use super::*;

/// Skin tones half and half, hair that depends on the tone, and a mood that no judge knows.
fn plan(values: [[&str; 2]; 3]) -> ScenePlan {
    let value = |name: &str| ValueDefinition {
        name: name.to_owned(),
        phrase: name.to_owned(),
        also: Vec::new(),
        stature: None,
    };
    let tally = |value: &str, share: f64, people: f64| Tally {
        value: value.to_owned(),
        share,
        target: share * people,
        stated: 0,
        quota: share * people,
        dealt: 0,
        running: None,
    };
    let proof = |axis: &str, names: [&str; 2], cells| AxisProof {
        axis: axis.to_owned(),
        applies_to: None,
        scope: Scope::Image,
        stream: String::new(),
        mixed: Vec::new(),
        values: names.map(value).to_vec(),
        cells,
        marginal: Vec::new(),
    };
    let cell = |given: Option<&str>, names: [&str; 2], people: u32| Cell {
        given: given.map(str::to_owned),
        people,
        tallies: names.map(|name| tally(name, 0.5, people.into())).to_vec(),
    };
    let (tones, hair, moods) = (["light", "dark"], ["black", "red"], ["glad", "sad"]);
    let subject = |(at, [tone, hair]): (usize, [&str; 2])| {
        let assigned = |(axis, value): (&str, &str)| json!({ "axis": axis, "value": value });
        let values = [("skin tone", tone), ("hair", hair), ("mood", "glad")].map(assigned);
        let id = format!("s{}", at + 1);
        serde_json::from_value::<Subject>(json!({
            "id": id, "kind": 0, "noun": "doctor", "values": values, "sub_prompt": "",
        }))
        .unwrap()
    };
    ScenePlan {
        schema: String::new(),
        prompt: String::new(),
        loras: Vec::new(),
        picture: 1,
        run_seed: Seed(1),
        seed: Seed(1),
        edited: false,
        brief: Brief::of(Vec::new()),
        base_prompt: String::new(),
        subjects: values.into_iter().enumerate().map(subject).collect(),
        axes: vec![
            proof("skin tone", tones, vec![cell(None, tones, 3)]),
            proof("hair", hair, vec![cell(Some("skin tone is dark"), hair, 3)]),
            proof("mood", moods, vec![cell(None, moods, 3)]),
        ],
        notes: Vec::new(),
    }
}

/// What was found: of each person the tone and the hair; an empty word means that it can't be told.
fn audit(plan: &ScenePlan, found: [Option<[&str; 2]>; 3], strangers: usize) -> Audit {
    let subjects = plan.subjects.iter().zip(found).map(|(subject, found)| {
        let value = |at: usize| {
            let (planned, axis) = (&subject.values[at].value, &subject.values[at].axis);
            let word = found.map(|words| words[at]);
            let verdict = match word {
                None => Verdict::Absent,
                Some("") => Verdict::NotSure,
                Some(word) if word == planned => Verdict::Right,
                Some(_) => Verdict::Wrong,
            };
            let others = plan.subjects.iter().filter(|it| it.id != subject.id);
            let leaked = others.filter(|it| Some(it.values[at].value.as_str()) == word);
            ValueAudit {
                axis: axis.clone(),
                reading: Reading {
                    planned: planned.clone(),
                    verdict,
                    found: word.filter(|it| !it.is_empty()).map(str::to_owned),
                    confidence: 0.9,
                },
                planned_of: if verdict == Verdict::Wrong {
                    leaked.map(|it| it.id.clone()).collect()
                } else {
                    Vec::new()
                },
            }
        };
        SubjectAudit {
            id: subject.id.clone(),
            presence: if found.is_some() { Presence::One } else { Presence::Nobody },
            confidence: 0.9,
            noun: None,
            values: vec![value(0), value(1)],
        }
    });
    let stranger = || {
        serde_json::from_value(json!({
            "box": { "left": 0, "top": 0, "right": 0.1, "bottom": 0.1 }, "confidence": 0.8,
        }))
        .unwrap()
    };
    Audit {
        schema: String::new(),
        picture: String::new(),
        judge: JudgedBy { name: "hand".to_owned(), hash: String::new() },
        subjects: subjects.collect(),
        strangers: std::iter::repeat_with(stranger).take(strangers).collect(),
        unread: vec![Unread { axis: "mood".to_owned(), why: "it has none".to_owned() }],
        tries: Vec::new(),
    }
}

fn both() -> Measured {
    let first = plan([["light", "red"], ["dark", "black"], ["dark", "red"]]);
    let second = plan([["light", "black"], ["light", "red"], ["dark", "black"]]);
    let mut tallies = Tallies::default();
    let found = [Some(["light", "red"]), Some(["light", "black"]), Some(["dark", ""])];
    tallies.add(&first, &audit(&first, found, 0));
    let found = [Some(["light", "black"]), None, Some(["tanned", "black"])];
    tallies.add(&second, &audit(&second, found, 1));
    tallies.measured()
}

#[test]
fn people_boxes_and_strangers_are_counted() {
    let it = both();
    assert_eq!((it.pictures, it.pictures_of_right_count, it.strangers), (2, 1, 1));
    assert_eq!((it.people, it.people_right), (6, 2));
    assert_eq!(it.boxes, Boxes { one: 5, nobody: 1, more: 0, not_sure: 0 });
    assert_eq!((it.judges.len(), it.unread.len(), it.axes.len()), (1, 1, 2));
}

#[test]
fn an_axis_is_held_against_its_shares() {
    let it = &both().axes[0];
    let verdicts = Verdicts { right: 3, wrong: 2, absent: 1, ..Verdicts::default() };
    assert_eq!((it.people, it.verdicts, it.leaked, it.others), (6, verdicts, 1, 1));
    // Light 3 of 5 told, dark 1, and one that is neither; a half of each was wanted.
    let values: Vec<_> = it.values.iter().map(|it| (&*it.value, it.share, it.found)).collect();
    assert_eq!(values, [("light", 0.5, 3), ("dark", 0.5, 1)]);
    assert_eq!(it.values[0].planned, 3);
    assert_eq!(it.total_variation, Some(0.3));
    // Of six: a half light, a sixth dark, a third neither.
    assert_eq!(it.total_variation_of_all, Some(0.333_333));
    assert_eq!((it.kullback_leibler, it.chi_squared_p), (None, Some(0.0)));
    let confused: Vec<_> =
        it.confused.iter().map(|it| (&*it.planned, &*it.found, it.people, it.leaked)).collect();
    assert_eq!(confused, [("dark", "light", 1, 1), ("dark", "tanned", 1, 0)]);
    assert_eq!(it.verdicts.accuracy(), Some(0.5));
}

#[test]
fn an_axis_that_depends_on_another_is_counted_with_it() {
    let pairs = both().pairs;
    let [it] = pairs.as_slice() else { panic!("{pairs:?}") };
    assert_eq!((&*it.axis, &*it.given), ("hair", "skin tone"));
    let count = |given: &str, value: &str| {
        let cell = it.cells.iter().find(|it| it.given == given && it.value == value).unwrap();
        (cell.planned, cell.found)
    };
    assert_eq!(count("light", "red"), (2, 1));
    assert_eq!(count("light", "black"), (1, 2));
    assert_eq!(count("dark", "black"), (2, 0));
    assert_eq!(count("dark", "red"), (1, 0));
    assert_eq!(count("tanned", "black"), (0, 1));
    // A quarter of 1/4, 2/4, 0, 0 and 1/4 against a sixth of 2, 1, 2, 1 and 0.
    let wanted =
        ((1.0_f64 / 4.0 - 2.0 / 6.0).abs() + 2.0 / 6.0 + 2.0 / 6.0 + 1.0 / 6.0 + 0.25) / 2.0;
    assert!((it.total_variation.unwrap() - wanted).abs() < 1e-6);
}
