//! LoRAs that only some people have, from words to latents.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::fs;
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use troupe_core::layout::Canvas;
use troupe_core::region::BoundingBox;
use troupe_core::seed::Seed;
use troupe_render::{
    Adapter, Job, Loras, Noise, Painter, Person, RenderError, Scaled, Scene, Settings, Tensor4,
    Tolerance, Watcher,
};
use troupe_sampler::{Sampler, SamplingOptions, Schedule};
use troupe_testkit::{golden_path, relative_error};

use self::support::tiny;

/// Keeps the latents of the last step.
#[derive(Default)]
struct Last(Vec<f32>);

impl Watcher for Last {
    fn step(
        &mut self,
        _: usize,
        _: usize,
        latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError> {
        self.0 = latents()?.values;
        Ok(())
    }
}

/// The name of a LoRA that changes one layer of the text encoder, and has no file.
const OF_TEXT: &str = "text.safetensors";

fn lora(&(name, scale): &(&str, f64)) -> Scaled {
    let bytes = match name {
        OF_TEXT => text_lora(),
        _ => fs::read(golden_path("generation").join(name)).unwrap(),
    };
    Scaled {
        adapter: Arc::new(Adapter::read(name, Arc::new(bytes), None, Tolerance::Strict).unwrap()),
        scale: scale.into(),
    }
}

fn text_lora() -> Vec<u8> {
    let values = |count: u8| -> Vec<u8> {
        (0..count).flat_map(|at| (f32::from(at % 5) - 2.0).to_le_bytes()).collect()
    };
    let (down, up) = (values(16), values(32));
    let module = "lora_te_text_model_encoder_layers_0_mlp_fc1";
    let view = |name: &str, shape: [usize; 2], data| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap();
        (format!("{module}.lora_{name}.weight"), view)
    };
    safetensors::serialize([view("down", [1, 16], &down), view("up", [32, 1], &up)], None).unwrap()
}

fn painter(merged: &[(&str, f64)], bound: &[(&str, f64)]) -> Painter {
    let merged: Vec<Scaled> = merged.iter().map(lora).collect();
    let bound: Vec<Scaled> = bound.iter().map(lora).collect();
    tiny(Loras { merged: &merged, bound: &bound }, |_, bytes| bytes).unwrap()
}

fn person(prompt: &str, left: f64, right: f64, loras: &[usize]) -> Person {
    let bounds = BoundingBox::new(left, 0.0, right, 1.0).unwrap();
    Person { prompt: prompt.to_owned(), bounds, depth: 0, loras: loras.to_vec() }
}

fn latents(painter: &Painter, scene: Scene) -> Result<Vec<f32>, RenderError> {
    let job = Job {
        canvas: Canvas::new(96, 64).unwrap(),
        scene,
        negative: "a forest".to_owned(),
        settings: Settings {
            sampling: SamplingOptions::new(Sampler::Ddim, Schedule::Uniform, 3),
            guidance: 4.0,
            guidance_rescale: 0.0,
            base_ratio: 0.0,
            isolate: 0.5,
        },
        noise: Noise::Seeded(Seed(3)),
    };
    let mut last = Last::default();
    painter.paint(&job, &mut last)?;
    Ok(last.0)
}

fn group(people: Vec<Person>) -> Scene {
    Scene::Group { base: "two people".to_owned(), people }
}

/// Fails when a LoRA, or its part for the text encoder, doesn't reach prompt and negative prompt.
#[test]
fn on_one_person_who_fills_the_picture_a_bound_lora_is_a_merged_one() {
    let words = "a woman with dark skin";
    let plain = || Scene::Plain(words.to_owned());
    let without = latents(&painter(&[], &[]), plain()).unwrap();
    for loras in [
        &[("lora.safetensors", 0.8)][..],
        &[(OF_TEXT, 0.3)],
        &[("lora.safetensors", -0.5), (OF_TEXT, 0.2)],
    ] {
        let merged = latents(&painter(loras, &[]), plain()).unwrap();
        assert!(1e-2 < relative_error(&merged, &without), "the LoRA does nothing");
        let numbers: Vec<usize> = (0..loras.len()).collect();
        let alone = group(vec![person(words, 0.0, 1.0, &numbers)]);
        let bound = latents(&painter(&[], loras), alone).unwrap();
        let error = relative_error(&bound, &merged);
        assert!(error < 1e-4, "{loras:?}: {error:e}");
    }
}

#[test]
fn a_lora_is_where_its_person_is() {
    let bound = painter(&[], &[("lora.safetensors", 1.0)]);
    let two = |left: &[usize], right: &[usize]| {
        let people = vec![person("a woman", 0.0, 0.5, left), person("a man", 0.5, 1.0, right)];
        latents(&bound, group(people)).unwrap()
    };
    let none = two(&[], &[]);
    // (1, 4, 8, 12): how far the left halves of the rows moved, and the right ones. Norms and self-attention carry a
    // part of it everywhere.
    let moved = |with: Vec<f32>| {
        let half = |right: bool| -> f32 {
            let far = none.iter().zip(&with).enumerate().filter(|(at, _)| (6 <= at % 12) == right);
            far.map(|(_, (a, b))| (a - b).powi(2)).sum()
        };
        (half(false), half(true))
    };
    let (left, right) = (moved(two(&[0], &[])), moved(two(&[], &[0])));
    assert!(left.1 < left.0 && right.0 < right.1, "{left:?}, {right:?}");
    assert_eq!(
        two(&[], &[]),
        latents(
            &painter(&[], &[]),
            group(vec![person("a woman", 0.0, 0.5, &[]), person("a man", 0.5, 1.0, &[]),])
        )
        .unwrap()
    );
}

#[test]
fn a_lora_that_is_not_there_is_refused() {
    let scene = group(vec![person("a woman", 0.0, 1.0, &[0])]);
    let error = latents(&painter(&[], &[]), scene).unwrap_err().to_string();
    assert!(error.contains("LoRA 0"), "{error}");
}
