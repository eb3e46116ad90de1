//! Typical layouts as numbers, as SVG and as pixels.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

prop_compose! {
    /// Pixels take time, and larger pictures are drawn like these.
    fn small_sides()(width in 8..=160_u32, height in 8..=40_u32) -> (u32, u32) {
        (width * 8, height * 8)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

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
