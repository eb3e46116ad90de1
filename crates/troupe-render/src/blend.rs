//! A picture with a part of another: whole in the middle, less and less in the feather around it.

use troupe_core::layout::Canvas;

use crate::Repaint;

/// The bytes of `painted` where the picture is painted anew, those of the picture further away than
/// the feather, and between them mixtures in whole steps.
pub(crate) fn blend(painted: &[u8], picture: &Repaint, canvas: Canvas) -> Vec<u8> {
    let width = usize::try_from(canvas.width()).unwrap_or(usize::MAX);
    let steps = picture.feather.saturating_add(1);
    let distances = distances(&picture.anew, width, steps);
    let pairs = painted.as_chunks::<3>().0.iter().zip(picture.rgb.as_chunks::<3>().0);
    let mixed = pairs.zip(distances).flat_map(|((new, old), distance)| {
        let part = steps - distance;
        std::array::from_fn::<u8, 3, _>(|at| mix(old[at], new[at], part, steps))
    });
    mixed.collect()
}

/// `old` with `part` of `steps` parts of `new`, to the nearest byte.
fn mix(old: u8, new: u8, part: u32, steps: u32) -> u8 {
    if part == 0 {
        return old;
    }
    let (part, steps) = (u64::from(part), u64::from(steps));
    let sum = u64::from(old) * (steps - part) + u64::from(new) * part;
    u8::try_from((2 * sum + steps).div_euclid(2 * steps)).unwrap_or(u8::MAX)
}

/// How many pixels each one is from the nearest that is painted anew, a diagonal step as one; `most`
/// for all that are as far or further.
///
/// Two passes over the picture, with the distances of the neighbours that each has seen (Rosenfeld
/// and Pfaltz 1968, "Distance functions on digital pictures"), are exact for this distance.
fn distances(anew: &[bool], width: usize, most: u32) -> Vec<u32> {
    let mut distances: Vec<u32> = anew.iter().map(|&anew| if anew { 0 } else { most }).collect();
    let width = width.max(1);
    let rows = anew.len().div_euclid(width);
    let mut near = |y: usize, x: usize, neighbours: [(Option<usize>, Option<usize>); 4]| {
        let at = |(y, x): (Option<usize>, Option<usize>)| {
            let (y, x) = (y.filter(|&y| y < rows)?, x.filter(|&x| x < width)?);
            Some(distances[y * width + x] + 1)
        };
        let least = neighbours.into_iter().filter_map(at).min().unwrap_or(most);
        let own = &mut distances[y * width + x];
        *own = (*own).min(least);
    };
    for y in 0..rows {
        for x in 0..width {
            let (above, left) = (y.checked_sub(1), x.checked_sub(1));
            let here = (Some(y), left);
            near(y, x, [here, (above, left), (above, Some(x)), (above, Some(x + 1))]);
        }
    }
    for y in (0..rows).rev() {
        for x in (0..width).rev() {
            let (below, right) = (Some(y + 1), Some(x + 1));
            let here = (Some(y), right);
            near(y, x, [here, (below, right), (below, Some(x)), (below, x.checked_sub(1))]);
        }
    }
    distances
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_nearest_pixel() {
        let (width, height, most) = (13_usize, 9_usize, 6);
        for seeds in [vec![], vec![0], vec![116], vec![30, 86], vec![12, 50, 51, 104]] {
            let anew: Vec<bool> = (0..width * height).map(|at| seeds.contains(&at)).collect();
            let place = |at: usize| (at.div_euclid(width), at.rem_euclid(width));
            let expected = (0..width * height).map(|at| {
                let (y, x) = place(at);
                let to = |&seed: &usize| {
                    let (top, left) = place(seed);
                    u32::try_from(y.abs_diff(top).max(x.abs_diff(left))).unwrap()
                };
                seeds.iter().map(to).min().unwrap_or(most).min(most)
            });
            assert_eq!(distances(&anew, width, most), expected.collect::<Vec<_>>(), "{seeds:?}");
        }
    }

    #[test]
    fn the_feather_leads_over_in_whole_steps_and_ends() {
        let canvas = Canvas::new(64, 64).unwrap();
        let anew: Vec<bool> = (0..64 * 64).map(|at| at % 64 == 10).collect();
        let picture = Repaint { rgb: vec![100; 3 * 64 * 64], anew, feather: 3, strength: 1.0 };
        let mixed = blend(&[200; 3 * 64 * 64], &picture, canvas);
        let row: Vec<u8> = (5..16).map(|x| mixed[3 * (64 * 40 + x)]).collect();
        assert_eq!(row, [100, 100, 125, 150, 175, 200, 175, 150, 125, 100, 100]);
        let hard = blend(&[201; 3 * 64 * 64], &Repaint { feather: 0, ..picture }, canvas);
        assert_eq!(hard[3 * 9..3 * 12], [100, 100, 100, 201, 201, 201, 100, 100, 100]);
    }

    #[test]
    fn mixtures_are_rounded_to_the_nearest_byte() {
        assert_eq!([mix(0, 255, 1, 2), mix(255, 0, 1, 3), mix(7, 7, 2, 5)], [128, 170, 7]);
        assert_eq!([mix(3, 9, 0, 1), mix(3, 9, 1, 1)], [3, 9]);
    }
}
