//! Groups of several kinds of people, and axes of some kinds only.

use std::collections::BTreeMap;

use proptest::prelude::*;
use troupe_core::axis::{Axis, Scope};
use troupe_core::plan::ScenePlan;
use troupe_core::seed::Seed;
use troupe_plan::axes::Axes;
use troupe_plan::cast::{PictureRequest, cast};
use troupe_plan::refresh::refresh;

use crate::support::{
    People, add_up, axis, brief, check_plan, gender, hair, one, range, request, skin, value,
    values_of,
};

/// An axis for people of these kinds.
fn of(kinds: &[&str], mut axis: Axis) -> Axis {
    axis.applies_to = Some(kinds.iter().map(|&it| it.to_owned()).collect());
    axis
}

fn uniform(scope: Scope) -> Axis {
    let values = vec![
        value("blue uniform", 60.0, "in a blue uniform", &[]),
        value("green uniform", 40.0, "in a green uniform", &[]),
    ];
    of(&["nurse", "doctor"], axis("uniform", scope, values))
}

/// The values of those of one kind on an axis.
fn of_kind(plan: &ScenePlan, kind: usize, axis: &str) -> Vec<String> {
    let mut part = plan.clone();
    part.subjects.retain(|it| it.kind == kind);
    values_of(&part, axis)
}

#[test]
fn the_scene_counts_every_kind() {
    let scene = |people: &[People<'_>]| one(&[], 1, brief(people)).base_prompt;
    let check = |people: &[(u32, &str)], expected: &str| {
        let people: Vec<People<'_>> =
            people.iter().map(|&(number, noun)| (Some(number), noun, &[][..])).collect();
        assert_eq!(scene(&people), format!("{expected} on an outdoor court"));
    };
    check(&[(3, "nurse"), (2, "patient")], "a group of three nurses and two patients");
    check(
        &[(2, "nurse"), (3, "patient"), (1, "old doctor")],
        "a group of two nurses, three patients and an old doctor",
    );
    check(&[(1, "nurse"), (1, "doctor")], "a nurse and a doctor");
    check(&[(1, "conductor"), (6, "violinist")], "a conductor and six violinists");
    check(&[(2, "nurse"), (1, "doctor"), (3, "Nurses")], "a group of five nurses and a doctor");
    check(&[(2, "a member of the band")], "a group of two members of the band");
    check(&[(1, "person")], "a person");
}

#[test]
fn kinds_keep_their_order_and_what_is_stated_of_them() {
    let people: &[People<'_>] = &[
        (Some(3), "nurse", &[("women", Some(2)), ("glasses", Some(1))]),
        (Some(2), "patient", &[("men", None), ("dark-skinned", Some(1))]),
    ];
    for seed in 0..40 {
        let plan = one(&[skin(Scope::Image), gender(Scope::Image)], seed, brief(people));
        check_plan(&plan);
        let kinds: Vec<usize> = plan.subjects.iter().map(|it| it.kind).collect();
        assert_eq!(kinds, [0, 0, 0, 1, 1]);
        assert!(of_kind(&plan, 0, "gender").iter().filter(|it| *it == "woman").count() >= 2);
        assert_eq!(of_kind(&plan, 1, "gender"), ["man", "man"]);
        assert!(of_kind(&plan, 1, "skin tone").contains(&"dark".to_owned()));
        let glasses = plan.subjects.iter().filter(|it| it.sub_prompt.contains("glasses"));
        assert_eq!(glasses.map(|it| it.kind).collect::<Vec<_>>(), [0]);
        for subject in &plan.subjects {
            let noun = ["nurse", "patient"][subject.kind];
            assert!(subject.sub_prompt.contains(noun), "{}", subject.sub_prompt);
        }
    }
}

#[test]
fn an_axis_knows_its_kinds_alone() {
    let axes = [uniform(Scope::Batch), skin(Scope::Batch)];
    let people: &[People<'_>] =
        &[(Some(2), "head nurse", &[]), (Some(3), "patient", &[]), (Some(3), "Doctors", &[])];
    let plan = one(&axes, 5, brief(people));
    check_plan(&plan);
    assert_eq!(values_of(&plan, "uniform").len(), 5);
    assert!(of_kind(&plan, 1, "uniform").is_empty());
    assert_eq!(values_of(&plan, "skin tone").len(), 8);
    let proof = &plan.axes[0];
    assert_eq!(proof.applies_to.as_deref(), Some(&["nurse".to_owned(), "doctor".to_owned()][..]));
    assert_eq!(proof.cells[0].people, 5);
    let dealt: Vec<u32> = proof.cells[0].tallies.iter().map(|it| it.dealt).collect();
    assert_eq!(dealt, [3, 2], "60 and 40 % of five, and not of eight");
    for subject in &plan.subjects {
        assert_eq!(subject.sub_prompt.contains("uniform"), subject.kind != 1);
    }
    // Nobody has it: there is nothing to prove, and nothing is amiss.
    let plan = one(&axes, 5, brief(&[(Some(3), "patient", &[])]));
    check_plan(&plan);
    assert!(plan.axes[0].cells.is_empty() && plan.notes.is_empty(), "{:?}", plan.notes);
}

#[test]
fn what_is_stated_of_others_stays_text_and_is_said() {
    let axes = [uniform(Scope::Image), of(&["nurse"], gender(Scope::Image)), skin(Scope::Image)];
    let people: &[People<'_>] = &[
        (Some(2), "nurse", &[("blue uniform", None), ("diverse", None)]),
        (Some(2), "patient", &[("green uniform", Some(1)), ("female", None)]),
        (Some(1), "woman judge", &[]),
    ];
    let plan = one(&axes, 3, brief(people));
    check_plan(&plan);
    assert_eq!(values_of(&plan, "uniform"), ["blue uniform"; 2]);
    let text: Vec<&Vec<String>> = plan.subjects[2..4].iter().map(|it| &it.also).collect();
    assert!(text.iter().all(|also| also.contains(&"female".to_owned())), "{text:?}");
    assert_eq!(text.iter().filter(|also| also.contains(&"green uniform".to_owned())).count(), 1);
    assert!(plan.subjects[4].sub_prompt.starts_with("a woman judge with "));
    assert!(plan.subjects[4].values.iter().all(|it| it.axis == "skin tone"));
    let notes = plan.notes.join("\n");
    for part in [
        "`green uniform` is of `uniform`, which doesn't apply to the kind `patient`; it stays in the sub-prompts as text",
        "`female` is of `gender`, which doesn't apply to the kind `patient`",
        "`woman judge` is of `gender`, which doesn't apply to the kind `woman judge`",
        "`diverse` asks for variety on `skin tone`",
    ] {
        assert!(notes.contains(part), "{notes}");
    }
    // A word for variety that no axis of theirs knows is text too.
    let plan = one(
        &[of(&["nurse"], skin(Scope::Image))],
        3,
        brief(&[(Some(2), "patient", &[("diverse", None)])]),
    );
    assert!(plan.subjects.iter().all(|it| it.also == ["diverse"]));
    assert!(plan.notes[0].contains("`skin tone`, which doesn't apply"), "{:?}", plan.notes);
}

#[test]
fn each_kind_may_have_shares_of_its_own() {
    let age = |name: &str, kind: &str, old: f64| {
        let values = vec![
            value("old", old, "old {noun}", &["elderly"]),
            value("young", 100.0 - old, "", &[]),
        ];
        of(&[kind], axis(name, Scope::Image, values))
    };
    let axes = [age("age of nurses", "nurse", 0.0), age("age of patients", "patient", 100.0)];
    let people: &[People<'_>] =
        &[(Some(3), "nurse", &[("elderly", Some(1))]), (Some(4), "patient", &[])];
    let plan = one(&axes, 1, brief(people));
    check_plan(&plan);
    assert_eq!(values_of(&plan, "age of patients"), ["old"; 4]);
    let old = values_of(&plan, "age of nurses").iter().filter(|it| *it == "old").count();
    assert_eq!(old, 1, "the one of whom it is stated");
}

#[test]
fn conditions_on_what_somebody_has_not_do_not_hold() {
    // Bald heads are for men; of whom gender isn't dealt, nobody is known to be one.
    let axes = [of(&["nurse"], gender(Scope::Image)), hair(Scope::Image)];
    for seed in 0..20 {
        let people: &[People<'_>] = &[(Some(4), "nurse", &[]), (Some(4), "patient", &[])];
        let plan = one(&axes, seed, brief(people));
        check_plan(&plan);
        assert!(!of_kind(&plan, 1, "hair").contains(&"bald".to_owned()));
        let cells: Vec<u32> = plan.axes[1].cells.iter().map(|it| it.people).collect();
        assert_eq!(cells, [2, 6], "two men, and six of whom that isn't known");
    }
}

#[test]
fn a_kind_that_is_to_be_varied_is() {
    // Of four patients and two nurses two may be light; where both are nurses, one has to be exchanged.
    let light = axis(
        "skin tone",
        Scope::Image,
        vec![value("light", 1.0, "", &[]), value("dark", 2.0, "", &[])],
    );
    let axes = [Axis { mixed: vec!["diverse".to_owned()], ..light }];
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let people: &[People<'_>] =
            &[(Some(4), "patient", &[]), (Some(2), "nurse", &[("diverse", None)])];
        let plan = one(&axes, seed, brief(people));
        check_plan(&plan);
        assert_eq!(values_of(&plan, "skin tone").iter().filter(|it| *it == "light").count(), 2);
        let nurses = of_kind(&plan, 1, "skin tone");
        assert_ne!(nurses[0], nurses[1], "seed {seed}");
        firsts.insert(nurses[0].clone());
        let both: &[People<'_>] = &[
            (Some(2), "patient", &[("diverse", None)]),
            (Some(4), "nurse", &[("diverse", None), ("dark", Some(3))]),
        ];
        let plan = one(&axes, seed, brief(both));
        for kind in 0..2 {
            let of = of_kind(&plan, kind, "skin tone");
            assert!(of.iter().any(|it| *it != of[0]), "seed {seed}: {of:?}, {:?}", plan.notes);
        }
    }
    assert_eq!(firsts.len(), 2);
    let people: &[People<'_>] =
        &[(Some(4), "patient", &[]), (Some(1), "nurse", &[("diverse", None)])];
    let notes = one(&axes, 1, brief(people)).notes.join(" ");
    assert!(notes.contains("variety of the kind `nurse` on `skin tone`, and this"), "{notes}");
}

#[test]
fn an_edit_that_an_axis_does_not_apply_to_is_painted_and_not_counted() {
    let axes = [uniform(Scope::Batch)];
    let people: &[People<'_>] = &[(Some(2), "nurse", &[]), (Some(2), "patient", &[])];
    let mut plan = one(&axes, 3, brief(people));
    let before = plan.axes.clone();
    let value = plan.subjects[0].values[0].clone();
    plan.subjects[2].values.push(value);
    refresh(&mut plan);
    assert!(plan.edited && plan.subjects[2].sub_prompt.contains("uniform"));
    assert_eq!(plan.axes, before);
}

proptest! {
    #[test]
    fn bounds_hold_among_those_to_whom_an_axis_applies(
        sizes in prop::collection::vec((prop::option::of(1..=5_u32), prop::option::of(1..=5_u32), 0..=6_u32, 0..3_u32), 1..20),
        seed: u64, image: bool,
    ) {
        let scope = if image { Scope::Image } else { Scope::Batch };
        let axes = Axes::new(&[
            uniform(scope), skin(scope), of(&["nurse"], gender(scope)), of(&["patient", "nurse"], hair(scope)),
        ]).unwrap();
        let pictures: Vec<Option<PictureRequest>> = (1..).zip(&sizes).map(|(at, &(nurses, patients, stated, more))| {
            let stated = [("blue uniform", Some(stated.max(1))), ("women", Some(stated.max(1)))];
            let stated = &stated[..if more == 0 { 0 } else { 2 }];
            let all: [People<'_>; 3] =
                [(nurses, "night nurse", stated), (patients, "patient", stated), (Some(1), "chef", &[])];
            request(at, brief(&all[..=more as usize]))
        }).collect();
        let cast = cast(&axes, Seed(seed), &pictures, range());
        prop_assert!(cast.refused.is_empty());
        let mut sums = BTreeMap::new();
        for plan in cast.plans().flatten() {
            check_plan(&plan);
            add_up(&plan, &mut sums);
            let number = |kinds: &[usize]| plan.subjects.iter().filter(|it| kinds.contains(&it.kind)).count();
            prop_assert_eq!(values_of(&plan, "uniform").len(), number(&[0]));
            prop_assert_eq!(values_of(&plan, "gender").len(), number(&[0]));
            prop_assert_eq!(values_of(&plan, "hair").len(), number(&[0, 1]));
            prop_assert_eq!(values_of(&plan, "skin tone").len(), plan.subjects.len());
            let mut again = plan.clone();
            refresh(&mut again);
            prop_assert_eq!(again, plan);
        }
    }
}
