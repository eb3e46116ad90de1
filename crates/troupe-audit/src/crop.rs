//! What a judge gets to see: the window of a box, resized to one size.
//!
//! The window is the box and an eighth of its sides around it. A triangle filter as wide as a pixel
//! of the larger of the two grids resizes it; colours go from -1 to 1, and are 0 beyond the
//! picture's edge. Two more channels say how much of a pixel the boxes in front of this one cover,
//! and those behind it, because whoever stands there is somebody else's business.
//!
//! `models/starter/train/judge/crop.py` does the same; a golden holds the two together.

use troupe_core::region::{BoundingBox, Edges};

use crate::Picture;

/// Columns of a crop.
pub const WIDTH: usize = 96;
/// Rows of a crop.
pub const HEIGHT: usize = 144;
/// Red, green, blue, covered from the front, covered from behind.
pub const CHANNELS: usize = 5;

/// What is added to a box on each side, as a share of its width or height.
const MARGIN: f64 = 0.125;

/// Weights by which some neighbouring pixels become one.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// The crop of a box. Shape `(144, 96, 5)`.
pub fn crop(
    picture: &Picture<'_>,
    bounds: BoundingBox,
    front: &[BoundingBox],
    behind: &[BoundingBox],
) -> Vec<f32> {
    let window = window(bounds.edges());
    let edges = |boxes: &[BoundingBox]| boxes.iter().map(BoundingBox::edges).collect::<Vec<_>>();
    let front = covered(window, &edges(front), (HEIGHT, WIDTH));
    let behind = covered(window, &edges(behind), (HEIGHT, WIDTH));
    let mut out = Vec::with_capacity(HEIGHT * WIDTH * CHANNELS);
    let colours = resized(picture, window, (HEIGHT, WIDTH));
    for (colour, (front, behind)) in colours.iter().zip(front.iter().zip(&behind)) {
        out.extend_from_slice(colour);
        out.extend_from_slice(&[*front, *behind]);
    }
    out
}

/// The window of a box in the middle of a square, and how much of each pixel is to be seen: nothing beyond the window and the
/// picture, nor of what `hidden` covers. Shapes `(side, side)`; colours go from -1 to 1.
pub(crate) fn square(
    picture: &Picture<'_>,
    bounds: BoundingBox,
    hidden: &[BoundingBox],
    side: usize,
) -> (Vec<[f32; 3]>, Vec<f32>) {
    let tight = window(bounds.edges());
    let (width, height) = (real(picture.width()), real(picture.height()));
    let most = ((tight.right - tight.left) * width).max((tight.bottom - tight.top) * height);
    let (x, y) = (tight.left.midpoint(tight.right), tight.top.midpoint(tight.bottom));
    let (half_wide, half_tall) = (most / width / 2.0, most / height / 2.0);
    let whole = Edges {
        left: x - half_wide,
        top: y - half_tall,
        right: x + half_wide,
        bottom: y + half_tall,
    };
    let shown = Edges {
        left: tight.left.max(0.0),
        top: tight.top.max(0.0),
        right: tight.right.min(1.0),
        bottom: tight.bottom.min(1.0),
    };
    let hidden: Vec<Edges> = hidden.iter().map(BoundingBox::edges).collect();
    let hidden = covered(whole, &hidden, (side, side));
    let shown = covered(whole, &[shown], (side, side));
    let seen = shown.iter().zip(&hidden).map(|(shown, hidden)| shown * (1.0 - hidden)).collect();
    (resized(picture, whole, (side, side)), seen)
}

/// A window as so many rows and columns; 0 beyond the picture's edge.
fn resized(picture: &Picture<'_>, window: Edges, (rows, columns): (usize, usize)) -> Vec<[f32; 3]> {
    let (width, height) = (picture.width(), picture.height());
    let cells = rows * columns;
    let rows = filters(window.top * real(height), window.bottom * real(height), rows, height);
    let columns = filters(window.left * real(width), window.right * real(width), columns, width);
    let mut out = Vec::with_capacity(cells);
    let mut line = vec![0.0_f32; width * 3];
    for row in &rows {
        line.fill(0.0);
        let pixels = picture.rgb().chunks_exact(width * 3).skip(row.first);
        for (pixels, weight) in pixels.zip(&row.weights) {
            for (sum, &byte) in line.iter_mut().zip(pixels) {
                *sum += weight * (f32::from(byte) / 127.5 - 1.0);
            }
        }
        for column in &columns {
            let mut colour = [0.0_f32; 3];
            let pixels = line.as_chunks::<3>().0.iter().skip(column.first);
            for (pixel, weight) in pixels.zip(&column.weights) {
                for (sum, value) in colour.iter_mut().zip(pixel) {
                    *sum += weight * value;
                }
            }
            out.push(colour);
        }
    }
    out
}

/// The box with its margin.
fn window(Edges { left, top, right, bottom }: Edges) -> Edges {
    let (x, y) = ((right - left) * MARGIN, (bottom - top) * MARGIN);
    Edges { left: left - x, top: top - y, right: right + x, bottom: bottom + y }
}

/// How the pixels of a side become so many cells between `start` and `end`, which are in pixels.
///
/// The weights of a cell add up to one, those of what lies beyond the edge included.
fn filters(start: f64, end: f64, cells: usize, pixels: usize) -> Vec<Taps> {
    let step = (end - start) / real(cells);
    let support = step.max(1.0);
    let weights = |cell: usize| {
        let centre = start + (real(cell) + 0.5) * step;
        let weight = |pixel: f64| (1.0 - (pixel + 0.5 - centre).abs() / support).max(0.0);
        let (low, high) = ((centre - support).floor(), (centre + support).ceil());
        let mut sum = 0.0;
        let mut at = low;
        while at < high {
            sum += weight(at);
            at += 1.0;
        }
        let inside: Vec<usize> =
            (0..pixels).filter(|&it| low <= real(it) && real(it) < high).collect();
        #[expect(clippy::cast_possible_truncation, reason = "weights are kept in f32")]
        let weights = inside.iter().map(|&it| (weight(real(it)) / sum) as f32).collect();
        Taps { first: inside.first().copied().unwrap_or(0), weights }
    };
    (0..cells).map(weights).collect()
}

/// How much of each pixel of a window the boxes cover: of several, the one that covers most.
///
/// Shape `(rows, columns)`.
fn covered(window: Edges, boxes: &[Edges], (rows, columns): (usize, usize)) -> Vec<f32> {
    let (wide, tall) = (window.right - window.left, window.bottom - window.top);
    let mut out = vec![0.0_f32; rows * columns];
    for Edges { left, top, right, bottom } in boxes {
        let rows = parts((top - window.top) / tall, (bottom - window.top) / tall, rows);
        let columns = parts((left - window.left) / wide, (right - window.left) / wide, columns);
        let cells = rows.iter().flat_map(|row| columns.iter().map(move |column| row * column));
        for (most, cell) in out.iter_mut().zip(cells) {
            *most = most.max(cell);
        }
    }
    out
}

/// The part of each of `cells` cells of the unit interval between `start` and `end`.
fn parts(start: f64, end: f64, cells: usize) -> Vec<f32> {
    let (start, end) = (start * real(cells), end * real(cells));
    let part = |cell: usize| (end.min(real(cell) + 1.0) - start.max(real(cell))).clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "a part of a cell, from 0 to 1")]
    (0..cells).map(|cell| part(cell) as f32).collect()
}

#[expect(clippy::cast_precision_loss, reason = "sides of pictures are far below 2^52")]
fn real(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bounds(left: f64, top: f64, right: f64, bottom: f64) -> BoundingBox {
        BoundingBox::new(left, top, right, bottom).unwrap()
    }

    #[track_caller]
    fn check(crop: &[f32], at: (usize, usize), wanted: [f32; CHANNELS]) {
        let seen = crop.as_chunks::<CHANNELS>().0[at.1 * WIDTH + at.0];
        let near = seen.iter().zip(wanted).all(|(seen, wanted)| (seen - wanted).abs() < 1e-5);
        assert!(near, "{seen:?} at {at:?}, and {wanted:?} was wanted");
    }

    #[test]
    fn a_uniform_picture_is_uniform_and_grey_beyond_its_edge() {
        let bytes = [255, 0, 255].repeat(48 * 32);
        let picture = Picture::new(&bytes, 48, 32).unwrap();
        let crop = crop(&picture, bounds(0.0, 0.25, 0.5, 0.75), &[], &[]);
        check(&crop, (0, 60), [0.0; CHANNELS]); // Left of the picture.
        for at in [(30, 0), (60, 75), (95, 143)] {
            check(&crop, at, [1.0, -1.0, 1.0, 0.0, 0.0]);
        }
    }

    #[test]
    fn boxes_in_front_and_behind_have_channels_of_their_own() {
        let bytes = vec![0; 3 * 64 * 64];
        let picture = Picture::new(&bytes, 64, 64).unwrap();
        let own = bounds(0.25, 0.25, 0.75, 0.75);
        let front = [bounds(0.0, 0.0, 0.5, 1.0)];
        let crop = crop(&picture, own, &front, &[bounds(0.5, 0.5, 1.0, 1.0)]);
        check(&crop, (15, 120), [-1.0, -1.0, -1.0, 1.0, 0.0]);
        check(&crop, (75, 120), [-1.0, -1.0, -1.0, 0.0, 1.0]);
        check(&crop, (75, 15), [-1.0, -1.0, -1.0, 0.0, 0.0]);
    }

    // A tall box at the left edge: beside it, beyond the picture and behind another's box nothing is to be seen.
    #[test]
    fn a_square_shows_its_box_and_no_more() {
        let bytes = [255, 0, 255].repeat(48 * 48);
        let picture = Picture::new(&bytes, 48, 48).unwrap();
        let front = [bounds(0.0, 0.75, 1.0, 1.0)];
        // With its margin from 0 to 1/2 and from 0 to 1.
        let own = bounds(0.05, 0.1, 0.45, 0.9);
        let (colours, seen) = square(&picture, own, &front, 16);
        assert_eq!((colours.len(), seen.len()), (256, 256));
        let at = |x: usize, y: usize| seen[y * 16 + x];
        // The window takes the middle half of the columns; a quarter of the rows is hidden.
        for y in 0..16 {
            for x in 0..16 {
                let wanted = (4..12).contains(&x) && y < 12;
                assert!((at(x, y) - if wanted { 1.0 } else { 0.0 }).abs() < 1e-5, "{x} {y}");
            }
        }
        assert!((colours[8 * 16 + 8][0] - 1.0).abs() < 1e-5);
        let beyond = square(&picture, bounds(0.0, 0.1, 0.4, 0.9), &[], 16).1;
        // The picture begins at 4.8 of its 16 columns, the window at 4.
        assert!((beyond[8 * 16 + 4] - 0.2).abs() < 1e-5 && 0.99 < beyond[8 * 16 + 5]);
    }

    proptest! {
        #[test]
        fn a_crop_lies_within_the_colours_of_its_picture(
            seed in prop::collection::vec(any::<u8>(), 3 * 16 * 24),
            x in 0.0..0.8_f64, y in 0.0..0.8_f64, w in 0.01..0.2_f64, h in 0.01..0.2_f64,
        ) {
            let picture = Picture::new(&seed, 16, 24).unwrap();
            let crop = crop(&picture, bounds(x, y, x + w, y + h), &[], &[]);
            prop_assert_eq!(crop.len(), HEIGHT * WIDTH * CHANNELS);
            prop_assert!(crop.iter().all(|it| it.is_finite() && it.abs() <= 1.0 + 1e-5));
        }
    }
}
