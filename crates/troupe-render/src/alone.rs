//! In the first steps each of several people is painted alone, in a window of the picture, and is then put into it.
//!
//! The first steps decide who is where. A network that paints several people at once lets them run together, whatever
//! its attention is told: its convolutions and norms see all of the picture. So each person has latents of its own, those of the
//! picture around the box, from the same noise, in which there is nobody else; after these steps what stands in the box, and what
//! is around it, takes the picture's place there, and from then on all are painted together. A window's steps cost what its area
//! does; of a picture that the windows cover, these steps aren't taken as a whole.

use candle_core::{Device, Tensor};
use troupe_core::layout::Canvas;
use troupe_core::region::{BoundingBox, TokenGrid};
use troupe_core::seed::Seed;
use troupe_sampler::{Callbacks, NoiseSchedule};

use crate::choice::Trial;
use crate::conditioning::{own_boxes, people};
use crate::denoiser::{Denoiser, Said, first_steps};
use crate::noise::NoiseSource;
use crate::painter::{channels_first, latents_of};
use crate::repaint::Given;
use crate::{Job, Noise, Painter, Person, RegionSettings, RenderError, Scene, Settings, Watcher};

/// How far a window reaches beyond each side of the box, as a share of the box's own.
const MARGIN: f64 = 0.25;

/// What the people are after their steps alone.
#[derive(Default)]
pub(crate) struct Apart {
    /// Before which step, counted from 0, they are put into the picture.
    before: usize,
    each: Vec<(Window, Painted)>,
    /// Whether together they are all of the picture that is painted anew.
    covers: bool,
}

/// A rectangle of latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    top: usize,
    left: usize,
    grid: TokenGrid,
}

/// What stands in a window.
struct Painted {
    /// Shape `(1, height, width, channels)`.
    latents: Tensor,
    /// 1 where the picture takes it, else 0: shape `(1, height, width, 1)`.
    mask: Tensor,
}

impl Painter {
    /// The people of a picture that enters the first step as `entering`, painted alone; nobody where they aren't to be, where
    /// there is only one, and of whom nothing is painted anew.
    ///
    /// Shape `(1, height, width, channels)`.
    pub(crate) fn apart(
        &self,
        trial: Trial<'_>,
        (entering, noise): (&Tensor, &Tensor),
        source: &mut NoiseSource<'_>,
        watcher: &mut dyn Watcher,
    ) -> Result<Apart, RenderError> {
        let Trial { job, said, schedule, given } = trial;
        let (people, settings) = (people(job), job.settings.regions);
        let before = steps_alone(job, schedule.steps().len());
        if before == 0 {
            return Ok(Apart::default());
        }
        let grid = latents_of(job.canvas);
        let windows: Vec<Window> =
            people.iter().map(|person| self.window(person.bounds, grid)).collect();
        let in_boxes = own_boxes(people, settings).map(grid).owner;
        let taken = taken(people, &windows, &in_boxes, grid);
        let own = |of: &[Option<usize>], index: usize| -> Result<Tensor, RenderError> {
            let own = of.iter().map(|it| f32::from(u8::from(*it == Some(index)))).collect();
            let own = Tensor::from_vec(own, (1, grid.height, grid.width, 1), &Device::Cpu)?;
            match given {
                Given::Kept(kept) => kept.only_anew(&own),
                // The first of what is beside the latents is what is painted anew.
                Given::Beside(beside) => Ok((own * beside.narrow(3, 0, 1)?)?),
                Given::Nothing => Ok(own),
            }
        };
        let mut masks = Vec::with_capacity(people.len());
        for index in 0..people.len() {
            if own(&in_boxes, index)?.max_all()?.to_scalar::<f32>()? != 0.0 {
                masks.push((index, own(&taken, index)?));
            }
        }
        let all: Vec<&Tensor> = masks.iter().map(|(_, mask)| mask).collect();
        let covers = given.is_covered_by(&all)?;
        if covers {
            let steps = schedule.steps().len();
            watcher.step(0, steps, &|| channels_first(entering))?;
        }
        let mut apart = Apart { before, each: Vec::with_capacity(masks.len()), covers };
        for (index, mask) in masks {
            let (person, window) = (&people[index], windows[index]);
            let mask = window.of(&mask)?;
            let job = window.job(job, person)?;
            let said = Said {
                context: said.context.of_region(index, window.grid)?,
                composition: None,
                notes: Vec::new(),
            };
            let given = match given {
                Given::Beside(beside) => Given::Beside(window.of(beside)?),
                Given::Kept(_) | Given::Nothing => Given::Nothing,
            };
            let noise = window.of(noise)?;
            let mut denoiser = Denoiser::new(self, (&job, &said), (schedule, &noise), &given)?;
            let step_now = std::cell::Cell::new(0_usize);
            let latents = schedule.first(before).sample_from::<RenderError>(
                window.of(entering)?,
                Callbacks {
                    denoise: &mut |latents, timestep| {
                        denoiser.output(latents, timestep, step_now.get())
                    },
                    step_noise: &mut |step| window.of(&source.step_before(step)?),
                    before_step: &mut |step, latents| {
                        step_now.set(step);
                        watcher.trial()?;
                        Ok(latents)
                    },
                },
            )?;
            apart.each.push((window, Painted { latents, mask }));
        }
        Ok(apart)
    }

    /// The part of the picture in which a person is painted alone: the box and [`MARGIN`] around it, in whole cells of the
    /// deepest level, and on each side at least half of what the network was trained on.
    fn window(&self, bounds: BoundingBox, grid: TokenGrid) -> Window {
        let halvings = self.unet_config.levels.len().saturating_sub(1);
        let cell = 1_usize.checked_shl(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(1);
        let edges = bounds.edges();
        // Nor less than a canvas may have.
        let least = (self.side >> 1).max(8);
        let (left, width) = span(edges.left, edges.right, grid.width, (cell, least));
        let (top, height) = span(edges.top, edges.bottom, grid.height, (cell, least));
        Window { top, left, grid: TokenGrid { height, width } }
    }
}

/// Whose window each latent of the picture is taken from: that of the person in front, in whose box it is, and where there is
/// nobody's box, that of the nearest, as far as its window reaches.
fn taken(
    people: &[Person],
    windows: &[Window],
    in_boxes: &[Option<usize>],
    grid: TokenGrid,
) -> Vec<Option<usize>> {
    let mut taken = in_boxes.to_vec();
    let mut nearest = vec![f64::INFINITY; taken.len()];
    for (index, (person, window)) in people.iter().zip(windows).enumerate() {
        // Of whom nothing is seen, nothing is around.
        if !in_boxes.contains(&Some(index)) {
            continue;
        }
        let edges = person.bounds.edges();
        for row in window.top..window.top + window.grid.height {
            let y = beyond(row, (edges.top, edges.bottom), grid.height);
            for column in window.left..window.left + window.grid.width {
                let token = row * grid.width + column;
                let away = beyond(column, (edges.left, edges.right), grid.width).hypot(y);
                if in_boxes[token].is_none() && away < nearest[token] {
                    nearest[token] = away;
                    taken[token] = Some(index);
                }
            }
        }
    }
    taken
}

/// How many latents the middle of one is beyond the edges of a box, along one side of `all` latents.
#[expect(clippy::cast_precision_loss, reason = "within the picture")]
fn beyond(latent: usize, (low, high): (f64, f64), all: usize) -> f64 {
    let (at, all) = (latent as f64 + 0.5, all as f64);
    (low * all - at).max(at - high * all).max(0.0)
}

/// The first latent and the number of latents of a window along one side of `all` latents.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "within the picture"
)]
fn span(low: f64, high: f64, all: usize, (cell, least): (usize, usize)) -> (usize, usize) {
    let whole = all as f64;
    let wanted = ((high - low) * (1.0 + 2.0 * MARGIN) * whole).ceil() as usize;
    let length = wanted.max(least).next_multiple_of(cell).min(all);
    let middle = f64::midpoint(low, high) * whole;
    let first = (middle - length as f64 / 2.0).round().max(0.0) as usize;
    (first.min(all - length), length)
}

impl Window {
    /// The part of a picture's latents.
    ///
    /// Shape `(1, height, width, channels)` → the window's.
    fn of(self, whole: &Tensor) -> Result<Tensor, RenderError> {
        let Self { top, left, grid } = self;
        Ok(whole.narrow(1, top, grid.height)?.narrow(2, left, grid.width)?.contiguous()?)
    }

    /// What is painted in it.
    fn job(self, job: &Job, person: &Person) -> Result<Job, RenderError> {
        let base = match &job.scene {
            Scene::Plain(prompt) => prompt.clone(),
            Scene::Group { base, .. } => base.clone(),
        };
        let side = |latents: usize| u32::try_from(8 * latents).unwrap_or(u32::MAX);
        let canvas = Canvas::new(side(self.grid.width), side(self.grid.height))
            .map_err(|error| RenderError::Mismatch(error.to_string()))?;
        let bounds = self.bounds(person.bounds, latents_of(job.canvas))?;
        let settings = job.settings.regions;
        // A share of the window's shorter side that is as wide as the picture's.
        let shorter = |canvas: Canvas| f64::from(canvas.width().min(canvas.height()));
        let feather = settings.feather * shorter(job.canvas) / shorter(canvas);
        let regions = RegionSettings { isolate: 0.0, outline: 0.0, feather, ..settings };
        Ok(Job {
            canvas,
            scene: Scene::Group { base, people: vec![Person { bounds, ..person.clone() }] },
            negative: job.negative.clone(),
            settings: Settings { regions, ..job.settings },
            // It is cut out of the picture's.
            noise: Noise::Seeded(Seed(0)),
        })
    }

    /// A box of the picture as one of the window.
    #[expect(clippy::cast_precision_loss, reason = "within the picture")]
    fn bounds(self, bounds: BoundingBox, all: TokenGrid) -> Result<BoundingBox, RenderError> {
        let along = |share: f64, all: usize, first: usize, length: usize| {
            ((share * all as f64 - first as f64) / length as f64).clamp(0.0, 1.0)
        };
        let x = |share| along(share, all.width, self.left, self.grid.width);
        let y = |share| along(share, all.height, self.top, self.grid.height);
        let edges = bounds.edges();
        BoundingBox::new(x(edges.left), y(edges.top), x(edges.right), y(edges.bottom))
            .map_err(|error| RenderError::Mismatch(error.to_string()))
    }
}

/// In how many of the first steps each of several people is painted alone: all but the last at most, unless it is to be in all.
pub(crate) fn steps_alone(job: &Job, steps: usize) -> usize {
    let share = job.settings.regions.alone;
    if people(job).len() < 2 {
        return 0;
    }
    let most = if share < 1.0 { steps.saturating_sub(1) } else { steps };
    first_steps(share, steps).min(most)
}

impl Apart {
    /// The steps from `first` on, in two parts where people are put into the picture between them: a sampler that remembers
    /// the steps before would go on from a picture without them. Of a picture that is theirs entirely, the first part is left out.
    pub(crate) fn parts(
        &self,
        steps: NoiseSchedule,
        first: usize,
    ) -> impl Iterator<Item = (NoiseSchedule, usize)> {
        let all = steps.steps().len();
        let parts = if self.each.is_empty() {
            [Some((steps, first)), None]
        } else {
            let before = self.before.min(all);
            let then = (before < all).then(|| (steps.last(all - before), first + before));
            [(!self.covers).then(|| (steps.first(before), first)), then]
        };
        parts.into_iter().flatten()
    }

    /// Latents as they enter a step, with the people in them if it is the one.
    ///
    /// Shape `(1, height, width, channels)` → the same.
    pub(crate) fn put(&self, latents: Tensor, step: usize) -> Result<Tensor, RenderError> {
        if step != self.before {
            return Ok(latents);
        }
        let mut latents = latents;
        for (window, Painted { latents: own, mask }) in &self.each {
            let there = window.of(&latents)?;
            let mixed =
                (own.broadcast_mul(mask)? + there.broadcast_mul(&mask.affine(-1.0, 1.0)?)?)?;
            let Window { top, left, grid } = *window;
            let (rows, columns) = (top..top + grid.height, left..left + grid.width);
            let channels = 0..latents.dim(3)?;
            latents = latents.slice_assign(&[0..1, rows, columns, channels], &mixed)?;
        }
        Ok(latents)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use troupe_sampler::{Sampler, SamplingOptions, Schedule, SchedulerConfig};

    use super::*;

    #[test]
    fn a_window_has_whole_cells_around_the_box_and_lies_in_the_picture() {
        // A box from 12 to 24 of 48 latents wants three more on each side: 18, and of cells of 4, 20.
        assert_eq!(span(0.25, 0.5, 48, (4, 0)), (8, 20));
        assert_eq!(span(0.25, 0.5, 48, (4, 24)), (6, 24), "at least so many");
        assert_eq!(span(0.0, 0.25, 48, (4, 0)), (0, 20), "not beyond the first");
        assert_eq!(span(0.75, 1.0, 48, (4, 0)), (28, 20), "nor the last");
        assert_eq!(span(0.0, 1.0, 48, (4, 0)), (0, 48), "and no larger than the picture");
        assert_eq!(span(0.1, 0.9, 50, (4, 0)), (0, 50), "of whatever size that is");
    }

    #[test]
    fn a_box_is_where_it_was_in_the_window() {
        let window = Window { top: 0, left: 8, grid: TokenGrid { height: 24, width: 20 } };
        let bounds = BoundingBox::new(0.25, 0.5, 0.5, 1.0).unwrap();
        let found = window.bounds(bounds, TokenGrid { height: 24, width: 48 }).unwrap().edges();
        let wanted = [4.0 / 20.0, 0.5, 16.0 / 20.0, 1.0];
        let found = [found.left, found.top, found.right, found.bottom];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn what_is_around_a_box_is_the_nearests_as_far_as_the_windows_reach() {
        let at = |left, right| BoundingBox::new(left, 0.0, right, 1.0).unwrap();
        let people = [at(0.2, 0.3), at(0.6, 0.8)].map(|bounds| Person::new("x", bounds, 0));
        let grid = |width| TokenGrid { height: 1, width };
        let windows =
            [(0, 6), (3, 6)].map(|(left, width)| Window { top: 0, left, grid: grid(width) });
        let in_boxes = own_boxes(&people, RegionSettings::new(0.0, 0.0)).map(grid(10)).owner;
        let of: Vec<usize> = in_boxes.iter().map(|it| it.map_or(9, |it| it)).collect();
        assert_eq!(of, [9, 9, 0, 9, 9, 9, 1, 1, 9, 9]);
        let found = taken(&people, &windows, &in_boxes, grid(10));
        let found: Vec<usize> = found.iter().map(|it| it.map_or(9, |it| it)).collect();
        assert_eq!(found, [0, 0, 0, 0, 0, 1, 1, 1, 1, 9]);
    }

    #[test]
    fn a_sampler_starts_anew_where_people_are_put_in() {
        let options = SamplingOptions::new(Sampler::Ddim, Schedule::Uniform, 5);
        let config = SchedulerConfig::parse("{}").unwrap();
        let steps = NoiseSchedule::new(&config, options).unwrap();
        let latents = Tensor::zeros((1, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
        let window = Window { top: 0, left: 0, grid: TokenGrid { height: 1, width: 1 } };
        let parts = |before: usize, people: bool, covers: bool| -> Vec<(usize, usize)> {
            let painted = Painted { latents: latents.clone(), mask: latents.clone() };
            let each = if people { vec![(window, painted)] } else { Vec::new() };
            let apart = Apart { before, each, covers };
            apart.parts(steps.clone(), 0).map(|(part, first)| (part.steps().len(), first)).collect()
        };
        assert_eq!(parts(2, true, false), [(2, 0), (3, 2)]);
        assert_eq!(parts(2, true, true), [(3, 2)]);
        assert_eq!(parts(5, true, false), [(5, 0)]);
        assert_eq!(parts(5, true, true), []);
        assert_eq!(parts(2, false, false), [(5, 0)]);
    }

    #[test]
    fn people_are_put_into_the_picture_once_and_only_where_they_are_in_front() {
        let full = |value: f32, height, width, channels| {
            Tensor::full(value, (1, height, width, channels), &Device::Cpu).unwrap()
        };
        let window = Window { top: 1, left: 1, grid: TokenGrid { height: 1, width: 2 } };
        let mask = Tensor::from_vec(vec![1.0_f32, 0.0], (1, 1, 2, 1), &Device::Cpu).unwrap();
        let each = vec![(window, Painted { latents: full(2.0, 1, 2, 2), mask })];
        let apart = Apart { before: 3, each, covers: false };
        let at = |step| -> Vec<f32> {
            apart.put(full(1.0, 2, 3, 2), step).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        assert_eq!(at(2), [1.0; 12]);
        assert_eq!(at(3), [[1.0; 8].as_slice(), &[2.0; 2], &[1.0; 2]].concat());
        assert_eq!(at(4), [1.0; 12]);
    }
}
