//! What the settings of regions do to a picture: against the plain painting that they come to, and that each does something.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod alone;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/trace.rs"]
mod trace;

use troupe_core::layout::Canvas;
use troupe_core::region::BoundingBox;
use troupe_core::seed::Seed;
use troupe_render::{
    Job, Loras, Mixing, Noise, Painter, Person, Ramp, RegionSettings, RenderError, Scene, Settings,
    Tensor4, Watcher,
};
use troupe_sampler::{Sampler, SamplingOptions, Schedule};
use troupe_testkit::relative_error;

use self::trace::Trace;

fn painter() -> Painter {
    support::tiny(Loras::default(), |_, bytes| bytes).unwrap()
}

fn person(prompt: &str, left: f64, right: f64) -> Person {
    Person::new(prompt, BoundingBox::new(left, 0.0, right, 1.0).unwrap(), 0)
}

/// Of the whole picture.
fn alone() -> Person {
    person("a woman", 0.0, 1.0)
}

fn two() -> Scene {
    let people = vec![person("a woman", 0.05, 0.45), person("a man", 0.5, 0.95)];
    Scene::Group { base: "two people".to_owned(), people }
}

fn job(scene: Scene) -> Job {
    Job {
        canvas: Canvas::new(96, 64).unwrap(),
        scene,
        negative: "a forest".to_owned(),
        settings: Settings {
            sampling: SamplingOptions::new(Sampler::Ddim, Schedule::Uniform, 4),
            guidance: 3.0,
            guidance_rescale: 0.0,
            regions: RegionSettings::new(0.0, 0.5),
        },
        noise: Noise::Seeded(Seed(3)),
    }
}

fn latents(painter: &Painter, job: &Job) -> Vec<f32> {
    let mut trace = Trace::default();
    painter.paint(job, &mut trace).unwrap();
    trace.0.pop().unwrap()
}

/// A picture of one person who is everywhere.
fn of(person: Person) -> Job {
    job(Scene::Group { base: "nobody".to_owned(), people: vec![person] })
}

#[test]
fn composed_of_one_person_everywhere_it_is_the_prompt_alone() {
    let painter = painter();
    let plain = latents(&painter, &job(Scene::Plain("a woman".to_owned())));
    for bootstrap in [0.0, 1.0] {
        let mut composed = of(alone());
        composed.settings.regions.compose = 1.0;
        composed.settings.regions.bootstrap = bootstrap;
        let apart = relative_error(&latents(&painter, &composed), &plain);
        assert!(apart < 1e-5, "{apart}");
    }
}

#[test]
fn what_a_person_has_of_its_own_is_what_the_picture_would_have() {
    let painter = painter();
    let mut everywhere = of(alone());
    everywhere.settings.guidance = 6.0;
    let own = of(Person { guidance: Some(6.0), ..alone() });
    let apart = relative_error(&latents(&painter, &own), &latents(&painter, &everywhere));
    assert!(apart < 1e-5, "{apart}");
    let plain = latents(&painter, &of(alone()));
    assert!(1e-3 < relative_error(&latents(&painter, &own), &plain));

    let mut everywhere = of(alone());
    everywhere.negative = "a forest, a hat".to_owned();
    let own = of(Person { negative: "a hat".to_owned(), ..alone() });
    let apart = relative_error(&latents(&painter, &own), &latents(&painter, &everywhere));
    assert!(apart < 1e-5, "{apart}");
    assert!(1e-3 < relative_error(&latents(&painter, &own), &plain));

    // Without any guidance of the picture a person's own still guides.
    let mut unguided = of(Person { guidance: Some(3.0), ..alone() });
    unguided.settings.guidance = 1.0;
    assert!(relative_error(&latents(&painter, &unguided), &plain) < 1e-5);
}

#[test]
fn with_contrast_guidance_leads_away_from_the_kind() {
    let painter = painter();
    let with = |kind: &str, negative: &str, contrast: f64| {
        let (kind, negative) = (kind.to_owned(), negative.to_owned());
        let mut job = of(Person { kind, negative, ..alone() });
        job.settings.regions.contrast = contrast;
        latents(&painter, &job)
    };
    let plain = with("", "", 0.0);
    assert_eq!(with("a hat", "", 0.0), plain);
    assert_eq!(with(" ", "", 1.0), plain);
    assert_eq!(with("a hat", "", 1.0), with("", "a hat", 0.0));
    assert_eq!(with("a hat", "a forest", 1.0), with("", "a forest, a hat", 0.0));
    // Of a long text there is a chunk more than of the other.
    let long = "a forest ".repeat(80);
    for (kind, negative) in [("a hat", ""), ("a hat", "a forest"), (&long, "")] {
        let half = with(kind, negative, 0.5);
        for end in [0.0, 1.0] {
            assert!(1e-3 < relative_error(&half, &with(kind, negative, end)), "{kind} {end}");
        }
    }
}

#[test]
fn a_person_without_strength_is_not_heard() {
    let painter = painter();
    let weak =
        |prompt: &str| latents(&painter, &of(Person { strength: 0.0, ..person(prompt, 0.0, 1.0) }));
    assert_eq!(weak("a woman"), weak("a man"));
    let half = of(Person { strength: 0.5, ..alone() });
    let mut ratio = of(alone());
    ratio.settings.regions.base_ratio = Ramp { from: 0.5, to: 0.5 };
    assert_eq!(latents(&painter, &half), latents(&painter, &ratio));
}

#[test]
fn a_ratio_that_changes_is_that_of_each_step() {
    let painter = painter();
    let with = |from: f64, to: f64| {
        let mut job = job(two());
        job.settings.sampling.steps = 1;
        job.settings.regions.base_ratio = Ramp { from, to };
        latents(&painter, &job)
    };
    // The only step is the first one.
    assert_eq!(with(0.3, 0.9), with(0.3, 0.3));
    assert_ne!(with(0.3, 0.9), with(0.9, 0.9));
    let ramp = Ramp { from: 0.4, to: 0.1 };
    let at = [0, 1, 3].map(|step| ramp.at(step, 4));
    assert!(at.iter().zip([0.4, 0.3, 0.1]).all(|(a, b)| (a - b).abs() < 1e-12), "{at:?}");
}

#[test]
fn of_several_noises_one_is_chosen_and_the_same_each_time() {
    let painter = painter();
    let own = latents(&painter, &job(two()));
    let chosen = |noises: usize| {
        let mut job = job(two());
        job.settings.regions.noises = noises;
        job.settings.regions.noise_steps = 1;
        latents(&painter, &job)
    };
    assert_eq!(chosen(1), own);
    let of_eight = chosen(8);
    assert_eq!(of_eight, chosen(8));
    assert_ne!(of_eight, own, "no noise but the first was ever chosen");
    // Given noise is the only one, and nothing is tried.
    let given = |noises: usize| {
        let mut given = job(two());
        given.settings.regions.noises = noises;
        let values = vec![0.5; 4 * 8 * 12];
        given.noise = Noise::Given { noise: Tensor4 { shape: [1, 4, 8, 12], values }, steps: None };
        given
    };
    assert_eq!(latents(&painter, &given(4)), latents(&painter, &given(1)));
    painter.paint(&given(4), &mut no_trials()).unwrap();
    // Else whoever watches may stop it, before any step is painted.
    let mut tries = job(two());
    tries.settings.regions.noises = 2;
    let error = painter.paint(&tries, &mut no_trials()).unwrap_err();
    assert!(matches!(error, RenderError::Stopped(_)), "{error}");
}

#[test]
fn blobs_lie_under_the_noise_of_a_whole_picture() {
    let painter = painter();
    let entering = |scene: Scene, blobs: f64, noise: Noise| {
        let mut job = Job { noise, ..job(scene) };
        job.settings.regions.blobs = blobs;
        let mut trace = Trace::default();
        painter.paint(&job, &mut trace).unwrap();
        trace.0.swap_remove(0)
    };
    let with = |blobs: f64| entering(two(), blobs, Noise::Seeded(Seed(3)));
    let (half, one, two_) = (with(0.5), with(1.0), with(2.0));
    // What lies there is the same picture, more or less strongly, and doesn't depend on the picture's own noise alone.
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f32>>();
    let (weak, strong) = (apart(&one, &half), apart(&two_, &one));
    let doubled: Vec<f32> = weak.iter().map(|it| 2.0 * it).collect();
    assert!(relative_error(&strong, &doubled) < 1e-3);
    assert!(strong.iter().any(|it| 1e-3 < it.abs()), "there are no blobs");
    assert_eq!(with(1.0), one, "the same job, the same blobs");
    // Others stand elsewhere.
    let moved = vec![person("a woman", 0.3, 0.7)];
    let moved = Scene::Group { base: "two people".to_owned(), people: moved };
    let moved = |blobs: f64| entering(moved.clone(), blobs, Noise::Seeded(Seed(3)));
    assert!(0.01 < relative_error(&apart(&moved(2.0), &moved(1.0)), &strong));
    // Nobody has none, and given noise is left as it is.
    let plain = |blobs: f64| entering(Scene::Plain("x".into()), blobs, Noise::Seeded(Seed(3)));
    assert_eq!(plain(1.0), plain(0.0));
    let values = vec![0.5; 4 * 8 * 12];
    let given = Noise::Given { noise: Tensor4 { shape: [1, 4, 8, 12], values }, steps: None };
    assert_eq!(entering(two(), 1.0, given.clone()), entering(two(), 0.0, given));
    // Whoever watches may stop it.
    let mut tries = job(two());
    tries.settings.regions.blobs = 1.0;
    let error = painter.paint(&tries, &mut no_trials()).unwrap_err();
    assert!(matches!(error, RenderError::Stopped(_)), "{error}");
}

fn no_trials() -> Trials {
    Trials { seen: 0, most: 0 }
}

/// Counts trials, and stops at the one that is too many.
struct Trials {
    seen: usize,
    most: usize,
}

impl Watcher for Trials {
    fn step(
        &mut self,
        _step: usize,
        _steps: usize,
        _latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError> {
        Ok(())
    }

    fn trial(&mut self) -> Result<(), RenderError> {
        if self.seen == self.most {
            return Err(RenderError::Stopped("no trials".to_owned()));
        }
        self.seen += 1;
        Ok(())
    }
}

#[test]
fn composed_with_one_person_guided_it_is_that_person_guided() {
    let painter = painter();
    let mut composed = of(Person { guidance: Some(3.0), ..alone() });
    composed.settings.guidance = 1.0;
    composed.settings.regions.compose = 1.0;
    let plain = latents(&painter, &job(Scene::Plain("a woman".to_owned())));
    let apart = relative_error(&latents(&painter, &composed), &plain);
    assert!(apart < 1e-5, "{apart}");
}

#[test]
fn every_setting_moves_the_picture() {
    let painter = painter();
    let expected = latents(&painter, &job(two()));
    let changes: [fn(&mut RegionSettings); 11] = [
        |it| it.alone = 0.25,
        |it| it.isolate_level = 1,
        |it| it.outline = 0.25,
        |it| it.blobs = 1.0,
        |it| it.base_ratio.from = 0.4,
        |it| it.feather = 0.2,
        |it| it.mixing = Mixing::Scores,
        |it| it.compose = 0.25,
        |it| it.compose = 0.5,
        |it| it.compose = 1.0,
        |it| (it.compose, it.bootstrap) = (0.5, 0.25),
    ];
    let mut seen = vec![expected.clone()];
    for change in changes {
        let mut job = job(two());
        // With a base ratio of 0 the scores of a token that hears one prompt are as its outputs.
        job.settings.regions.base_ratio = Ramp { from: 0.2, to: 0.2 };
        change(&mut job.settings.regions);
        let found = latents(&painter, &job);
        assert!(seen.iter().all(|other| 1e-4 < relative_error(&found, other)));
        assert_eq!(found, latents(&painter, &job), "the same job, the same latents");
        seen.push(found);
    }
}
