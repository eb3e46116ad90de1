//! A second pass over small people: each is cut out with what is around, enlarged to a size at which the model is at home,
//! painted again from part of the noise, and put back.
//!
//! Only what is seen of the person's box changes, and the feather around it. Whom a window cuts keeps the part that is in it,
//! and the prompt; the base prompt counts those who are in the window.

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Rgb};
use troupe_core::layout::{Canvas, Layout, Placement};
use troupe_core::region::{BoundingBox, Edges, Placed, TokenGrid, front_most};
use troupe_core::seed::Seed;
use troupe_plan::phrase::base_prompt;
use troupe_render::{Job, Noise, Person, RenderError, Repaint, Scene};

use super::{Anew, Easel, Exchange, FEATHER, Part, Place, Watch};
use crate::config::SecondPassConfig;
use crate::{PipelineError, Studio, Talk};

/// What is around a person in the window, on each side, as a share of the box's longer side.
const AROUND: f64 = 0.15;

/// Of a person's box so much must be in a window for the base prompt to count the person.
const COUNTED: f64 = 0.5;

/// The second pass over one picture.
pub(super) struct SecondPass<'a> {
    easel: &'a Easel,
    settings: SecondPassConfig,
    layout: &'a Layout,
    seed: Seed,
    job: &'a Job,
}

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

type Pixels = ImageBuffer<Rgb<u8>, Vec<u8>>;

impl<'a> SecondPass<'a> {
    pub(super) fn new(
        easel: &'a Easel,
        studio: &Studio,
        (layout, seed): (&'a Layout, Seed),
        job: &'a Job,
    ) -> Self {
        Self { easel, settings: studio.config.paint.second_pass, layout, seed, job }
    }

    /// The picture with everybody painted again who is small in it; of a repainting those alone who are painted anew.
    pub(super) fn over(
        &self,
        rgb: Vec<u8>,
        anew: Option<&Anew>,
        place: Place,
        talk: &mut dyn Talk,
    ) -> Result<Vec<u8>, PipelineError> {
        let feather = anew.map_or(FEATHER, |anew| anew.record().feather);
        let meant = |id: &String| match anew.map(|anew| &anew.record().part) {
            None => true,
            Some(Part::Subjects(ids)) => ids.contains(id),
            Some(Part::Mask(_)) => false,
        };
        let mut rgb = rgb;
        if self.settings.strength <= 0.0 {
            return Ok(rgb);
        }
        let mut order: Vec<usize> = (0..self.layout.subjects.len()).collect();
        order.sort_by_key(|&at| (self.layout.subjects[at].depth, at));
        for at in order {
            let placement = &self.layout.subjects[at];
            let enlarged = self.window(placement.bounds);
            if let Some((window, canvas)) = enlarged.filter(|_| meant(&placement.id)) {
                rgb = self.painted((rgb, feather), at, (window, canvas), place, talk)?;
            }
        }
        Ok(rgb)
    }

    /// The window around a box, and the canvas on which it becomes largest; `None` if that isn't large enough to pay.
    fn window(&self, bounds: BoundingBox) -> Option<(Window, Canvas)> {
        let found = self.easel.canvases.iter().filter_map(|&canvas| {
            let window = window(bounds, self.layout.canvas, canvas)?;
            Some((window, canvas, f64::from(canvas.width()) / f64::from(window.width)))
        });
        // Of equals the first.
        let best = found.reduce(|best, it| if best.2 < it.2 { it } else { best })?;
        (self.settings.enlarge <= best.2).then_some((best.0, best.1))
    }

    /// The picture with one person painted again, and a feather around; the same of whom nothing is to be seen.
    fn painted(
        &self,
        (rgb, feather): (Vec<u8>, u32),
        at: usize,
        (window, canvas): (Window, Canvas),
        place: Place,
        talk: &mut dyn Talk,
    ) -> Result<Vec<u8>, PipelineError> {
        let id = &self.layout.subjects[at].id;
        let Some(whole) = pixels(rgb.clone(), self.layout.canvas) else { return Ok(rgb) };
        let Window { left, top, width, height } = window;
        let cut = image::imageops::crop_imm(&whole, left, top, width, height).to_image();
        let cut = resize(&cut, canvas.width(), canvas.height(), FilterType::CatmullRom);

        let (people, own) = self.people(window, at);
        let placed: Vec<Placed> =
            people.iter().map(|it| Placed { bounds: it.bounds, depth: it.depth }).collect();
        let seed = self.seed.repainting(&format!("second pass/{id}"));
        let noise = match self.job.noise {
            Noise::TorchCpu(_) => Noise::TorchCpu(seed),
            Noise::Seeded(_) | Noise::Given { .. } => Noise::Seeded(seed),
        };
        let base = self.base(window);
        let scene = Scene::Group { base, people };
        let job = Job { canvas, scene, noise, ..self.job.clone() };
        let repaint = Repaint {
            rgb: cut.into_raw(),
            anew: owned(&placed, own, canvas),
            feather: FEATHER,
            strength: self.settings.strength,
        };
        let nowhere = Exchange::default();
        let mut watch = Watch::new(&nowhere, place, talk);
        let painted = match self.easel.painter.repaint(&job, &repaint, &mut watch) {
            Err(RenderError::NothingAnew) => return Ok(rgb),
            painted => watch.outcome(painted)?,
        };

        let Some(painted) = pixels(painted.rgb, canvas) else { return Ok(rgb) };
        let small = resize(&painted, width, height, FilterType::CatmullRom);
        let mut changed = whole;
        image::imageops::replace(&mut changed, &small, i64::from(left), i64::from(top));
        let placed = |it: &Placement| Placed { bounds: it.bounds, depth: it.depth };
        let placed: Vec<Placed> = self.layout.subjects.iter().map(placed).collect();
        let anew = owned(&placed, at, self.layout.canvas);
        let whole = Repaint { rgb, anew, feather, strength: 1.0 };
        Ok(whole.blended(changed.as_raw(), self.layout.canvas))
    }

    /// Who is in a window, with their parts of the boxes, and which of them a subject is.
    fn people(&self, window: Window, at: usize) -> (Vec<Person>, usize) {
        let Scene::Group { people, .. } = &self.job.scene else { return (Vec::new(), 0) };
        let (mut inside, mut own) = (Vec::new(), 0);
        for (index, person) in people.iter().enumerate() {
            let Some(bounds) = window.part(person.bounds, self.layout.canvas) else { continue };
            if index == at {
                own = inside.len();
            }
            inside.push(Person { bounds, ..person.clone() });
        }
        (inside, own)
    }

    /// The scene in a window; one that a person has written stays as it is.
    fn base(&self, window: Window) -> String {
        let Layout { plan, base_prompt: written, .. } = self.layout;
        if *written != base_prompt(&plan.brief, &plan.subjects) {
            return written.clone();
        }
        let seen = |(placement, _): &(&Placement, _)| {
            let share = window.share(placement.bounds, self.layout.canvas);
            COUNTED <= share
        };
        let people = self.layout.subjects.iter().zip(&plan.subjects).filter(seen);
        let people: Vec<_> = people.map(|(_, subject)| subject.clone()).collect();
        base_prompt(&plan.brief, &people)
    }
}

impl Window {
    /// Its edges as shares of a picture's sides.
    fn edges(self, picture: Canvas) -> Edges {
        let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
        Edges {
            left: f64::from(self.left) / width,
            top: f64::from(self.top) / height,
            right: f64::from(self.left + self.width) / width,
            bottom: f64::from(self.top + self.height) / height,
        }
    }

    /// What of a box lies in it, as shares of its own sides.
    fn part(self, bounds: BoundingBox, picture: Canvas) -> Option<BoundingBox> {
        let (own, edges) = (self.edges(picture), bounds.edges());
        let across = |x: f64| ((x - own.left) / (own.right - own.left)).clamp(0.0, 1.0);
        let down = |y: f64| ((y - own.top) / (own.bottom - own.top)).clamp(0.0, 1.0);
        BoundingBox::new(
            across(edges.left),
            down(edges.top),
            across(edges.right),
            down(edges.bottom),
        )
        .ok()
    }

    /// Which part of a box lies in it.
    fn share(self, bounds: BoundingBox, picture: Canvas) -> f64 {
        let own = self.edges(picture);
        let whole = (own.right - own.left) * (own.bottom - own.top);
        self.part(bounds, picture).map_or(0.0, |part| part.area() * whole / bounds.area())
    }
}

/// The smallest part of a picture that has the shape of a canvas, and in it a box with something around; `None` if the
/// picture is too small for it.
fn window(bounds: BoundingBox, picture: Canvas, canvas: Canvas) -> Option<Window> {
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let edges = bounds.edges();
    let (wide, high) = (bounds.width() * width, bounds.height() * height);
    let around = 2.0 * AROUND * wide.max(high);
    let shape = f64::from(canvas.width()) / f64::from(canvas.height());
    // What is around ends where the picture does.
    let (wide, high) = ((wide + around).min(width), (high + around).min(height));
    let wide = wide.max(high * shape);
    let high = wide / shape;
    if width < wide.floor() || height < high.floor() {
        return None;
    }
    let whole = |pixels: f64, most: u32| rounded(pixels).clamp(1, most);
    let (own_width, own_height) = (whole(wide, picture.width()), whole(high, picture.height()));
    let begin = |middle: f64, size: u32, most: u32| {
        rounded((middle - 0.5 * f64::from(size)).max(0.0)).min(most - size)
    };
    Some(Window {
        left: begin(0.5 * (edges.left + edges.right) * width, own_width, picture.width()),
        top: begin(0.5 * (edges.top + edges.bottom) * height, own_height, picture.height()),
        width: own_width,
        height: own_height,
    })
}

/// The pixels of a canvas that one of some people owns.
fn owned(placed: &[Placed], own: usize, canvas: Canvas) -> Vec<bool> {
    let side = |pixels: u32| usize::try_from(pixels).unwrap_or(usize::MAX);
    let grid = TokenGrid { height: side(canvas.height()), width: side(canvas.width()) };
    front_most(placed, grid).into_iter().map(|owner| owner == Some(own)).collect()
}

fn pixels(rgb: Vec<u8>, canvas: Canvas) -> Option<Pixels> {
    ImageBuffer::from_raw(canvas.width(), canvas.height(), rgb)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels of a picture")]
fn rounded(pixels: f64) -> u32 {
    pixels.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(width: u32, height: u32) -> Canvas {
        Canvas::new(width, height).unwrap()
    }

    #[test]
    fn a_window_has_the_shape_of_its_canvas_and_the_box_in_it() {
        let picture = canvas(384, 192);
        let small = BoundingBox::new(0.5, 0.25, 0.6, 0.5).unwrap(); // 38 by 48 pixels
        let found = window(small, picture, canvas(192, 192)).unwrap();
        assert_eq!(found, Window { left: 180, top: 41, width: 62, height: 62 });
        assert!((found.share(small, picture) - 1.0).abs() < 1e-9);
        let wide = window(small, picture, canvas(384, 192)).unwrap();
        assert_eq!((wide.width, wide.height), (125, 62));
        // At the edge it is moved, not cut.
        let corner = BoundingBox::new(0.0, 0.0, 0.1, 0.25).unwrap();
        let found = window(corner, picture, canvas(192, 192)).unwrap();
        assert_eq!((found.left, found.top, found.width), (0, 0, 62));
        // Of a box as high as the picture nothing is around above and below.
        let high = BoundingBox::new(0.0, 0.0, 0.1, 1.0).unwrap();
        let found = window(high, picture, canvas(192, 192)).unwrap();
        assert_eq!((found.width, found.height), (192, 192));
        assert_eq!(window(high, canvas(96, 192), canvas(192, 192)), None);
    }

    #[test]
    fn of_a_box_that_is_cut_the_part_in_the_window_is_left() {
        let picture = canvas(200, 104);
        let window = Window { left: 50, top: 0, width: 100, height: 104 };
        let beside = BoundingBox::new(0.1, 0.0, 0.5, 1.0).unwrap();
        let part = window.part(beside, picture).unwrap().edges();
        assert_eq!((part.left, part.right), (0.0, 0.5));
        assert!((window.share(beside, picture) - 0.625).abs() < 1e-12);
        let elsewhere = BoundingBox::new(0.8, 0.0, 1.0, 1.0).unwrap();
        assert_eq!(window.part(elsewhere, picture), None);
    }
}
