//! Properties of every layout, and the rules by which one is chosen.

use proptest::prelude::*;
use troupe_core::region::Edges;

use super::refusals::check_offers;
use super::*;

/// Rounding of positions on a canvas of at most 4096 pixels.
const TOLERANCE: f64 = 1e-9;

/// The part of a box, and its height in pixels, that boxes of a greater depth leave uncovered.
/// Measured on the boxes alone: of every row of pixels that an edge separates.
fn seen(layout: &Layout, subject: usize) -> (f64, f64) {
    let own = layout.subjects[subject].bounds.edges();
    let front: Vec<Edges> = layout
        .subjects
        .iter()
        .filter(|it| layout.subjects[subject].depth < it.depth)
        .map(|it| it.bounds.edges())
        .filter(|it| it.left < own.right && own.left < it.right && it.top < own.bottom)
        .collect();
    let covered: f64 = front
        .iter()
        .map(|it| {
            let wide = it.right.min(own.right) - it.left.max(own.left);
            wide * (it.bottom.min(own.bottom) - it.top.max(own.top))
        })
        .sum(); // People of one row don't overlap, which is checked, so nothing counts twice.
    let free = front.iter().map(|it| it.top).fold(own.bottom, f64::min) - own.top;
    let bounds = layout.subjects[subject].bounds;
    (1.0 - covered / bounds.area(), free * f64::from(layout.canvas.height()))
}

/// Everything that the crate promises of a layout.
fn check_promises(layout: &Layout, statures: &[f64], minimum: MinimumBox) {
    assert_eq!(layout.check(), Ok(()));
    let edges: Vec<Edges> = layout.subjects.iter().map(|it| it.bounds.edges()).collect();
    let depth = |at: usize| layout.subjects[at].depth;
    for (a, own) in edges.iter().enumerate() {
        let (part, tall) = seen(layout, a);
        let wide = layout.subjects[a].bounds.width() * f64::from(layout.canvas.width());
        assert!(1.0 - OVERLAP_BUDGET - TOLERANCE <= part, "of {a} {part} is seen in {layout:?}");
        assert!(f64::from(minimum.width) <= wide + TOLERANCE, "{a} is {wide} pixels wide");
        assert!(f64::from(minimum.height) <= tall + TOLERANCE, "of {a} {tall} pixels are seen");
        for (b, other) in edges.iter().enumerate().skip(a + 1) {
            if depth(a) == depth(b) {
                assert!(own.right <= other.left + TOLERANCE, "{a} and {b} overlap or are swapped");
                assert!((own.bottom - other.bottom).abs() < TOLERANCE, "{a} and {b} share no line");
                if statures[a] <= statures[b] {
                    assert!(other.top <= own.top + TOLERANCE, "{a} is shorter than {b}, not lower");
                }
                if statures[b] <= statures[a] {
                    assert!(own.top <= other.top + TOLERANCE, "{b} is shorter than {a}, not lower");
                }
            } else {
                let (back, front) = if depth(a) < depth(b) { (a, b) } else { (b, a) };
                assert!(edges[back].bottom + TOLERANCE < edges[front].bottom, "a row isn't higher");
                assert!(
                    edges[back].top + TOLERANCE < edges[front].top,
                    "a head in the back is low"
                );
                assert!(statures[front] <= statures[back], "{back} is shorter than {front}");
            }
        }
    }
    for row in 0..2 {
        let people: Vec<&Edges> = edges
            .iter()
            .enumerate()
            .filter(|(it, _)| depth(*it) == row)
            .map(|(_, it)| it)
            .collect();
        if let [first, .., last] = people.as_slice() {
            assert!((first.left + last.right - 1.0).abs() < TOLERANCE, "row {row} isn't centred");
        }
    }
}

prop_compose! {
    fn sides()(width in 8..=512_u32, height in 8..=512_u32, narrow: bool) -> (u32, u32) {
        let cap = if narrow { 48 } else { 512 };
        (width.min(cap) * 8, height * 8)
    }
}

fn formations() -> impl Strategy<Value = Formation> {
    prop_oneof![Just(Formation::Row), Just(Formation::TwoRows), Just(Formation::Auto)]
}

fn shots() -> impl Strategy<Value = Shot> {
    prop_oneof![Just(Shot::FullBody), Just(Shot::Waist)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_layout_keeps_its_promises_and_a_refusal_is_honest(
        statures in prop::collection::vec(0.5..1.2_f64, 1..=12),
        formation in formations(),
        shot in shots(),
        sizes in prop::collection::vec(sides(), 1..4),
        minimum in (0..=128_u32, 0..=128_u32),
    ) {
        let minimum = MinimumBox { width: minimum.0, height: minimum.1 };
        let plan = plan(&statures, Formation::Auto, shot);
        let options = options(formation, &sizes, minimum);
        match arrange(&plan, &options) {
            Ok(layout) => {
                check_promises(&layout, &statures, minimum);
                prop_assert_eq!(&arrange(&plan, &options).unwrap(), &layout);
                prop_assert!(options.canvases.contains(&layout.canvas));
                let rows = layout.subjects.iter().map(|it| it.depth).max().unwrap() + 1;
                match formation {
                    Formation::Row => prop_assert_eq!(rows, 1),
                    Formation::TwoRows => prop_assert_eq!(rows, if statures.len() == 1 { 1 } else { 2 }),
                    Formation::Auto => {}
                }
            }
            Err(LayoutError::NoRoom(offers)) => check_offers(&statures, &options, &offers),
            Err(other) => panic!("{other}"),
        }
    }
}

proptest! {
    #[test]
    fn people_of_one_kind_stand_together(
        kinds in prop::collection::vec((1..=4_usize, prop_oneof![Just(1.0), 0.5..1.5_f64]), 1..=3), two_rows: bool,
    ) {
        let statures: Vec<f64> = kinds.iter().flat_map(|&(number, stature)| vec![stature; number]).collect();
        let formation = if two_rows { Formation::TwoRows } else { Formation::Row };
        let mut plan = plan(&statures, formation, Shot::FullBody);
        let of = kinds.iter().enumerate().flat_map(|(kind, &(number, _))| vec![kind; number]);
        plan.subjects.iter_mut().zip(of).for_each(|(subject, kind)| subject.kind = kind);
        let layout = arrange(&plan, &options(formation, &[(1536, 768)], CELL)).unwrap();
        for depth in 0..2 {
            let mut row: Vec<(f64, usize)> = layout.subjects.iter().zip(&plan.subjects)
                .filter(|(placement, _)| placement.depth == depth)
                .map(|(placement, subject)| (placement.bounds.edges().left, subject.kind))
                .collect();
            row.sort_by(|a, b| a.0.total_cmp(&b.0));
            prop_assert!(row.windows(2).all(|it| it[0].1 <= it[1].1), "{row:?}");
        }
    }
}

#[test]
fn the_brief_says_how_the_group_stands_unless_the_options_do() {
    let rows = |brief, asked| {
        let layout = arrange(&plan(&[1.0; 4], brief, Shot::Waist), &starter(asked)).unwrap();
        layout.subjects.iter().map(|it| it.depth).max().unwrap() + 1
    };
    assert_eq!(rows(Formation::TwoRows, Formation::Auto), 2);
    assert_eq!(rows(Formation::Row, Formation::Auto), 1);
    assert_eq!(rows(Formation::TwoRows, Formation::Row), 1);
    assert_eq!(rows(Formation::Row, Formation::TwoRows), 2);
}

#[test]
fn the_taller_half_stands_in_the_back_in_the_order_of_the_plan() {
    let back = |statures: &[f64]| -> Vec<usize> {
        let plan = plan(statures, Formation::TwoRows, Shot::Waist);
        let layout = arrange(&plan, &starter(Formation::Auto)).unwrap();
        (0..statures.len()).filter(|&it| layout.subjects[it].depth == 0).collect()
    };
    assert_eq!(back(&[1.0; 5]), [0, 1]);
    assert_eq!(back(&[0.6, 1.0, 0.7, 0.9, 1.0]), [1, 4]);
    assert_eq!(back(&[0.6, 0.8]), [1]);
}

#[test]
fn people_alone_in_a_picture_are_as_tall_as_any() {
    let top = |stature: f64| {
        let plan = plan(&[stature], Formation::Auto, Shot::Waist);
        arrange(&plan, &starter(Formation::Auto)).unwrap().subjects[0].bounds
    };
    assert_eq!(top(0.6), top(1.0));
}

#[test]
fn a_painter_of_wide_people_gets_narrow_boxes_only_for_whom_it_draws_narrow() {
    let with = |shot: Shot, narrow: Option<&[&str]>| {
        let plan = plan(&[1.0; 3], Formation::Row, shot);
        let mut options = starter(Formation::Auto);
        options.narrow = narrow.map(|it| it.iter().map(|&noun| noun.to_owned()).collect());
        arrange(&plan, &options).unwrap().subjects
    };
    let (wide, narrow) = (with(Shot::Waist, None), with(Shot::FullBody, None));
    assert_ne!(wide, narrow);
    let noun = plan(&[1.0], Formation::Row, Shot::FullBody).subjects[0].noun.clone();
    assert_eq!(with(Shot::FullBody, Some(&["runner"])), wide);
    assert_eq!(with(Shot::FullBody, Some(&["runner", &noun])), narrow);
    assert_eq!(with(Shot::Waist, Some(&[&noun])), wide);
    // One who is drawn wide wants wide boxes for everybody.
    let mut mixed = plan(&[1.0; 3], Formation::Row, Shot::FullBody);
    mixed.subjects[1].noun = "runner".to_owned();
    let mut options = starter(Formation::Auto);
    options.narrow = Some(vec![noun]);
    let bounds = |it: Vec<Placement>| it.into_iter().map(|it| it.bounds).collect::<Vec<_>>();
    assert_eq!(bounds(arrange(&mixed, &options).unwrap().subjects), bounds(wide));
}

#[test]
fn the_back_row_is_higher_even_behind_the_smallest_people() {
    let statures = [1.0, 0.2];
    let minimum = MinimumBox { width: 8, height: 8 };
    let plan = plan(&statures, Formation::TwoRows, Shot::FullBody);
    let options = options(Formation::Auto, &[(768, 512)], minimum);
    check_promises(&arrange(&plan, &options).unwrap(), &statures, minimum);
}

#[test]
fn the_smallest_canvas_that_is_as_good_wins_whatever_their_order() {
    for people in 1..=8 {
        let plan = plan(&vec![1.0; people], Formation::Auto, Shot::Waist);
        let mut options = starter(Formation::Auto);
        let layout = arrange(&plan, &options).unwrap();
        options.canvases.reverse();
        assert_eq!(arrange(&plan, &options).unwrap(), layout);
    }
}
