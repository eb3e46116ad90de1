//! Numbers that come to nothing are found where they first appear, and are never a picture.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use troupe_core::layout::Canvas;
use troupe_core::seed::Seed;
use troupe_render::{
    Job, Loras, Noise, RegionSettings, RenderError, Scene, Settings, Tensor4, Watcher,
};
use troupe_sampler::{Sampler, SamplingOptions, Schedule};

use self::support::tiny;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
/// Finite, and twice as much isn't.
const LARGE: f32 = 3e38;

/// Counts the steps that were begun.
struct Steps(usize);

impl Watcher for Steps {
    fn step(
        &mut self,
        step: usize,
        steps: usize,
        _latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError> {
        self.0 += usize::from(step < steps);
        Ok(())
    }
}

fn job() -> Job {
    Job {
        canvas: Canvas::new(96, 64).unwrap(),
        scene: Scene::Plain("two doctors".to_owned()),
        negative: String::new(),
        settings: Settings {
            sampling: SamplingOptions::new(Sampler::EulerAncestral, Schedule::Uniform, 4),
            guidance: 3.0,
            guidance_rescale: 0.0,
            regions: RegionSettings::new(0.2, 0.5),
        },
        noise: Noise::Seeded(Seed(7)),
    }
}

/// A file of weights in which every number of one tensor is this one.
fn filled(file: &[u8], tensor: &str, value: f32) -> Vec<u8> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let shape = tensors.tensor(tensor).unwrap().shape().to_vec();
    let bytes = value.to_le_bytes().repeat(shape.iter().product());
    let new = TensorView::new(Dtype::F32, shape, &bytes).unwrap();
    let all =
        tensors.iter().map(|(name, it)| (name, if name == tensor { new.clone() } else { it }));
    serialize(all, None).unwrap()
}

/// Paints with one tensor changed; returns why there is no picture, and how many steps were begun.
fn failure(job: &Job, file: &str, tensor: &str, value: f32) -> (String, usize) {
    let change = |name: &str, bytes: Vec<u8>| {
        if name == file { filled(&bytes, tensor, value) } else { bytes }
    };
    let mut steps = Steps(0);
    let error = tiny(Loras::default(), change).unwrap().paint(job, &mut steps).unwrap_err();
    (error.to_string(), steps.0)
}

#[test]
fn a_unet_that_overflows_is_stopped_in_its_first_step() {
    for guidance in [1.0, 3.0] {
        let mut job = job();
        job.settings.guidance = guidance;
        let (error, steps) = failure(&job, UNET, "conv_out.weight", LARGE);
        assert!(error.contains("the UNet says in step 1 of 4 has NaN or infinity"), "{error}");
        assert_eq!(steps, 1);
    }
}

#[test]
fn the_step_in_which_numbers_come_to_nothing_is_named() {
    let mut job = job();
    let numbers = |shape: [usize; 4]| vec![0.5_f32; shape.iter().product()];
    let (first, later) = ([1, 4, 8, 12], [4, 4, 8, 12]);
    let mut added = numbers(later);
    // Enters the third step, with the noise that the second adds.
    added[4 * 8 * 12 + 5] = f32::INFINITY;
    job.noise = Noise::Given {
        noise: Tensor4 { shape: first, values: numbers(first) },
        steps: Some(Tensor4 { shape: later, values: added }),
    };
    let (error, steps) = failure(&job, "none", "", 0.0);
    assert!(error.contains("the UNet says in step 3 of 4 has NaN or infinity"), "{error}");
    assert_eq!(steps, 3);
}

#[test]
fn a_prompt_that_is_too_strong_is_named() {
    let mut job = job();
    job.scene = Scene::Plain(format!("a (doctor:1{})", "0".repeat(40)));
    let (error, steps) = failure(&job, "none", "", 0.0);
    assert!(error.contains("the encoded prompt `a (doctor:1000"), "{error}");
    assert_eq!(steps, 0);
}

#[test]
fn an_autoencoder_that_overflows_or_paints_one_colour_gives_no_picture() {
    let (error, steps) = failure(&job(), VAE, "decoder.conv_out.weight", LARGE);
    assert!(error.contains("the decoded picture has NaN or infinity"), "{error}");
    assert_eq!(steps, 4);
    let (error, _) = failure(&job(), VAE, "decoder.conv_out.weight", 0.0);
    assert!(error.contains("of one colour all over"), "{error}");
}

#[test]
fn guidance_that_leaves_the_range_is_found_before_the_autoencoder_is_asked() {
    let mut job = job();
    job.settings.guidance = f64::MAX;
    let (error, _) = failure(&job, "none", "", 0.0);
    assert!(error.contains("what the UNet says in step 2 of 4"), "{error}");
    job.settings.sampling.steps = 1;
    let (error, _) = failure(&job, "none", "", 0.0);
    assert!(error.contains("what is left after the last step of 1"), "{error}");
}
