//! One formation on one canvas: how tall, how wide, and where.
//!
//! Everybody begins at the size that a photographer would choose. Where there is too little room,
//! people first get closer (narrower boxes), then smaller, and in the end all boxes are the minimum
//! box; a formation fits a canvas exactly if these fit. Sizes are found by bisection on numbers
//! that only make boxes larger, so what was tried last and fitted is what is returned.
//!
//! All lengths here are pixels; statures are relative to the tallest person in the picture.

use troupe_core::brief::Shot;
use troupe_core::layout::Canvas;
use troupe_core::region::BoundingBox;

use crate::{MinimumBox, OVERLAP_BUDGET};

/// What is to be arranged, and on what.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    /// One for each person, in the order of the plan.
    pub(crate) statures: &'a [f64],
    pub(crate) shot: Shot,
    pub(crate) canvas: Canvas,
    pub(crate) minimum: MinimumBox,
}

/// Where everybody stands, in the order of the plan.
pub(crate) struct Arrangement {
    pub(crate) places: Vec<Place>,
    /// What is seen of the person of whom least is seen, for an adult's height; in pixels.
    pub(crate) least_seen: f64,
}

/// Where one person stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) bounds: BoundingBox,
    pub(crate) depth: u32,
}

/// How large a photographer would have people.
struct Figure {
    /// Height of an adult in a lone row, as a share of the picture's.
    alone: f64,
    /// The same for the front one of two rows.
    in_front: f64,
    /// Least and best width of a box, as a share of its height.
    aspect: (f64, f64),
    /// Room under the lowest line, as a share of the picture's height.
    foot: f64,
}

/// Room above the highest head, as a share of the picture's height.
const HEADROOM: f64 = 0.05;

/// How tall the same person is in the back row.
const FURTHER_AWAY: f64 = 0.9;

/// Room between two neighbours, as a share of their mean width, where there is plenty.
const ELBOWROOM: f64 = 0.3;

/// Halvings of an interval; more than an `f64` has digits.
const HALVINGS: u32 = 60;

/// From back to front: people as indices into the plan, left to right.
type Rows = Vec<Vec<usize>>;

/// The size of people before those of them that are too small are raised to the minimum box.
#[derive(Clone, Copy)]
struct Size {
    /// Of an adult in the front row.
    height: f64,
    /// Width as a share of height.
    aspect: f64,
}

/// Whether so many people fit if everybody has just the minimum box.
pub(crate) fn fits(people: usize, rows: usize, canvas: Canvas, minimum: MinimumBox) -> bool {
    let rows = rows.min(people);
    let (widest, rows) = (people.div_ceil(rows.max(1)) as u64, rows as u64);
    widest * u64::from(minimum.width.max(1)) <= u64::from(canvas.width())
        && rows * u64::from(minimum.height.max(1)) <= u64::from(canvas.height())
}

impl Task<'_> {
    /// Arranges the people in so many rows, one or two; `None` if they don't fit. One person alone
    /// makes one row.
    pub(crate) fn solve(self, rows: usize) -> Option<Arrangement> {
        let people = self.statures.len();
        if !fits(people, rows, self.canvas, self.minimum) || people == 0 {
            return None;
        }
        let rows =
            if rows.min(people) == 2 { self.two_rows() } else { vec![(0..people).collect()] };
        let size = self.size(&rows);
        self.place(&rows, size)
    }

    /// The taller half in the back.
    fn two_rows(self) -> Rows {
        let people = self.statures.len();
        let mut tallest: Vec<usize> = (0..people).collect();
        tallest.sort_by(|&a, &b| self.statures[b].total_cmp(&self.statures[a]).then(a.cmp(&b)));
        let (back, front) = tallest.split_at(people - people.div_ceil(2));
        let (mut back, mut front) = (back.to_vec(), front.to_vec());
        back.sort_unstable();
        front.sort_unstable();
        vec![back, front]
    }

    /// The largest size at which the rows fit.
    fn size(self, rows: &Rows) -> Size {
        let figure = figure(self.shot);
        let (width, height) = self.pixels();
        let share = if rows.len() == 1 { figure.alone } else { figure.in_front };
        let room = height * (1.0 - figure.foot - HEADROOM);
        let ideal = largest(0.0, height * share, |height| {
            self.stack(rows, Size { height, aspect: 0.0 }) <= room
        });

        let wide = |size: Size| rows.iter().all(|row| self.breadth(rows, row, size) <= width);
        let (narrow, best) = figure.aspect;
        if wide(Size { height: ideal, aspect: narrow }) {
            let aspect = largest(narrow, best, |aspect| wide(Size { height: ideal, aspect }));
            return Size { height: ideal, aspect };
        }
        if wide(Size { height: 0.0, aspect: narrow }) {
            let height = largest(0.0, ideal, |height| wide(Size { height, aspect: narrow }));
            return Size { height, aspect: narrow };
        }
        Size {
            height: 0.0,
            aspect: largest(0.0, narrow, |it| wide(Size { height: 0.0, aspect: it })),
        }
    }

    /// Puts the rows on their lines, each centred.
    fn place(self, rows: &Rows, size: Size) -> Option<Arrangement> {
        let (width, height) = self.pixels();
        let stack = self.stack(rows, size);
        let floor = height - (figure(self.shot).foot * height).min(height - stack);
        let front = floor - self.tallest(rows, rows.last()?, size);

        let mut places: Vec<Option<Place>> = vec![None; self.statures.len()];
        let mut least_seen = f64::INFINITY;
        for (depth, row) in (0_u32..).zip(rows) {
            let behind = 1 < rows.len() && depth == 0;
            let covered = if behind { self.overlap(rows, size) } else { 0.0 };
            let line = if behind { front + covered } else { floor };
            let breadth = self.breadth(rows, row, size);
            let neighbours: f64 = row.iter().map(|_| 1.0).sum();
            let gap = ((width - breadth) / neighbours).min(ELBOWROOM * breadth / neighbours);
            let mut left = (width - breadth - gap * (neighbours - 1.0)) / 2.0;
            for &person in row {
                let (wide, tall) = self.extent(rows, row, person, size);
                let bounds = BoundingBox::new(
                    (left / width).max(0.0),
                    ((line - tall) / height).max(0.0),
                    ((left + wide) / width).min(1.0),
                    (line / height).min(1.0),
                );
                places[person] = Some(Place { bounds: bounds.ok()?, depth });
                let stature = self.stature(person);
                least_seen = least_seen.min(wide * (tall - covered) / (stature * stature));
                left += wide + gap;
            }
        }
        Some(Arrangement { places: places.into_iter().collect::<Option<_>>()?, least_seen })
    }

    /// From the highest head to the lowest line.
    fn stack(self, rows: &Rows, size: Size) -> f64 {
        let tallest: f64 = rows.iter().map(|row| self.tallest(rows, row, size)).sum();
        tallest - self.overlap(rows, size)
    }

    /// How far the front row's highest head reaches over the back row's line.
    fn overlap(self, rows: &Rows, size: Size) -> f64 {
        let [back, front] = rows.as_slice() else { return 0.0 };
        let height = |&person: &usize| self.extent(rows, back, person, size).1;
        let shortest = back.iter().map(height).fold(f64::INFINITY, f64::min);
        let seen = f64::from(self.minimum.height.max(1));
        // The last term keeps the back row's line above the front row's.
        let half = self.tallest(rows, front, size) / 2.0;
        (OVERLAP_BUDGET * shortest).min(shortest - seen).min(half).max(0.0)
    }

    fn tallest(self, rows: &Rows, row: &[usize], size: Size) -> f64 {
        row.iter().map(|&it| self.extent(rows, row, it, size).1).fold(0.0, f64::max)
    }

    /// The sum of a row's widths.
    fn breadth(self, rows: &Rows, row: &[usize], size: Size) -> f64 {
        row.iter().map(|&it| self.extent(rows, row, it, size).0).sum()
    }

    /// Width and height of a person's box.
    fn extent(self, rows: &Rows, row: &[usize], person: usize, size: Size) -> (f64, f64) {
        let behind = 1 < rows.len() && rows.first().is_some_and(|it| it.as_slice() == row);
        let distance = if behind { FURTHER_AWAY } else { 1.0 };
        let height = size.height * distance * self.stature(person);
        let height = height.max(f64::from(self.minimum.height.max(1)));
        ((size.aspect * height).max(f64::from(self.minimum.width.max(1))), height)
    }

    /// Relative to the tallest person in the picture.
    fn stature(self, person: usize) -> f64 {
        self.statures[person] / self.statures.iter().copied().fold(0.0, f64::max)
    }

    fn pixels(self) -> (f64, f64) {
        (f64::from(self.canvas.width()), f64::from(self.canvas.height()))
    }
}

/// People as the starter painter's scenes have them: a bust is half to two thirds of the picture's
/// height, in two rows a little less, and stands on its bottom edge; who is seen from head to foot
/// is a sixth taller, narrower, and leaves some ground.
fn figure(shot: Shot) -> Figure {
    match shot {
        Shot::Waist => Figure { alone: 0.66, in_front: 0.54, aspect: (0.85, 0.95), foot: 0.0 },
        Shot::FullBody => Figure { alone: 0.76, in_front: 0.58, aspect: (0.6, 0.8), foot: 0.02 },
    }
}

/// The largest number between `least`, which fits, and `most` that fits; whatever is below a number
/// that fits must fit too.
fn largest(least: f64, most: f64, fits: impl Fn(f64) -> bool) -> f64 {
    if fits(most) {
        return most;
    }
    let (mut least, mut most) = (least, most);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(least, most);
        if fits(middle) {
            least = middle;
        } else {
            most = middle;
        }
    }
    least
}
