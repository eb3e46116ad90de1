//! Whole generations against diffusers: from words and noise to the bytes of a picture.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::sync::Arc;

use serde_json::Value;
use troupe_core::layout::Canvas;
use troupe_core::region::BoundingBox;
use troupe_core::seed::Seed;
use troupe_render::{
    Adapter, Job, Loras, Noise, Options, Painter, Person, Precision, RegionSettings, RenderError,
    Scaled, Scene, Settings, Tensor4, Tolerance, Watcher,
};
use troupe_sampler::{Sampler, SamplingOptions, Schedule, TimestepSpacing};
use troupe_testkit::{Golden, assert_close, golden_path, relative_error};

use self::support::{text, tiny, tiny_with};

/// The bound on a whole generation in f32.
const TOLERANCE: f64 = 1e-3;

/// Makes another job of one.
type Change = fn(&mut Job);

/// Keeps the latents of every step, and the final ones.
#[derive(Default)]
struct Trace(Vec<Tensor4>);

impl Watcher for Trace {
    fn step(
        &mut self,
        step: usize,
        steps: usize,
        latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError> {
        assert_eq!((step, steps), (self.0.len(), 5));
        self.0.push(latents()?);
        Ok(())
    }
}

/// The tiny model, with LoRAs given by file and scale.
fn painter(loras: &[(&str, f64)]) -> Painter {
    let lora = |&(name, scale): &(&str, f64)| {
        let bytes = std::fs::read(golden_path("generation").join(name)).unwrap();
        Scaled {
            adapter: Arc::new(
                Adapter::read(name, Arc::new(bytes), None, Tolerance::Strict).unwrap(),
            ),
            scale: scale.into(),
        }
    };
    let merged: Vec<Scaled> = loras.iter().map(lora).collect();
    tiny(Loras { merged: &merged, bound: &[] }, |_, bytes| bytes).unwrap()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn tensor(golden: &Golden, name: &str) -> Tensor4 {
    let (values, shape) = golden.tensor(name);
    Tensor4 { shape: shape.try_into().unwrap(), values }
}

fn group(scene: &Value) -> Scene {
    let person = |it: &Value| {
        let [left, top, right, bottom] =
            ["left", "top", "right", "bottom"].map(|side| number(&it["box"][side]));
        let bounds = BoundingBox::new(left, top, right, bottom).unwrap();
        let depth = it["depth"].as_u64().unwrap().try_into().unwrap();
        Person::new(string(&it["sub_prompt"]), bounds, depth)
    };
    Scene::Group {
        base: string(&scene["base_prompt"]),
        people: scene["subjects"].as_array().unwrap().iter().map(person).collect(),
    }
}

/// What the golden says of its jobs.
fn described() -> Value {
    serde_json::from_str(&text("generation.json")).unwrap()
}

fn job(described: &Value, scene: Scene, noise: Tensor4) -> Job {
    let settings = &described["settings"];
    let side =
        |name: &str| described["scene"]["canvas"][name].as_u64().unwrap().try_into().unwrap();
    Job {
        canvas: Canvas::new(side("width"), side("height")).unwrap(),
        scene,
        negative: string(&settings["negative"]),
        settings: Settings {
            sampling: SamplingOptions::new(
                Sampler::Ddim,
                Schedule::Uniform,
                settings["steps"].as_u64().unwrap().try_into().unwrap(),
            ),
            guidance: number(&settings["guidance"]),
            guidance_rescale: 0.0,
            regions: RegionSettings::new(
                number(&settings["base_ratio"]),
                number(&settings["isolate"]),
            ),
        },
        noise: Noise::Given { noise, steps: None },
    }
}

/// Paints a case of the golden, and compares the latents of every step and every byte.
#[track_caller]
fn check(case: &str, painter: &Painter, scene: Scene) {
    let golden = Golden::read(golden_path("generation/generation.safetensors"));
    let job = job(&described(), scene, tensor(&golden, "noise"));
    let mut trace = Trace::default();
    let picture = painter.paint(&job, &mut trace).unwrap();

    let last = trace.0.pop().unwrap();
    let entering: Vec<f32> = trace.0.into_iter().flat_map(|it| it.values).collect();
    assert_close("entering", &entering, &golden.tensor(&format!("{case}.entering")), TOLERANCE);
    assert_close("final", &last.values, &golden.tensor(&format!("{case}.final")), TOLERANCE);

    let (expected, shape) = golden.tensor(&format!("{case}.picture"));
    assert_eq!(shape, [64, 96, 3]);
    assert_eq!(picture.rgb.len(), expected.len());
    let most = picture.rgb.iter().zip(&expected).map(|(&a, &b)| (f32::from(a) - b).abs());
    let most = most.fold(0.0, f32::max);
    assert!(most <= 1.0, "a byte differs by {most}");
}

#[test]
fn a_prompt_is_painted_as_diffusers_paints_it() {
    check("plain", &painter(&[]), Scene::Plain(string(&described()["prompt"])));
}

#[test]
fn people_in_boxes_that_overlap_are_painted_as_the_reference_paints_them() {
    check("regional", &painter(&[]), group(&described()["scene"]));
}

#[test]
fn a_lora_of_peft_is_painted_as_diffusers_paints_it() {
    let described = described();
    let scale = number(&described["lora_scale"]);
    check("lora", &painter(&[("lora.safetensors", scale)]), group(&described["scene"]));
}

// Fails when weights aren't kept as the options say, or are rounded to anything but the nearest.
#[test]
fn weights_of_bf16_paint_nearly_the_same() {
    let golden = Golden::read(golden_path("generation/generation.safetensors"));
    let described = described();
    let options = Options { precision: Precision::Bf16, ..Options::default() };
    let painter = tiny_with(options, Loras::default(), |_, bytes| bytes).unwrap();
    let plain = Scene::Plain(string(&described["prompt"]));
    for (case, scene) in [("plain", plain), ("regional", group(&described["scene"]))] {
        let mut trace = Trace::default();
        let job = job(&described, scene, tensor(&golden, "noise"));
        painter.paint(&job, &mut trace).unwrap();
        let found = trace.0.pop().unwrap().values;
        let expected = golden.tensor(&format!("{case}.final"));
        assert_close(&format!("{case} of bf16"), &found, &expected, 3e-2);
        let moved = relative_error(&found, &expected.0);
        assert!(1e-3 < moved, "{case}: bf16 moves the latents by {moved}");
    }
}

#[test]
fn the_goldens_differ_by_more_than_what_is_allowed() {
    let golden = Golden::read(golden_path("generation/generation.safetensors"));
    let [plain, regional, lora] =
        ["plain", "regional", "lora"].map(|case| golden.tensor(&format!("{case}.final")).0);
    assert!(0.05 < relative_error(&regional, &plain));
    assert!(0.05 < relative_error(&lora, &regional));
}

#[test]
fn what_a_generation_is_made_of_all_counts() {
    let golden = Golden::read(golden_path("generation/generation.safetensors"));
    let described = described();
    let painter = painter(&[]);
    let as_is = || job(&described, group(&described["scene"]), tensor(&golden, "noise"));
    let paint = |job: &Job| {
        let mut trace = Trace::default();
        painter.paint(job, &mut trace).unwrap();
        trace.0.pop().unwrap().values
    };
    let expected = paint(&as_is());
    let changes: [(&str, Change); 9] = [
        ("negative prompt", |job| job.negative.clear()),
        ("guidance", |job| job.settings.guidance += 0.5),
        ("guidance rescale", |job| job.settings.guidance_rescale = 0.7),
        ("sampler", |job| job.settings.sampling.sampler = Sampler::UniPc),
        ("spacing", |job| job.settings.sampling.spacing = Some(TimestepSpacing::Leading)),
        ("noise of torch", |job| job.noise = Noise::TorchCpu(Seed(7))),
        ("base ratio", |job| job.settings.regions.base_ratio.to = 0.3),
        ("isolation", |job| job.settings.regions.isolate = 0.7),
        ("depth", |job| {
            if let Scene::Group { people, .. } = &mut job.scene {
                people[1].depth = 0;
            }
        }),
    ];
    for (what, change) in changes {
        let mut job = as_is();
        change(&mut job);
        let moved = relative_error(&paint(&job), &expected);
        assert!(2.0 * TOLERANCE < moved, "the {what} moves the latents by {moved}");
    }
}
