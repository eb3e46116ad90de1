//! A painter whose LoRAs change: it paints what one paints that was loaded with them.

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
    Adapter, Job, Loras, Noise, Painter, Person, RenderError, Scaled, Scales, Scene, Settings,
    Tensor4, Tolerance, Watcher,
};
use troupe_sampler::{Sampler, SamplingOptions, Schedule};
use troupe_testkit::golden_path;

use self::support::tiny;

/// Keeps the latents of all steps.
#[derive(Default)]
struct All(Vec<u32>);

impl Watcher for All {
    fn step(
        &mut self,
        _: usize,
        _: usize,
        latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError> {
        self.0.extend(latents()?.values.into_iter().map(f32::to_bits));
        Ok(())
    }
}

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

/// The latents of all steps and the picture, of one person with all bound LoRAs and one with none.
fn painted(painter: &Painter, bound: usize) -> (Vec<u32>, Vec<u8>) {
    let person = |left: f64, right: f64, loras: Vec<usize>| Person {
        prompt: "a woman".to_owned(),
        bounds: BoundingBox::new(left, 0.0, right, 1.0).unwrap(),
        depth: 0,
        loras,
    };
    let people = vec![person(0.0, 0.5, (0..bound).collect()), person(0.5, 1.0, Vec::new())];
    let job = Job {
        canvas: Canvas::new(96, 64).unwrap(),
        scene: Scene::Group { base: "two people".to_owned(), people },
        negative: "a forest".to_owned(),
        settings: Settings {
            sampling: SamplingOptions::new(Sampler::Ddim, Schedule::Uniform, 2),
            guidance: 4.0,
            guidance_rescale: 0.0,
            base_ratio: 0.2,
            isolate: 0.5,
        },
        noise: Noise::Seeded(Seed(3)),
    };
    let mut all = All::default();
    let rgb = painter.paint(&job, &mut all).unwrap().rgb;
    (all.0, rgb)
}

#[test]
fn a_painter_with_other_loras_paints_as_one_loaded_with_them() {
    let (unet, text) = (of_unet(), of_text());
    let mut down = scaled(&unet, 0.7);
    down.scale = Scales { uniform: 0.7, blocks: [("down".to_owned(), 0.0)].into() };
    let cases: [(&[Scaled], &[Scaled]); 8] = [
        (&[scaled(&unet, 0.8)], &[]),
        (&[scaled(&text, 0.5), scaled(&unet, 0.8)], &[]),
        (&[down], &[]),
        (&[scaled(&text, 0.5)], &[]),
        (&[], &[scaled(&unet, 0.8)]),
        (&[scaled(&unet, -0.5)], &[scaled(&text, 0.3), scaled(&unet, 1.0)]),
        (&[], &[scaled(&text, 0.5)]),
        (&[], &[]),
    ];
    let mut painter = load(&[], &[]);
    let at_first = painted(&painter, 0);
    let mut seen = vec![at_first.clone()];
    for (case, (merged, bound)) in cases.into_iter().enumerate() {
        let applied = painter.set_loras(Loras { merged, bound }).unwrap();
        assert_eq!(applied.len(), merged.len() + bound.len());
        let found = painted(&painter, bound.len());
        assert!(found == painted(&load(merged, bound), bound.len()), "case {case}");
        if case < 7 {
            assert!(!seen.contains(&found), "case {case} is painted as another");
            seen.push(found);
        } else {
            assert!(found == at_first, "the LoRAs left something behind");
        }
    }
}

/// One that doesn't fit is told before anything changes; one whose product is no number while the UNet is built, when the
/// text encoder is built already.
#[test]
fn after_an_error_the_painter_is_as_it_was() {
    let (unet, text) = (of_unet(), of_text());
    let before = [scaled(&unet, 0.8)];
    let mut painter = load(&before, &before);
    let at_first = painted(&painter, 1);
    let nowhere = made_up("lora_unet_nowhere", [4, 4], 1.0);
    let module = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    let huge = made_up(module, [8, 8], 1e38);
    for (bad, message) in [(&nowhere, "does not fit"), (&huge, "NaN or infinite")] {
        let merged = [scaled(&text, 0.5), scaled(bad, 1.0)];
        let error = painter.set_loras(Loras { merged: &merged, bound: &[] }).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(painted(&painter, 1) == at_first, "{message}");
    }
    painter.set_loras(Loras::default()).unwrap();
    assert!(painted(&painter, 0) == painted(&load(&[], &[]), 0));
}
