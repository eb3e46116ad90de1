//! People who are painted alone first: each is what a picture of one would be, and then all of them are in one picture.

use troupe_core::layout::Canvas;
use troupe_core::region::BoundingBox;
use troupe_core::seed::Seed;
use troupe_render::{Job, Noise, Person, RenderError, Repaint, Scene, Tensor4, Watcher};
use troupe_sampler::{Sampler, SamplingOptions, Schedule};
use troupe_testkit::relative_error;

use super::{Trials, alone, job, latents, no_trials, of, painter, person, two};
use crate::trace::Trace;

/// In all steps, so that what is in the boxes in the end is what was painted alone.
fn all_alone(scene: Scene) -> Job {
    let mut job = job(scene);
    job.settings.regions.alone = 1.0;
    job
}

/// The latents of the columns from one to before another, whatever their rows and channels.
fn columns(latents: &[f32], columns: std::ops::Range<usize>) -> Vec<f32> {
    let rows = latents.chunks_exact(12);
    rows.flat_map(|row| row[columns.clone()].to_vec()).collect()
}

#[test]
fn who_is_painted_alone_is_what_a_picture_of_one_would_be() {
    let painter = painter();
    // Boxes as large as these have all of the picture for their window.
    let overlapping = |in_front: usize| {
        let mut people = vec![person("a woman", 0.0, 0.7), person("a man", 0.3, 1.0)];
        people[in_front].depth = 1;
        people
    };
    let of = |people| Scene::Group { base: "two people".to_owned(), people };
    let only = |at: usize| latents(&painter, &job(of(vec![overlapping(0).swap_remove(at)])));
    // From 0.3 to 0.7 of twelve columns both stand; who has more than half of one is in front there.
    for (in_front, border) in [(0, 8), (1, 4)] {
        let found = latents(&painter, &all_alone(of(overlapping(in_front))));
        assert_eq!(columns(&found, 0..border), columns(&only(0), 0..border));
        assert_eq!(columns(&found, border..12), columns(&only(1), border..12));
        let together = latents(&painter, &job(of(overlapping(in_front))));
        assert!(1e-3 < relative_error(&together, &found));
    }
}

/// Who is put in is what goes on, whatever a sampler remembers of the steps before.
#[test]
fn nothing_of_the_picture_without_them_is_left_where_people_are_put_in() {
    let painter = painter();
    for sampler in Sampler::ALL {
        // Together these boxes are the whole picture. Isolation is over when both are put in, and windows have none.
        let with = |isolate: f64, alone: f64, repainted: bool| {
            let people = vec![person("a woman", 0.0, 0.5), person("a man", 0.5, 1.0)];
            let mut job = job(Scene::Group { base: "two people".to_owned(), people });
            job.settings.sampling = SamplingOptions::new(sampler, Schedule::Uniform, 4);
            job.settings.regions.isolate = isolate;
            job.settings.regions.alone = alone;
            let mut trace = Trace::default();
            if repainted {
                let pixels = 96 * 64;
                let (rgb, anew) = (vec![90; 3 * pixels], vec![true; pixels]);
                let picture = Repaint { rgb, anew, feather: 0, strength: 1.0 };
                painter.repaint(&job, &picture, &mut trace).unwrap();
            } else {
                painter.paint(&job, &mut trace).unwrap();
            }
            trace.0.pop().unwrap()
        };
        assert_ne!(with(0.5, 0.0, false), with(0.0, 0.0, false), "{sampler:?}");
        assert_eq!(with(0.5, 0.5, false), with(0.0, 0.5, false), "{sampler:?}");
        assert_ne!(with(0.5, 0.5, false), with(0.5, 0.0, false), "{sampler:?}");
        // All of a picture painted anew is a picture.
        assert_eq!(with(0.5, 0.5, true), with(0.5, 0.5, false), "{sampler:?}");
    }
}

#[test]
fn of_two_one_may_be_guided_and_both_painted_alone() {
    let painter = painter();
    let mut job = all_alone(two());
    job.settings.guidance = 1.0;
    let unguided = latents(&painter, &job);
    let Scene::Group { people, .. } = &mut job.scene else { panic!("two are a group") };
    people[1].guidance = Some(3.0);
    let found = latents(&painter, &job);
    assert!(relative_error(&columns(&found, 1..5), &columns(&unguided, 1..5)) < 1e-5);
    assert!(1e-3 < relative_error(&columns(&found, 6..11), &columns(&unguided, 6..11)));
}

#[test]
fn a_window_has_the_pictures_noise_at_its_place() {
    let painter = painter();
    // 40 columns, and windows of a part of them: the same two people, further to the right, are painted from the noise there.
    let wide = |by: f64, noise: &[f32]| {
        let at = |left: f64, right: f64| {
            BoundingBox::new((left + by) / 40.0, 0.0, (right + by) / 40.0, 1.0).unwrap()
        };
        let people =
            vec![Person::new("a woman", at(4.0, 12.0), 0), Person::new("a man", at(14.0, 20.0), 0)];
        let mut job = all_alone(Scene::Group { base: "two people".to_owned(), people });
        job.canvas = Canvas::new(320, 64).unwrap();
        let noise = Tensor4 { shape: [1, 4, 8, 40], values: noise.to_vec() };
        job.noise = Noise::Given { noise, steps: None };
        latents(&painter, &job)
    };
    let noise = Seed(5).stream("noise").normals(4 * 8 * 40);
    let moved: Vec<f32> =
        noise.chunks_exact(40).flat_map(|row| [&row[28..], &row[..28]].concat()).collect();
    let part = |latents: &[f32], first: usize| -> Vec<f32> {
        latents.chunks_exact(40).flat_map(|row| row[first..first + 8].to_vec()).collect()
    };
    assert_eq!(part(&wide(0.0, &noise), 4), part(&wide(12.0, &moved), 16));
}

#[test]
fn one_person_is_not_painted_alone_first_and_whoever_watches_may_stop_it() {
    let painter = painter();
    let mut one = all_alone(of(alone()).scene);
    assert_eq!(latents(&painter, &one), latents(&painter, &of(alone())));
    one.scene = two();
    let error = painter.paint(&one, &mut no_trials()).unwrap_err();
    assert!(matches!(error, RenderError::Stopped(_)), "{error}");
}

#[test]
fn only_who_is_painted_anew_is_painted_alone() {
    let painter = painter();
    let trials = |anew: std::ops::Range<usize>| {
        let pixels = 96 * 64;
        let anew = (0..pixels).map(|pixel| anew.contains(&(pixel % 96))).collect();
        let rgb = vec![90; 3 * pixels];
        let picture = Repaint { rgb, anew, feather: 0, strength: 1.0 };
        let mut count = Trials { seen: 0, most: usize::MAX };
        painter.repaint(&all_alone(two()), &picture, &mut count).unwrap();
        count.seen
    };
    assert_eq!([trials(8..32), trials(56..80), trials(0..96)], [4, 4, 8]);
}

#[test]
fn a_picture_that_windows_cover_is_not_painted_whole_while_people_are_alone() {
    let painter = painter();
    // Windows are as high as the picture, and two of these don't reach its right edge.
    for (second, expected) in [(0.5..1.0, vec![0, 2, 3, 4]), (0.4..0.5, vec![0, 1, 2, 3, 4])] {
        let people = vec![person("a woman", 0.0, 0.4), person("a man", second.start, second.end)];
        let mut job = job(Scene::Group { base: "two people".to_owned(), people });
        job.settings.sampling.steps = 4;
        job.settings.regions.alone = 0.5;
        let mut seen = Steps(Vec::new());
        painter.paint(&job, &mut seen).unwrap();
        assert_eq!(seen.0, expected);
    }
}

/// Which steps of the whole picture were announced.
struct Steps(Vec<usize>);

impl Watcher for Steps {
    fn step(
        &mut self,
        step: usize,
        _steps: usize,
        _latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError> {
        self.0.push(step);
        Ok(())
    }
}
