//! Casts as the configuration of the design asks for them: bounds, conditions, independence, what is stated.

use proptest::prelude::*;
use troupe_core::axis::Scope;
use troupe_core::plan::ScenePlan;
use troupe_core::seed::Seed;
use troupe_plan::axes::Axes;
use troupe_plan::cast::{Cast, PictureRequest, PlanError, cast};
use troupe_plan::phrase::kind;
use troupe_plan::refresh::refresh;

use crate::support::{
    People, add_up, axis, batch, brief, check_plan, gender, hair, one, range, request, skin, value,
    values_of,
};

proptest! {
    #[test]
    fn plans_keep_every_bound_that_they_claim(
        sizes in prop::collection::vec((1..=12_u32, 0..=12_u32, 0..=12_u32, 0..5_u32), 1..14), seed: u64, image: bool,
    ) {
        let scope = if image { Scope::Image } else { Scope::Batch };
        let axes = Axes::new(&[hair(scope), skin(scope), gender(scope)]).unwrap();
        let pictures: Vec<Option<PictureRequest>> = (1..).zip(&sizes).map(|(at, &(size, women, dark, kind))| {
            if kind == 0 {
                return None;
            }
            let mut stated = Vec::new();
            if 0 < women { stated.push(("women", Some(women))); }
            if 0 < dark { stated.push(("dark-skinned", Some(dark))); }
            if kind == 1 { stated.push(("diverse", None)); }
            request(at, brief(&[(Some(size), "player", &stated)]))
        }).collect();
        let cast = cast(&axes, Seed(seed), &pictures, range());
        prop_assert!(cast.refused.is_empty());
        let mut sums = std::collections::BTreeMap::new();
        for (plan, request) in cast.plans().zip(&pictures) {
            prop_assert_eq!(plan.is_some(), request.is_some());
            let Some(plan) = plan else { continue };
            check_plan(&plan);
            add_up(&plan, &mut sums);
            let asks = request.as_ref().unwrap().brief.people[0].stated.iter().any(|it| it.what == "diverse");
            let tones = values_of(&plan, "skin tone");
            let different = tones.iter().any(|it| *it != tones[0]);
            let stated = plan.subjects.iter().filter(|it| it.values[1].stated).count();
            if asks && 2 <= tones.len() && stated < tones.len() {
                prop_assert!(different);
            }
            let mut again = plan.clone();
            refresh(&mut again);
            prop_assert_eq!(again, plan);
        }
    }
}

#[test]
fn batch_totals_over_forty_pictures_of_five_are_exact() {
    let axes = Axes::new(&[skin(Scope::Batch), gender(Scope::Batch)]).unwrap();
    let pictures = batch(&[5; 40]);
    let cast = cast(&axes, Seed(7), &pictures, range());
    let mut counts = std::collections::BTreeMap::new();
    for plan in cast.plans().flatten() {
        for assigned in plan.subjects.iter().flat_map(|it| &it.values) {
            *counts.entry(assigned.value.clone()).or_insert(0) += 1;
        }
    }
    let counts: Vec<(&str, i32)> =
        counts.iter().map(|(name, &count)| (name.as_str(), count)).collect();
    assert_eq!(
        counts,
        [("brown", 50), ("dark", 50), ("light", 50), ("man", 100), ("tan", 50), ("woman", 100)]
    );
}

#[test]
fn a_cast_of_fifty_thousand_takes_seconds() {
    let sizes: Vec<u32> = (0..50_000_u32).map(|at| at * 7 % 12 + 1).collect();
    let axes = Axes::new(&[skin(Scope::Batch), gender(Scope::Image), hair(Scope::Batch)]).unwrap();
    let pictures = batch(&sizes);
    let begun = std::time::Instant::now();
    let cast = cast(&axes, Seed(7), &pictures, range());
    let taken = begun.elapsed();
    assert!(taken.as_secs() < 20, "{taken:?}");
    check_plan(&cast.plan(49_999).unwrap());
}

/// Of how many pairs of values on two axes, over pictures of 12.
fn together(seed: u64, pictures: &[Option<PictureRequest>], axes: &Axes) -> u32 {
    let of = |cast: &Cast<'_>| {
        let plans: Vec<ScenePlan> = cast.plans().flatten().collect();
        plans
            .iter()
            .flat_map(|plan| &plan.subjects)
            .filter(|it| it.values[0].value == "dark" && it.values[1].value == "woman")
            .count()
    };
    u32::try_from(of(&cast(axes, Seed(seed), pictures, range()))).unwrap()
}

#[test]
fn axes_without_a_relation_are_independent() {
    // Dealing one axis in a shuffled order is a permutation test in itself: with 3 dark of 12 and 6 women of 12 in each
    // picture, the number of dark women in a picture is hypergeometric: mean 1.5, variance 3·½·½·(9/11).
    let axes = Axes::new(&[skin(Scope::Image), gender(Scope::Image)]).unwrap();
    let pictures = batch(&[12; 1000]);
    let expected = 1500.0;
    let error = 4.0 * (1000.0 * 3.0 * 0.25 * 9.0 / 11.0_f64).sqrt();
    for seed in 1..4 {
        let found = f64::from(together(seed, &pictures, &axes));
        assert!((found - expected).abs() < error, "{found}");
    }
}

#[test]
fn nothing_goes_by_order_of_declaration() {
    // One seat and four equal values: each value, and each seat of four, comes up about as often as any other.
    let axes = Axes::new(&[skin(Scope::Image)]).unwrap();
    let pictures = batch(&[1; 2000]);
    let mut counts = std::collections::BTreeMap::new();
    for plan in cast(&axes, Seed(5), &pictures, range()).plans().flatten() {
        *counts.entry(values_of(&plan, "skin tone")[0].clone()).or_insert(0_u32) += 1;
    }
    assert_eq!(counts.len(), 4);
    assert!(counts.values().all(|count| (420..580).contains(count)), "{counts:?}");
    let pictures = batch(&[4; 2000]);
    let mut first = 0;
    for plan in cast(&axes, Seed(5), &pictures, range()).plans().flatten() {
        first += u32::from(values_of(&plan, "skin tone")[0] == "light");
    }
    assert!((420..580).contains(&first), "{first}");
}

#[test]
fn a_failed_brief_holds_no_seats() {
    let axes = Axes::new(&[skin(Scope::Batch)]).unwrap();
    let mut pictures = batch(&[1, 1, 1, 1, 1, 1, 1, 1]);
    for at in [1, 3, 5, 7] {
        pictures[at] = None;
    }
    let cast = cast(&axes, Seed(1), &pictures, range());
    let mut tones: Vec<String> =
        cast.plans().flatten().map(|plan| values_of(&plan, "skin tone")[0].clone()).collect();
    tones.sort();
    assert_eq!(tones, ["brown", "dark", "light", "tan"]);
}

#[test]
fn what_is_stated_is_fixed_and_said() {
    let stated: &[(&str, Option<u32>)] =
        &[("multiracial", None), ("woman", None), ("white coat", Some(2))];
    let plan =
        one(&[skin(Scope::Image), gender(Scope::Image)], 3, brief(&[(Some(5), "player", stated)]));
    check_plan(&plan);
    assert_eq!(values_of(&plan, "gender"), ["woman"; 5]);
    assert_eq!(plan.axes[0].mixed, ["multiracial"]);
    assert_eq!(plan.subjects.iter().filter(|it| it.also == ["white coat"]).count(), 2);
    for subject in &plan.subjects {
        assert!(!subject.sub_prompt.contains("multiracial"), "{}", subject.sub_prompt);
        assert!(subject.sub_prompt.starts_with("a woman player with "), "{}", subject.sub_prompt);
        assert!(!subject.sub_prompt.contains("court"), "{}", subject.sub_prompt);
    }
    assert_eq!(plan.base_prompt, "a group of five players on an outdoor court");
    let notes = plan.notes.join("\n");
    for part in [
        "`multiracial` asks for variety",
        "no axis knows `white coat`",
        "`woman` on `gender` is stated of 5",
    ] {
        assert!(notes.contains(part), "{notes}");
    }
}

#[test]
fn a_noun_that_states_a_value_is_not_doubled() {
    let plan = one(&[gender(Scope::Image)], 3, brief(&[(Some(3), "woman", &[])]));
    assert_eq!(values_of(&plan, "gender"), ["woman"; 3]);
    assert_eq!(plan.subjects[0].sub_prompt, "a woman");
    let plan = one(&[gender(Scope::Image)], 3, brief(&[(Some(3), "man firefighter", &[])]));
    assert_eq!(plan.subjects[0].sub_prompt, "a man firefighter");
    // What they are before that is said.
    let kind_of = |noun: &str| {
        let plan = one(&[gender(Scope::Image)], 1, brief(&[(Some(1), noun, &[])]));
        kind(&plan, &plan.subjects[0], &plan.subjects[0].sub_prompt)
    };
    for (noun, expected) in [
        ("firefighter", "a firefighter"),
        ("man firefighter", "a firefighter"),
        ("an (evil:2) artist <lora:x:1>", "an evil:2 artist"),
        ("woman", "a person"),
        ("()", "a person"),
    ] {
        assert_eq!(kind_of(noun), expected, "{noun}");
    }
    let plan = one(&[], 1, brief(&[(Some(1), "firefighter", &[])]));
    let subject = &plan.subjects[0];
    assert_eq!(kind(&plan, subject, &subject.sub_prompt), "", "no more is said");
}

#[test]
fn values_of_one_axis_never_share_a_person() {
    for seed in 0..50 {
        let stated: &[(&str, Option<u32>)] =
            &[("dark", Some(2)), ("fair-skinned", Some(2)), ("tan", None)];
        let plan = one(&[skin(Scope::Image)], seed, brief(&[(Some(5), "player", stated)]));
        let mut tones = values_of(&plan, "skin tone");
        tones.sort();
        assert_eq!(tones, ["dark", "dark", "light", "light", "tan"]);
        assert!(plan.notes.join(" ").contains("`tan` is stated of 5"), "{:?}", plan.notes);
    }
}

#[test]
fn conditions_deal_their_own_shares() {
    let axes = Axes::new(&[hair(Scope::Batch), gender(Scope::Batch)]).unwrap();
    let pictures = batch(&[10; 20]);
    let mut bald = 0;
    for plan in cast(&axes, Seed(2), &pictures, range()).plans().flatten() {
        check_plan(&plan);
        for subject in &plan.subjects {
            if subject.values[0].value == "bald" {
                assert_eq!(subject.values[1].value, "man");
                bald += 1;
            }
        }
    }
    assert_eq!(bald, 90);
}

#[test]
fn numbers_come_from_prompt_range_or_caller() {
    let axes = Axes::new(&[gender(Scope::Image)]).unwrap();
    let sizes = |people: &[People<'_>], subjects: Option<u32>| {
        let mut requests: Vec<_> = (1..=200).map(|at| request(at, brief(people))).collect();
        requests.iter_mut().flatten().for_each(|it| it.subjects = subjects);
        let cast = cast(&axes, Seed(1), &requests, range());
        let of = |plan: Option<ScenePlan>| {
            plan.map(|plan| {
                let kinds = people.len();
                (0..kinds)
                    .map(|kind| plan.subjects.iter().filter(|it| it.kind == kind).count())
                    .collect::<Vec<_>>()
            })
        };
        let mut sizes: Vec<_> = cast.plans().map(of).collect();
        sizes.sort();
        sizes.dedup();
        (sizes, cast.refused.first().map(|it| it.1.clone()))
    };
    let some = |sizes: &[usize]| Some(sizes.to_vec());
    assert_eq!(
        sizes(&[(None, "chef", &[])], None).0,
        [some(&[3]), some(&[4]), some(&[5]), some(&[6])]
    );
    assert_eq!(sizes(&[(Some(2), "chef", &[])], None).0, [some(&[2])]);
    assert_eq!(
        sizes(&[(Some(2), "chef", &[]), (Some(4), "cook", &[])], Some(9)).0,
        [some(&[3, 6])]
    );
    assert_eq!(
        sizes(&[(Some(9), "chef", &[]), (Some(1), "cook", &[])], Some(2)).0,
        [some(&[1, 1])]
    );
    let refused = |people: &[People<'_>], subjects| sizes(people, subjects).1.unwrap();
    assert_eq!(refused(&[(Some(2), "chef", &[])], Some(400)), PlanError::Number(400));
    assert_eq!(
        refused(&[(Some(12), "chef", &[]), (None, "cook", &[])], None),
        PlanError::Number(13)
    );
    assert_eq!(
        refused(&[(Some(2), "chef", &[]), (None, "cook", &[])], Some(1)),
        PlanError::Kinds { kinds: 2, subjects: 1 }
    );
}

#[test]
fn an_edit_is_rebuilt_recounted_and_marked() {
    let mut plan =
        one(&[skin(Scope::Batch), gender(Scope::Batch)], 3, brief(&[(Some(5), "player", &[])]));
    let before = plan.clone();
    let tone = plan.subjects[0].values[0].value.clone();
    let other = if tone == "dark" { "tan" } else { "dark" };
    other.clone_into(&mut plan.subjects[0].values[0].value);
    plan.subjects[1].edited = true;
    "a robot".clone_into(&mut plan.subjects[1].sub_prompt);
    refresh(&mut plan);
    assert!(plan.edited);
    assert!(plan.subjects[0].sub_prompt.contains(&format!("{other} skin")));
    assert_eq!(plan.subjects[1].sub_prompt, "a robot");
    assert_eq!(plan.subjects[2], before.subjects[2]);
    for (after, before) in
        plan.axes[0].cells[0].tallies.iter().zip(&before.axes[0].cells[0].tallies)
    {
        assert_eq!(after.quota, before.quota);
        let change = if after.value == other {
            1
        } else if after.value == tone {
            -1
        } else {
            0
        };
        assert_eq!(i64::from(after.dealt), i64::from(before.dealt) + change);
        let (now, then) = (after.running.as_ref().unwrap(), before.running.as_ref().unwrap());
        assert_eq!(now.dealt_after, now.dealt_before + u64::from(after.dealt));
        assert_eq!(now.quota_after, then.quota_after);
    }
    let again = plan.clone();
    refresh(&mut plan);
    assert_eq!(plan, again);
}

#[test]
fn a_cast_depends_on_its_arguments_alone() {
    let axes = [skin(Scope::Batch), gender(Scope::Batch)];
    let plan = |seed| one(&axes, seed, brief(&[(Some(8), "player", &[])]));
    assert_eq!(plan(1), plan(1));
    assert_ne!(values_of(&plan(1), "skin tone"), values_of(&plan(2), "skin tone"));
    // Another axis leaves this one as it was.
    let more = one(
        &[skin(Scope::Batch), gender(Scope::Batch), hair(Scope::Batch)],
        1,
        brief(&[(Some(8), "player", &[])]),
    );
    assert_eq!(values_of(&more, "skin tone"), values_of(&plan(1), "skin tone"));
}

#[test]
fn a_noun_is_data_and_yields_to_an_edited_value() {
    let axes = [gender(Scope::Image)];
    let mut plan = one(&axes, 3, brief(&[(Some(1), "{noun} <lora:x:1> chef", &[("man", None)])]));
    assert_eq!(plan.subjects[0].sub_prompt, "a man {noun} chef");
    "woman chef".clone_into(&mut plan.subjects[0].noun);
    refresh(&mut plan);
    assert!(plan.edited);
    assert_eq!(plan.subjects[0].sub_prompt, "a man chef");
    "woman".clone_into(&mut plan.subjects[0].noun);
    refresh(&mut plan);
    assert_eq!(plan.subjects[0].sub_prompt, "a man");
}

#[test]
fn the_configuration_may_weigh_words_and_a_prompt_may_not() {
    let tone = axis(
        "tone",
        Scope::Image,
        vec![
            value("dark", 1.0, "(with dark skin:1.3)", &[]),
            value("light", 0.0, "with light skin", &[]),
        ],
    );
    let age = axis("age", Scope::Image, vec![value("old", 1.0, "(old:1.2) {noun}", &[])]);
    let plan = one(&[tone, age], 1, brief(&[(Some(1), "chef", &[("(red hat:1.5)", None)])]));
    assert_eq!(plan.subjects[0].sub_prompt, "an (old:1.2) chef (with dark skin:1.3), red hat:1.5");
}

#[test]
fn a_noun_that_states_two_values_keeps_its_order() {
    let age = axis(
        "age",
        Scope::Image,
        vec![value("old", 1.0, "old {noun}", &[]), value("young", 1.0, "young {noun}", &[])],
    );
    let plan = one(&[age, gender(Scope::Image)], 1, brief(&[(Some(1), "old woman", &[])]));
    assert_eq!(plan.subjects[0].sub_prompt, "an old woman");
    assert!(plan.subjects[0].values.iter().all(|it| it.stated));
}

#[test]
fn stated_seats_are_anywhere_and_phrases_do_not_follow_one_another() {
    let axes = Axes::new(&[skin(Scope::Image)]).unwrap();
    let stated: &[(&str, Option<u32>)] = &[("dark", Some(1)), ("glasses", Some(1))];
    let pictures: Vec<_> =
        (1..=800).map(|at| request(at, brief(&[(Some(4), "player", stated)]))).collect();
    let (mut first, mut both) = (0, 0);
    for plan in cast(&axes, Seed(1), &pictures, range()).plans().flatten() {
        first += u32::from(plan.subjects[0].values[0].stated);
        both +=
            plan.subjects.iter().filter(|it| it.values[0].stated && !it.also.is_empty()).count();
    }
    // A quarter of 800 each, within four standard errors of 12.2.
    assert!((151..=249).contains(&first), "{first}");
    assert!((151..=249).contains(&both), "{both}");
}
