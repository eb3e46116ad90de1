//! Scene plan to boxes: who stands where, as in a group photograph.
//!
//! [`arrange`] is a function of its arguments and of nothing else. It tries every canvas that it
//! may use with every formation that is wanted, and keeps the arrangement in which the person who
//! is seen least is seen best. What it promises of every layout:
//!
//! * all boxes lie inside the picture, symmetrically about its middle where statures allow it;
//! * people of one row stand on one line and never overlap; the back row's line is higher, and the
//!   front row covers at most [`OVERLAP_BUDGET`] of any of its boxes, all of it at the bottom;
//! * what is seen of a box is at least [`MinimumBox`] in both directions;
//! * of two people in a row the one with the smaller stature has the lower head, unless the
//!   minimum box makes them equal;
//! * from left to right a row follows the order of the plan. The back row is the taller half; of
//!   equals the plan's first ones stand in the back. Of an odd number the front row has one more;
//! * people of one kind stand together: a plan has them one after another, and so has each row.
//!   "Three nurses and two patients" side by side are three nurses, then two patients; in two rows
//!   the patients stand in front, unless they are the taller ones.
//!
//! [`drawing::svg`] and [`drawing::preview`] show a layout to a person.

pub mod drawing;
mod error;
mod solve;

pub use error::{LayoutError, NoRoom};

use troupe_core::brief::{Formation, Shot};
use troupe_core::document::Document;
use troupe_core::layout::{Canvas, Layout, Placement};
use troupe_core::plan::ScenePlan;

use crate::solve::{Arrangement, Task};

/// The largest part of a box that those in front of it may cover, in `[0, 1]`.
pub const OVERLAP_BUDGET: f64 = 0.25;

/// From how many people on two rows are an option where nobody says how the group stands.
const TWO_ROWS_FROM: usize = 4;

/// How many times more must be seen of the least seen person before two rows beat one.
const TWO_ROWS_GAIN: f64 = 1.25;

/// What a layout has to keep to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How the group stands; `Auto` is what the brief says, else what fits best.
    pub formation: Formation,
    /// The canvases to choose from: those that the painter is at home on, or the configured one.
    pub canvases: Vec<Canvas>,
    /// The least that must be seen of everybody.
    pub minimum: MinimumBox,
    /// The nouns whose people the painter draws as narrow as somebody who stands, where all others are as wide as seen from the
    /// waist up, whatever is asked for; `None` where it can do both.
    pub narrow: Option<Vec<String>>,
}

/// The least that must be seen of a box, in pixels: the caller takes one cell of the deepest
/// attention map of its model, in which a smaller box would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinimumBox {
    /// In pixels; 0 counts as 1.
    pub width: u32,
    /// In pixels; 0 counts as 1.
    pub height: u32,
}

/// Gives everybody in a plan a box.
///
/// # Errors
///
/// If the plan is none, if there is no canvas to choose from, or if the people fit on none of
/// them; the error then says what would fit.
pub fn arrange(plan: &ScenePlan, options: &Options) -> Result<Layout, LayoutError> {
    plan.check().map_err(LayoutError::Plan)?;
    let statures: Vec<f64> = plan.subjects.iter().map(|it| plan.stature(it)).collect();
    let asked = match options.formation {
        Formation::Auto => plan.brief.formation,
        formation @ (Formation::Row | Formation::TwoRows) => formation,
    };
    let (canvas, arrangement) =
        best(&statures, asked, shot(plan, options), options).ok_or_else(|| {
            error::no_room(statures.len(), asked, &options.canvases, options.minimum)
                .map_or(LayoutError::NoCanvas, LayoutError::NoRoom)
        })?;
    let subjects = plan
        .subjects
        .iter()
        .zip(arrangement.places)
        .map(|(subject, place)| Placement {
            id: subject.id.clone(),
            sub_prompt: subject.sub_prompt.clone(),
            bounds: place.bounds,
            depth: place.depth,
        })
        .collect();
    Ok(Layout {
        schema: Layout::SCHEMA.to_owned(),
        canvas,
        base_prompt: plan.base_prompt.clone(),
        subjects,
        plan: plan.clone(),
    })
}

/// How much of everybody is seen: as the brief says, where the painter can.
fn shot(plan: &ScenePlan, options: &Options) -> Shot {
    let everybody = |narrow: &[String]| plan.subjects.iter().all(|it| narrow.contains(&it.noun));
    match &options.narrow {
        Some(narrow) if !everybody(narrow) => Shot::Waist,
        Some(_) | None => plan.brief.shot,
    }
}

/// The arrangement in which the least seen person is seen best, over canvases and formations; of
/// equals the one on the smallest canvas.
fn best(
    statures: &[f64],
    asked: Formation,
    shot: Shot,
    options: &Options,
) -> Option<(Canvas, Arrangement)> {
    let mut canvases = options.canvases.clone();
    canvases.sort_by_key(|canvas| (area(*canvas), canvas.width()));
    let mut best: Option<(Canvas, Arrangement)> = None;
    for canvas in canvases {
        let task = Task { statures, shot, canvas, minimum: options.minimum };
        let found = match asked {
            Formation::Row => task.solve(1),
            Formation::TwoRows => task.solve(2),
            Formation::Auto => {
                let row = task.solve(1);
                let gain =
                    if statures.len() < TWO_ROWS_FROM { f64::INFINITY } else { TWO_ROWS_GAIN };
                better(row, task.solve(2), gain)
            }
        };
        let so_far = best.as_ref().map_or(0.0, |(_, it)| it.least_seen);
        best = match found {
            Some(it) if so_far < it.least_seen => Some((canvas, it)),
            Some(_) | None => best,
        };
    }
    best
}

/// The second, if it shows the least seen person more than `gain` times better than the first.
fn better(
    first: Option<Arrangement>,
    second: Option<Arrangement>,
    gain: f64,
) -> Option<Arrangement> {
    match (first, second) {
        (Some(first), Some(second)) if first.least_seen * gain < second.least_seen => Some(second),
        (None, other) | (other, _) => other,
    }
}

fn area(canvas: Canvas) -> u64 {
    u64::from(canvas.width()) * u64::from(canvas.height())
}

#[cfg(test)]
mod tests;
