//! Axes, briefs and requests of tests, and the check that a plan keeps to what it claims.

use troupe_core::axis::{Axis, AxisValue, Given, Scope};
use troupe_core::brief::{Brief, Formation, Kind, Shot, Stated};
use troupe_core::document::Document;
use troupe_core::plan::{ScenePlan, Tally};
use troupe_core::seed::Seed;
use troupe_core::share::Share;
use troupe_plan::axes::Axes;
use troupe_plan::cast::{PictureRequest, SubjectRange, cast};

/// A number, a noun, and what is stated of how many.
pub(crate) type People<'a> = (Option<u32>, &'a str, &'a [(&'a str, Option<u32>)]);

pub(crate) fn value(name: &str, share: f64, phrase: &str, also: &[&str]) -> AxisValue {
    AxisValue {
        name: name.to_owned(),
        share: Share::try_from(share).unwrap(),
        phrase: (!phrase.is_empty()).then(|| phrase.to_owned()),
        also: also.iter().map(|&it| it.to_owned()).collect(),
        stature: None,
    }
}

pub(crate) fn axis(name: &str, scope: Scope, values: Vec<AxisValue>) -> Axis {
    Axis {
        name: name.to_owned(),
        applies_to: None,
        values,
        scope,
        given: Vec::new(),
        mixed: Vec::new(),
    }
}

pub(crate) fn skin(scope: Scope) -> Axis {
    let mut axis = axis(
        "skin tone",
        scope,
        vec![
            value("light", 25.0, "with pale skin", &["fair", "white"]),
            value("tan", 25.0, "with tan skin", &[]),
            value("brown", 25.0, "with brown skin", &[]),
            value("dark", 25.0, "with dark skin", &["black"]),
        ],
    );
    axis.mixed = vec!["multiracial".to_owned(), "diverse".to_owned()];
    axis
}

pub(crate) fn gender(scope: Scope) -> Axis {
    let values = vec![
        value("woman", 50.0, "woman {noun}", &["female", "women", "lady"]),
        value("man", 50.0, "man {noun}", &["male"]),
    ];
    axis("gender", scope, values)
}

pub(crate) fn hair(scope: Scope) -> Axis {
    let mut axis = axis(
        "hair",
        scope,
        vec![value("black hair", 2.0, "", &[]), value("red hair", 1.0, "", &[])],
    );
    axis.given = vec![Given {
        axis: "gender".to_owned(),
        is: "man".to_owned(),
        values: vec![
            value("black hair", 10.0, "", &[]),
            value("bald", 90.0, "with a bald head", &[]),
        ],
    }];
    axis
}

pub(crate) fn brief(people: &[People<'_>]) -> Brief {
    let kind = |&(number, noun, stated): &People<'_>| Kind {
        number,
        noun: noun.to_owned(),
        stated: stated.iter().map(|&(what, of)| Stated { what: what.to_owned(), of }).collect(),
    };
    Brief {
        people: people.iter().map(kind).collect(),
        activity: String::new(),
        clothing: String::new(),
        setting: "on an outdoor court".to_owned(),
        style: String::new(),
        formation: Formation::Auto,
        shot: Shot::FullBody,
    }
}

pub(crate) fn request(picture: u64, brief: Brief) -> Option<PictureRequest> {
    Some(PictureRequest {
        picture,
        prompt: "p".to_owned(),
        loras: Vec::new(),
        brief,
        subjects: None,
    })
}

pub(crate) fn batch(sizes: &[u32]) -> Vec<Option<PictureRequest>> {
    (1..).zip(sizes).map(|(at, &size)| request(at, brief(&[(Some(size), "player", &[])]))).collect()
}

pub(crate) fn range() -> SubjectRange {
    SubjectRange::new(3, 6).unwrap()
}

pub(crate) fn one(axes: &[Axis], seed: u64, brief: Brief) -> ScenePlan {
    let axes = Axes::new(axes).unwrap();
    let requests = [request(1, brief)];
    let cast = cast(&axes, Seed(seed), &requests, range());
    cast.plan(0).unwrap_or_else(|| panic!("{:?}", cast.refused))
}

pub(crate) fn values_of(plan: &ScenePlan, axis: &str) -> Vec<String> {
    let of = |values: &[troupe_core::plan::Assigned]| {
        Some(values.iter().find(|it| it.axis == axis)?.value.clone())
    };
    plan.subjects.iter().filter_map(|subject| of(&subject.values)).collect()
}

pub(crate) fn rounded(count: f64, quota: f64) -> bool {
    (count - quota).abs() < 1.0 + 1e-5 && (quota.fract() != 0.0 || count == quota)
}

/// Every bound that a plan claims, and that what it claims is so.
pub(crate) fn check_plan(plan: &ScenePlan) {
    plan.check().unwrap();
    for proof in &plan.axes {
        let dealt = values_of(plan, &proof.axis);
        assert_eq!(proof.cells.iter().map(|cell| cell.people).sum::<u32>() as usize, dealt.len());
        assert!(proof.applies_to.is_some() || dealt.len() == plan.subjects.len());
        for (at, definition) in proof.values.iter().enumerate() {
            let tallies: Vec<&Tally> = proof.cells.iter().map(|cell| &cell.tallies[at]).collect();
            let sum: u32 = tallies.iter().map(|tally| tally.dealt).sum();
            assert_eq!(dealt.iter().filter(|it| **it == definition.name).count(), sum as usize);
            for tally in tallies {
                assert!(tally.stated <= tally.dealt);
                assert!(rounded(f64::from(tally.dealt), tally.quota), "{tally:?}");
                assert_eq!(tally.running.is_some(), proof.scope == Scope::Batch);
                if let Some(running) = &tally.running {
                    assert!(rounded(running.dealt_after as f64, running.quota_after), "{tally:?}");
                    assert_eq!(running.dealt_after - running.dealt_before, u64::from(tally.dealt));
                }
            }
        }
        assert_eq!(proof.marginal.is_empty(), proof.cells.len() < 2);
    }
    for assigned in plan.subjects.iter().flat_map(|it| &it.values).filter(|it| it.stated) {
        let proof = plan.axes.iter().find(|proof| proof.axis == assigned.axis).unwrap();
        assert!(proof.cells.iter().any(|cell| {
            cell.tallies.iter().any(|it| it.value == assigned.value && 0 < it.stated)
        }));
    }
}

/// The running totals of a plan are the sums over the plans before it, cell by cell.
pub(crate) fn add_up(plan: &ScenePlan, sums: &mut std::collections::BTreeMap<String, (f64, u64)>) {
    for proof in &plan.axes {
        for cell in &proof.cells {
            for tally in &cell.tallies {
                let Some(running) = &tally.running else { continue };
                let name = format!("{}/{:?}/{}", proof.axis, cell.given, tally.value);
                let (quota, dealt) = sums.entry(name).or_default();
                assert!((running.quota_before - *quota).abs() < 1e-3, "{tally:?}, {quota}");
                assert_eq!(running.dealt_before, *dealt);
                *quota += tally.quota;
                *dealt += u64::from(tally.dealt);
            }
        }
    }
}
