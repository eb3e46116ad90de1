//! Why a plan can't be laid out, and what would fit instead.

use std::fmt;

use troupe_core::brief::{Formation, MAXIMUM_SUBJECTS};
use troupe_core::layout::Canvas;

use crate::{MinimumBox, area, solve};

/// Why a plan can't be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The plan breaks a rule of its own.
    #[error("not a valid plan: {0}")]
    Plan(String),
    /// There was no canvas to choose from.
    #[error("wanted at least one canvas to choose from, and there is none")]
    NoCanvas,
    /// The people don't fit.
    #[error("{0}")]
    NoRoom(NoRoom),
}

/// People that fit on no canvas, and what would fit. Every offer holds by itself, all else as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// How many people there are.
    pub people: usize,
    /// How they were to stand; `Auto` if both ways were tried.
    pub formation: Formation,
    /// What must be seen of each.
    pub minimum: MinimumBox,
    /// Of the canvases the one on which most people fit.
    pub canvas: Canvas,
    /// How many people fit there; 0 if not even one does.
    pub most: usize,
    /// The other formation, if the people fit so.
    pub other: Option<Formation>,
    /// A canvas on which they fit as they were to stand; none if it would have to be too large.
    pub larger: Option<Canvas>,
}

/// Finds out what would fit; `None` if there is no canvas at all.
pub(crate) fn no_room(
    people: usize,
    formation: Formation,
    canvases: &[Canvas],
    minimum: MinimumBox,
) -> Option<NoRoom> {
    let most = |canvas: Canvas| {
        let fits = |people| fits(people, formation, canvas, minimum);
        (1..=MAXIMUM_SUBJECTS as usize).rev().find(|&people| fits(people)).unwrap_or(0)
    };
    let mut canvases = canvases.to_vec();
    canvases.sort_by_key(|canvas| area(*canvas));
    let canvas = canvases.iter().copied().rev().max_by_key(|&canvas| most(canvas))?;
    let other = match formation {
        Formation::Row => Some(Formation::TwoRows),
        Formation::TwoRows => Some(Formation::Row),
        Formation::Auto => None,
    };
    let fits_somewhere =
        |&other: &Formation| canvases.iter().any(|&it| fits(people, other, it, minimum));
    let larger = rows(formation)
        .iter()
        .filter_map(|&rows| larger(people, rows, canvas, minimum))
        .min_by_key(|canvas| area(*canvas));
    let other = other.filter(fits_somewhere);
    Some(NoRoom { people, formation, minimum, canvas, most: most(canvas), other, larger })
}

fn fits(people: usize, formation: Formation, canvas: Canvas, minimum: MinimumBox) -> bool {
    rows(formation).iter().any(|&rows| solve::fits(people, rows, canvas, minimum))
}

fn rows(formation: Formation) -> &'static [usize] {
    match formation {
        Formation::Row => &[1],
        Formation::TwoRows => &[2],
        Formation::Auto => &[1, 2],
    }
}

/// The canvas with its sides enlarged as far as so many people need it.
fn larger(people: usize, rows: usize, canvas: Canvas, minimum: MinimumBox) -> Option<Canvas> {
    let rows = rows.min(people);
    let side = |side: u32, boxes: usize, least: u32| {
        let needed = least.max(1).checked_mul(u32::try_from(boxes).ok()?)?;
        side.max(needed).checked_next_multiple_of(8)
    };
    let width = side(canvas.width(), people.div_ceil(rows.max(1)), minimum.width)?;
    let height = side(canvas.height(), rows, minimum.height)?;
    Canvas::new(width, height).ok()
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MinimumBox { width, height } = self.minimum;
        let (one, people) = if self.people == 1 {
            ("a box", "1 person needs".to_owned())
        } else {
            ("boxes", format!("{} people need", self.people))
        };
        write!(f, "{people} {one} of at least {width}x{height} pixels")?;
        let canvas = format!("{}x{}", self.canvas.width(), self.canvas.height());
        match self.most {
            0 => write!(f, "; nobody fits {} on {canvas}", how(self.formation))?,
            most => write!(f, "; at most {most} fit {} on {canvas}", how(self.formation))?,
        }
        let canvas = |it: Canvas| format!("a canvas of at least {}x{}", it.width(), it.height());
        let offers = [self.other.map(|it| how(it).to_owned()), self.larger.map(canvas)];
        match offers {
            [Some(formation), Some(canvas)] => {
                write!(f, "; all would fit {formation}, or on {canvas}")
            }
            [Some(formation), None] => write!(f, "; all would fit {formation}"),
            [None, Some(canvas)] => write!(f, "; all would fit on {canvas}"),
            [None, None] => Ok(()),
        }
    }
}

fn how(formation: Formation) -> &'static str {
    match formation {
        Formation::Row => "in one row",
        Formation::TwoRows => "in two rows",
        Formation::Auto => "in one row or two",
    }
}
