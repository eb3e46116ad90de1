//! What regions promise: exact areas, weights that add up, and who is in front.

use proptest::{prelude::*, prop_compose, proptest};

use super::*;

prop_compose! {
    fn boxes()(x in 0.0..0.9_f64, y in 0.0..0.9_f64, w in 0.01..1.0_f64, h in 0.01..1.0_f64) -> BoundingBox {
        BoundingBox::new(x, y, (x + w).min(1.0), (y + h).min(1.0)).unwrap()
    }
}
prop_compose! {
    fn places()(bounds in boxes(), depth in 0..4_u32) -> Placed { Placed { bounds, depth } }
}
prop_compose! {
    fn grids()(height in 1..=48_usize, width in 1..=48_usize) -> TokenGrid { TokenGrid { height, width } }
}

fn at(left: f64, right: f64, depth: u32) -> Placed {
    Placed { bounds: BoundingBox::new(left, 0.0, right, 1.0).unwrap(), depth }
}

#[test]
fn left_half_of_a_three_token_row() {
    let parts = visible(&[at(0.0, 0.5, 0)], TokenGrid { height: 1, width: 3 });
    for (part, expected) in parts[0].iter().zip([1.0, 0.5, 0.0]) {
        assert!((part - expected).abs() < 1e-12, "{parts:?}");
    }
}

#[test]
fn the_subject_in_front_owns_the_overlap() {
    let grid = TokenGrid { height: 1, width: 4 };
    assert_eq!(
        visible(&[at(0.0, 0.75, 1), at(0.25, 1.0, 0)], grid),
        [[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    );
    assert_eq!(visible(&[at(0.0, 0.75, 0), at(0.25, 1.0, 0)], grid)[0], [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn no_number_makes_a_box_of_nonsense() {
    for (left, right) in [(0.5, 0.5), (f64::NAN, 0.5), (-0.1, 0.5), (0.5, 1.1), (0.6, 0.5)] {
        assert!(BoundingBox::new(left, 0.0, right, 1.0).is_err(), "{left} {right}");
        assert!(BoundingBox::new(0.0, left, 1.0, right).is_err(), "{left} {right}");
    }
}

#[test]
fn one_whole_region_silences_the_base() {
    let map = Regions::new(vec![at(0.0, 1.0, 0)], 0.0).map(TokenGrid { height: 5, width: 7 });
    assert!(map.base.iter().all(|&weight| weight == 0.0));
    assert!(map.regions[0].iter().all(|&weight| (weight - 1.0).abs() < f32::EPSILON));
    assert!(map.owner.iter().all(|&owner| owner == Some(0)));
}

proptest! {
    #[test]
    fn mean_of_a_lone_box_is_its_area_at_every_resolution(bounds in boxes(), grid in grids()) {
        let parts = visible(&[Placed { bounds, depth: 0 }], grid);
        let mean = parts[0].iter().sum::<f64>() / whole(grid.tokens());
        prop_assert!((mean / bounds.area() - 1.0).abs() < 1e-6, "{mean} is not {}", bounds.area());
    }

    #[test]
    fn weights_of_a_token_sum_to_one(
        placed in prop::collection::vec(places(), 0..6), grid in grids(), base_ratio in 0.0..=1.0_f64,
        feather in prop_oneof![Just(0.0), 0.0..=0.5_f64], strengths in prop::collection::vec(0.0..=1.0_f64, 0..6),
    ) {
        let regions = Regions::new(placed, base_ratio).with_feather(feather);
        let map = regions.with_strengths(&strengths).map(grid);
        for token in 0..grid.tokens() {
            let sum: f32 = map.base[token] + map.regions.iter().map(|it| it[token]).sum::<f32>();
            prop_assert!((sum - 1.0).abs() < 1e-5, "token {token} sums to {sum}");
            prop_assert!(map.regions.iter().all(|it| 0.0 <= it[token]));
        }
    }

    #[test]
    fn a_whole_cell_is_of_the_box_that_it_shows(
        placed in prop::collection::vec(places(), 0..5), grid in grids(),
    ) {
        let (parts, owners) = (visible(&placed, grid), front_most(&placed, grid));
        for (token, owner) in owners.into_iter().enumerate() {
            let whole = parts.iter().position(|part| 1.0 <= part[token]);
            let none = parts.iter().all(|part| part[token] == 0.0);
            prop_assert!(whole.is_none() || owner == whole, "token {token}: {owner:?}, {whole:?}");
            prop_assert!(!none || owner.is_none(), "token {token}: {owner:?}, and nobody is there");
        }
    }

    #[test]
    fn a_box_in_front_takes_and_never_gives(placed in prop::collection::vec(places(), 1..5), grid in grids()) {
        let alone = visible(&placed[..1], grid);
        let among = visible(&placed, grid);
        for (alone, among) in alone[0].iter().zip(&among[0]) {
            prop_assert!(*among <= alone + 1e-9);
        }
    }
}
