//! What every layout keeps to, that refusals are honest, and what typical layouts look like.

use std::fmt::Write as _;

use proptest::prelude::*;
use troupe_core::axis::Scope;
use troupe_core::brief::{Brief, Kind};
use troupe_core::plan::{Assigned, AxisProof, Subject, ValueDefinition};
use troupe_core::region::Edges;
use troupe_core::seed::Seed;

use super::*;

/// Rounding of positions on a canvas of at most 4096 pixels.
const TOLERANCE: f64 = 1e-9;

/// The least that must be seen for a UNet with three levels of halving above 8-pixel latents.
const CELL: MinimumBox = MinimumBox { width: 32, height: 32 };

fn plan(statures: &[f64], formation: Formation, shot: Shot) -> ScenePlan {
    let people = u32::try_from(statures.len()).unwrap();
    let name = |index: usize| format!("v{index}");
    let values = statures.iter().enumerate().map(|(index, &stature)| ValueDefinition {
        name: name(index),
        phrase: String::new(),
        also: Vec::new(),
        stature: Some(stature),
    });
    let subjects = (0..statures.len()).map(|index| Subject {
        id: format!("s{}", index + 1),
        kind: 0,
        noun: "farmer".to_owned(),
        values: vec![Assigned { axis: "height".to_owned(), value: name(index), stated: false }],
        also: Vec::new(),
        sub_prompt: format!("a farmer with <hat & scarf> number {index}"),
        edited: false,
    });
    ScenePlan {
        schema: ScenePlan::SCHEMA.to_owned(),
        prompt: "farmers".to_owned(),
        loras: Vec::new(),
        picture: 1,
        run_seed: Seed(7),
        seed: Seed(8),
        edited: false,
        brief: Brief {
            people: vec![Kind {
                number: Some(people),
                noun: "farmer".to_owned(),
                stated: Vec::new(),
            }],
            activity: String::new(),
            clothing: String::new(),
            setting: "on a farm".to_owned(),
            style: String::new(),
            formation,
            shot,
        },
        base_prompt: "on a farm".to_owned(),
        subjects: subjects.collect(),
        axes: vec![AxisProof {
            axis: "height".to_owned(),
            applies_to: None,
            scope: Scope::Image,
            stream: "height".to_owned(),
            mixed: Vec::new(),
            values: values.collect(),
            cells: Vec::new(),
            marginal: Vec::new(),
        }],
        notes: Vec::new(),
    }
}

fn canvases(sizes: &[(u32, u32)]) -> Vec<Canvas> {
    sizes.iter().map(|&(width, height)| Canvas::new(width, height).unwrap()).collect()
}

fn options(formation: Formation, sizes: &[(u32, u32)], minimum: MinimumBox) -> Options {
    Options { formation, canvases: canvases(sizes), minimum }
}

fn starter(formation: Formation) -> Options {
    options(formation, &[(192, 192), (256, 192), (384, 192)], CELL)
}

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

prop_compose! {
    /// Pixels take time, and larger pictures are drawn like these.
    fn small_sides()(width in 8..=160_u32, height in 8..=40_u32) -> (u32, u32) {
        (width * 8, height * 8)
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

    #[test]
    fn every_drawing_shows_everybody(
        statures in prop::collection::vec(0.5..1.2_f64, 1..=12), size in small_sides(),
    ) {
        let plan = plan(&statures, Formation::Auto, Shot::Waist);
        let Ok(layout) = arrange(&plan, &options(Formation::Auto, &[size], CELL)) else {
            return Ok(());
        };
        let svg = drawing::svg(&layout);
        prop_assert_eq!(svg.matches("<title>").count(), statures.len());
        prop_assert!(svg.contains("&lt;hat &amp; scarf&gt;") && !svg.contains("<hat"));
        let preview = drawing::preview(&layout);
        prop_assert!(size.0 <= preview.width() && size.1 < preview.height());
    }
}

/// What a refusal offers is laid out, and one person or step more than that isn't.
fn check_offers(statures: &[f64], options: &Options, offers: &NoRoom) {
    let layout = |people: usize, formation, canvases: &[Canvas]| {
        let statures: Vec<f64> = statures.iter().copied().cycle().take(people).collect();
        let plan = plan(&statures, Formation::Auto, Shot::Waist);
        let canvases = canvases.to_vec();
        arrange(&plan, &Options { formation, canvases, minimum: options.minimum })
    };
    assert_eq!(offers.people, statures.len());
    assert!(offers.most < offers.people, "{offers}");
    if 0 < offers.most {
        assert!(layout(offers.most, options.formation, &[offers.canvas]).is_ok(), "{offers}");
    }
    assert!(layout(offers.most + 1, options.formation, &options.canvases).is_err(), "{offers}");
    if let Some(other) = offers.other {
        assert!(layout(offers.people, other, &options.canvases).is_ok(), "{offers}");
    }
    if let Some(larger) = offers.larger {
        assert!(layout(offers.people, options.formation, &[larger]).is_ok(), "{offers}");
        for (width, height) in [(8, 0), (0, 8)] {
            let (width, height) = (larger.width() - width, larger.height() - height);
            let known = width < offers.canvas.width() || height < offers.canvas.height();
            if let (false, Ok(smaller)) = (known, Canvas::new(width, height)) {
                assert!(layout(offers.people, options.formation, &[smaller]).is_err(), "{offers}");
            }
        }
    }
}

#[track_caller]
fn check_refusal(people: usize, formation: Formation, sizes: &[(u32, u32)], cell: u32, said: &str) {
    let plan = plan(&vec![1.0; people], Formation::Auto, Shot::Waist);
    let minimum = MinimumBox { width: cell, height: cell };
    let error = arrange(&plan, &options(formation, sizes, minimum)).unwrap_err();
    assert_eq!(error.to_string(), said);
}

#[test]
fn a_refusal_says_what_would_fit() {
    check_refusal(
        8,
        Formation::Row,
        &[(128, 192), (192, 192)],
        32,
        "8 people need boxes of at least 32x32 pixels; at most 6 fit in one row on 192x192; \
         all would fit in two rows, or on a canvas of at least 256x192",
    );
    check_refusal(
        8,
        Formation::TwoRows,
        &[(384, 64)],
        40,
        "8 people need boxes of at least 40x40 pixels; at most 1 fit in two rows on 384x64; \
         all would fit in one row, or on a canvas of at least 384x80",
    );
    check_refusal(
        12,
        Formation::Auto,
        &[(64, 64)],
        32,
        "12 people need boxes of at least 32x32 pixels; at most 4 fit in one row or two on 64x64; \
         all would fit on a canvas of at least 192x64",
    );
    check_refusal(
        1,
        Formation::Auto,
        &[(64, 64)],
        65,
        "1 person needs a box of at least 65x65 pixels; nobody fits in one row or two on 64x64; \
         all would fit on a canvas of at least 72x72",
    );
    check_refusal(
        12,
        Formation::Row,
        &[(4096, 64)],
        400,
        "12 people need boxes of at least 400x400 pixels; nobody fits in one row on 4096x64",
    );
    check_refusal(
        3,
        Formation::Row,
        &[],
        32,
        "wanted at least one canvas to choose from, and there is none",
    );
}

#[test]
fn a_plan_that_is_none_is_refused() {
    let crowd = plan(&[1.0; 13], Formation::Row, Shot::Waist);
    let nobody = plan(&[], Formation::Row, Shot::Waist);
    let shapeless = plan(&[1.0, f64::NAN], Formation::Row, Shot::Waist);
    for plan in [crowd, nobody, shapeless] {
        let error = arrange(&plan, &starter(Formation::Auto)).unwrap_err();
        assert!(matches!(error, LayoutError::Plan(_)), "{error}");
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

/// One line a layout: canvas, then for each person depth and box in pixels.
fn line(layout: &Layout) -> String {
    let (width, height) = (f64::from(layout.canvas.width()), f64::from(layout.canvas.height()));
    let mut line = format!("{width}x{height}");
    for it in &layout.subjects {
        let edges = it.bounds.edges();
        write!(
            line,
            " | {}: {:.0},{:.0} {:.0}x{:.0}",
            it.depth,
            edges.left * width,
            edges.top * height,
            it.bounds.width() * width,
            it.bounds.height() * height
        )
        .unwrap();
    }
    line
}

#[test]
fn typical_groups() {
    let mut table = String::new();
    for shot in [Shot::Waist, Shot::FullBody] {
        for people in 1..=8 {
            let plan = plan(&vec![1.0; people], Formation::Auto, shot);
            let layout = arrange(&plan, &starter(Formation::Auto)).unwrap();
            writeln!(table, "{people} {shot:?} {}", line(&layout)).unwrap();
        }
    }
    for (width, height) in [(192, 192), (256, 192), (384, 192)] {
        for people in 1..=8 {
            let plan = plan(&vec![1.0; people], Formation::Auto, Shot::Waist);
            let options = options(Formation::Auto, &[(width, height)], CELL);
            writeln!(table, "{people} alone on {}", line(&arrange(&plan, &options).unwrap()))
                .unwrap();
        }
    }
    let family = [1.0, 0.6, 0.95, 0.5, 0.7];
    for formation in [Formation::Row, Formation::TwoRows] {
        let plan = plan(&family, formation, Shot::FullBody);
        let options = options(Formation::Auto, &[(768, 512)], MinimumBox { width: 64, height: 64 });
        writeln!(table, "family {}", line(&arrange(&plan, &options).unwrap())).unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_drawing_of_two() {
    let plan = plan(&[1.0, 0.7], Formation::Row, Shot::Waist);
    let layout = arrange(&plan, &starter(Formation::Auto)).unwrap();
    insta::assert_snapshot!(drawing::svg(&layout));
}

#[test]
fn a_drawing_goes_from_back_to_front() {
    let plan = plan(&[0.6, 1.0], Formation::TwoRows, Shot::Waist);
    let svg = drawing::svg(&arrange(&plan, &starter(Formation::Auto)).unwrap());
    assert!(svg.find("#1 s2").unwrap() < svg.find("#2 s1").unwrap(), "{svg}");
}

#[test]
fn a_preview_shows_the_front_row_on_top() {
    let plan = plan(&[1.0, 1.0, 1.0], Formation::TwoRows, Shot::Waist);
    let layout = arrange(&plan, &starter(Formation::TwoRows)).unwrap();
    let preview = drawing::preview(&layout);
    let ratio = f64::from(layout.canvas.height()) / f64::from(layout.canvas.width());
    // A little above a box's bottom edge, where no letters stand.
    let colour = |at: usize, across: f64| {
        let edges = layout.subjects[at].bounds.edges();
        let x = edges.left + across * (edges.right - edges.left);
        let y = (edges.bottom - 0.02) * ratio;
        let pixel = |share: f64| {
            (0..preview.width()).rfind(|&it| f64::from(it) <= share * f64::from(preview.width()))
        };
        *preview.get_pixel(pixel(x).unwrap(), pixel(y).unwrap())
    };
    assert_ne!(colour(1, 0.5), colour(2, 0.5));
    assert_eq!(colour(0, 0.1), colour(1, 0.5));
    assert_eq!(colour(0, 0.9), colour(2, 0.5));
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
