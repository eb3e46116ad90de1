//! What a refusal says would fit does fit, and no more than that.

use super::*;

/// What a refusal offers is laid out, and one person or step more than that isn't.
pub(super) fn check_offers(statures: &[f64], options: &Options, offers: &NoRoom) {
    let layout = |people: usize, formation, canvases: &[Canvas]| {
        let statures: Vec<f64> = statures.iter().copied().cycle().take(people).collect();
        let plan = plan(&statures, Formation::Auto, Shot::Waist);
        let canvases = canvases.to_vec();
        arrange(&plan, &Options { formation, canvases, minimum: options.minimum, narrow: None })
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
