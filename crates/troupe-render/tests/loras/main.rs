//! LoRAs of a painter, from words to latents: those that only some people have, and those that change.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod bound;
#[path = "../support/mod.rs"]
mod support;
mod swapped;
#[path = "../support/trace.rs"]
mod trace;

use std::fs;
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use troupe_core::layout::Canvas;
use troupe_core::region::BoundingBox;
use troupe_core::seed::Seed;
use troupe_render::{
    Adapter, Job, Loras, Noise, Painter, Person, RegionSettings, Scaled, Scene, Settings, Tolerance,
};
use troupe_sampler::{Sampler, SamplingOptions, Schedule};
use troupe_testkit::golden_path;

use self::support::tiny;

fn adapter(name: &str, bytes: Vec<u8>) -> Arc<Adapter> {
    Arc::new(Adapter::read(name, Arc::new(bytes), None, Tolerance::Strict).unwrap())
}

/// One of the UNet.
fn of_unet() -> Arc<Adapter> {
    let path = golden_path("generation").join("lora.safetensors");
    adapter("lora.safetensors", fs::read(path).unwrap())
}

/// One of rank 1 for the module `name`, with numbers up to `size`.
fn made_up(name: &str, [outputs, inputs]: [usize; 2], size: f32) -> Arc<Adapter> {
    let values = |count: usize| -> Vec<u8> {
        let cycle = [-1.0, 0.5, 1.0, -0.5, 0.25].into_iter().cycle();
        cycle.take(count).flat_map(|it: f32| (it * size).to_le_bytes()).collect()
    };
    let (down, up) = (values(inputs), values(outputs));
    let view = |part: &str, shape: [usize; 2], data| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap();
        (format!("{name}.lora_{part}.weight"), view)
    };
    let tensors = [view("down", [1, inputs], &down), view("up", [outputs, 1], &up)];
    adapter(name, safetensors::serialize(tensors, None).unwrap())
}

/// One of the text encoder.
fn of_text() -> Arc<Adapter> {
    made_up("lora_te_text_model_encoder_layers_0_mlp_fc1", [32, 16], 1.0)
}

fn scaled(adapter: &Arc<Adapter>, scale: f64) -> Scaled {
    Scaled { adapter: adapter.clone(), scale: scale.into() }
}

fn load(merged: &[Scaled], bound: &[Scaled]) -> Painter {
    tiny(Loras { merged, bound }, |_, bytes| bytes).unwrap()
}

fn person(prompt: &str, left: f64, right: f64, loras: &[usize]) -> Person {
    let bounds = BoundingBox::new(left, 0.0, right, 1.0).unwrap();
    Person { loras: loras.to_vec(), ..Person::new(prompt, bounds, 0) }
}

fn group(people: Vec<Person>) -> Scene {
    Scene::Group { base: "two people".to_owned(), people }
}

/// A small picture in so many steps.
fn job(scene: Scene, steps: usize, base_ratio: f64) -> Job {
    Job {
        canvas: Canvas::new(96, 64).unwrap(),
        scene,
        negative: "a forest".to_owned(),
        settings: Settings {
            sampling: SamplingOptions::new(Sampler::Ddim, Schedule::Uniform, steps),
            guidance: 4.0,
            guidance_rescale: 0.0,
            regions: RegionSettings::new(base_ratio, 0.5),
        },
        noise: Noise::Seeded(Seed(3)),
    }
}
