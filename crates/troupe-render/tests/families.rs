//! Whole generations of SDXL and of an inpainting model against diffusers' own pipelines.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::sync::Arc;

use serde_json::Value;
use troupe_core::layout::Canvas;
use troupe_core::region::BoundingBox;
use troupe_models::checkpoint::{ModelIndex, PipelineKind};
use troupe_models::config::TextFile;
use troupe_models::weights::{Bytes, ShardIndex, Weights};
use troupe_render::{
    Job, Loras, Noise, Options, Painter, PainterFiles, Person, RegionSettings, RenderError,
    Repaint, Scene, Settings, Tensor4, TextFiles, TokenizerFiles, Watcher,
};
use troupe_sampler::{Sampler, SamplingOptions, Schedule};
use troupe_testkit::{Golden, assert_close, golden_path, relative_error};

/// The bound on a whole generation of twenty steps in f32.
const TOLERANCE: f64 = 1e-3;

const STEPS: usize = 20;

/// Keeps the final latents.
#[derive(Default)]
struct Last(Option<Tensor4>);

impl Watcher for Last {
    fn step(
        &mut self,
        step: usize,
        _steps: usize,
        latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError> {
        if step == STEPS {
            self.0 = Some(latents()?);
        }
        Ok(())
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(golden_path(path)).unwrap()
}

fn bytes(path: &str) -> Bytes {
    Arc::new(fs::read(golden_path(path)).unwrap())
}

/// A network in several files.
fn sharded(folder: &str) -> Weights {
    let name = format!("{folder}/diffusion_pytorch_model.safetensors.index.json");
    let index = text(&name);
    let index = ShardIndex::from_json(TextFile { name: &name, bytes: index.as_bytes() }).unwrap();
    let file = |file: &str| (file.to_owned(), bytes(&format!("{folder}/{file}")));
    let files: Vec<_> = index.files().into_iter().map(file).collect();
    assert!(3 <= files.len());
    Weights::sharded(&index, files).unwrap()
}

fn golden() -> Golden {
    Golden::read(golden_path("generation-families/expected.safetensors"))
}

fn painter(name: &str, kind: PipelineKind, options: Options) -> Painter {
    let at = |file: &str| format!("generation-families/{name}/{file}");
    let weights = |file: &str| Weights::new(file, bytes(&at(file))).unwrap();
    let [scheduler, unet, vae] =
        ["scheduler/scheduler_config.json", "unet/config.json", "vae/config.json"]
            .map(|file| text(&at(file)));
    let tokenizer = text("clip/tokenizer.json");
    let encoders: Vec<(String, Weights, &str)> = ["text_encoder", "text_encoder_2"]
        .iter()
        .zip([r#"{"pad_token": "<|endoftext|>"}"#, r#"{"pad_token": "!"}"#])
        .take(if kind == PipelineKind::StableDiffusionXl { 2 } else { 1 })
        .map(|(part, padding)| {
            let config = text(&at(&format!("{part}/config.json")));
            (config, weights(&format!("{part}/model.safetensors")), padding)
        })
        .collect();
    let texts = encoders.iter().map(|(config, weights, padding)| TextFiles {
        tokenizer_config: Some(TextFile { name: "t", bytes: padding.as_bytes() }),
        tokenizer: TokenizerFiles::Whole(TextFile { name: "t", bytes: tokenizer.as_bytes() }),
        config: TextFile { name: "text_encoder", bytes: config.as_bytes() },
        weights: weights.clone(),
    });
    let files = PainterFiles {
        index: ModelIndex {
            scheduler: "DDIMScheduler".to_owned(),
            kind,
            zeros_for_empty_prompt: kind == PipelineKind::StableDiffusionXl,
        },
        scheduler: &scheduler,
        texts: texts.collect(),
        unet_config: &unet,
        unet: sharded(&at("unet")),
        vae_config: TextFile { name: "vae", bytes: vae.as_bytes() },
        vae: weights("vae/diffusion_pytorch_model.safetensors"),
        embeddings: Vec::new(),
        options,
    };
    Painter::load(files, Loras::default()).unwrap().0
}

fn sdxl(options: Options) -> Painter {
    painter("sdxl", PipelineKind::StableDiffusionXl, options)
}

fn job(scene: Scene, negative: &str) -> Job {
    let (values, shape) = golden().tensor("noise");
    let noise = Tensor4 { shape: shape.try_into().unwrap(), values };
    Job {
        canvas: Canvas::new(96, 64).unwrap(),
        scene,
        negative: negative.to_owned(),
        settings: Settings {
            sampling: SamplingOptions::new(Sampler::Ddim, Schedule::Uniform, STEPS),
            guidance: 3.0,
            guidance_rescale: 0.0,
            regions: RegionSettings::new(0.2, 0.5),
        },
        noise: Noise::Given { noise, steps: None },
    }
}

fn plain() -> Scene {
    Scene::Plain("two basketball players on an outdoor court".to_owned())
}

/// The scene of the golden `generation`.
fn group() -> Scene {
    let described: Value = serde_json::from_str(&text("generation/generation.json")).unwrap();
    let scene = &described["scene"];
    let person = |it: &Value| {
        let [left, top, right, bottom] =
            ["left", "top", "right", "bottom"].map(|side| it["box"][side].as_f64().unwrap());
        let bounds = BoundingBox::new(left, top, right, bottom).unwrap();
        let depth = it["depth"].as_u64().unwrap().try_into().unwrap();
        Person::new(it["sub_prompt"].as_str().unwrap(), bounds, depth)
    };
    Scene::Group {
        base: scene["base_prompt"].as_str().unwrap().to_owned(),
        people: scene["subjects"].as_array().unwrap().iter().map(person).collect(),
    }
}

/// Compares the final latents, and the picture's bytes where the golden has them.
#[track_caller]
fn check(name: &str, painter: &Painter, job: &Job, repaint: Option<&Repaint>) {
    let mut last = Last::default();
    let picture = match repaint {
        Some(repaint) => painter.repaint(job, repaint, &mut last).unwrap(),
        None => painter.paint(job, &mut last).unwrap(),
    };
    let golden = golden();
    let final_latents = last.0.unwrap().values;
    assert_close(name, &final_latents, &golden.tensor(name), TOLERANCE);
    let pictures = [("sdxl.plain", "sdxl.picture"), ("inpaint.final", "inpaint.picture")];
    if let Some((_, of)) = pictures.into_iter().find(|(case, _)| *case == name) {
        let (mut expected, _) = golden.tensor(of);
        // Elsewhere the picture keeps its bytes.
        for (at, &anew) in repaint.iter().flat_map(|it| it.anew.iter().enumerate()) {
            for byte in (3 * at..3 * at + 3).filter(|_| !anew) {
                expected[byte] = f32::from(repaint.map_or(0, |it| it.rgb[byte]));
            }
        }
        let pairs = picture.rgb.iter().zip(&expected);
        let most = pairs.map(|(&a, &b)| (f32::from(a) - b).abs()).fold(0.0, f32::max);
        assert!(picture.rgb.len() == expected.len() && most <= 1.0, "a byte differs by {most}");
    }
}

// Fails when the encoders' layers, their order, the pooled text, the padding of one of them, or a
// size is wrong.
#[test]
fn sdxl_paints_a_prompt_as_diffusers_paints_it() {
    check("sdxl.plain", &sdxl(Options::default()), &job(plain(), "a photograph"), None);
}

#[test]
fn no_negative_prompt_is_zeros_for_sdxl() {
    check("sdxl.zeros", &sdxl(Options::default()), &job(plain(), ""), None);
}

#[test]
fn clip_skip_two_is_the_default_of_sdxl_and_three_is_diffusers_one() {
    let [two, three] = [2, 3].map(|clip_skip| sdxl(Options { clip_skip, ..Options::default() }));
    check("sdxl.plain", &two, &job(plain(), "a photograph"), None);
    check("sdxl.skipped", &three, &job(plain(), "a photograph"), None);
}

#[test]
fn sdxl_paints_people_in_boxes_as_the_reference_paints_them() {
    check("sdxl.regional", &sdxl(Options::default()), &job(group(), "a photograph"), None);
}

// Fails when the pass of a person has another text pooled than the person's.
#[test]
fn sdxl_composed_of_one_person_everywhere_is_the_prompt_alone() {
    let bounds = BoundingBox::new(0.0, 0.0, 1.0, 1.0).unwrap();
    let Scene::Plain(prompt) = plain() else { panic!("a prompt") };
    let people = vec![Person::new(prompt, bounds, 0)];
    let mut composed =
        job(Scene::Group { base: "an empty court".to_owned(), people }, "a photograph");
    composed.settings.regions = RegionSettings { compose: 1.0, ..RegionSettings::new(0.0, 0.0) };
    check("sdxl.plain", &sdxl(Options::default()), &composed, None);
}

fn repaint() -> Repaint {
    let golden = golden();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
    let byte = |value: f32| value as u8;
    Repaint {
        rgb: golden.tensor("inpaint.rgb").0.into_iter().map(byte).collect(),
        anew: golden.tensor("inpaint.anew").0.into_iter().map(|it| 0.5 < it).collect(),
        feather: 0,
        strength: 1.0,
    }
}

// Fails when the mask is upside down, stands behind the picture, or the picture isn't masked.
#[test]
fn an_inpainting_model_repaints_as_diffusers_does() {
    let painter = painter("inpaint", PipelineKind::StableDiffusion, Options::default());
    assert!(painter.inpaints());
    check("inpaint.final", &painter, &job(plain(), "a photograph"), Some(&repaint()));
    let mut half = repaint();
    half.anew.pop();
    let job = job(plain(), "");
    let error = painter.repaint(&job, &half, &mut Last::default()).unwrap_err().to_string();
    assert!(error.contains("aren't of 96 x 64 pixels"), "{error}");
    // Without a picture it paints all of one.
    painter.paint(&job, &mut Last::default()).unwrap();
}

// Fails when a window's size, prompts or mask aren't those that a picture of one would have.
#[test]
fn who_is_painted_alone_is_what_a_picture_of_one_would_be() {
    let painters = [
        sdxl(Options::default()),
        painter("inpaint", PipelineKind::StableDiffusion, Options::default()),
    ];
    // Boxes as large as these have all of the picture for their window.
    let person = |prompt: &str, left: f64, right: f64| {
        Person::new(prompt, BoundingBox::new(left, 0.0, right, 1.0).unwrap(), 0)
    };
    let two = [person("a doctor", 0.0, 0.7), person("a chef", 0.3, 1.0)];
    for painter in &painters {
        let latents = |people: &[Person]| {
            let scene = Scene::Group { base: "a court".to_owned(), people: people.to_vec() };
            let mut job = job(scene, "a photograph");
            job.settings.regions.alone = 1.0;
            let mut last = Last::default();
            painter.paint(&job, &mut last).unwrap();
            last.0.unwrap().values
        };
        let columns = |latents: Vec<f32>, columns: std::ops::Range<usize>| -> Vec<f32> {
            latents.chunks_exact(12).flat_map(|row| row[columns.clone()].to_vec()).collect()
        };
        let both = latents(&two);
        // Of the later one is what both boxes hold.
        assert_eq!(columns(both.clone(), 0..4), columns(latents(&two[..1]), 0..4));
        assert_eq!(columns(both, 4..12), columns(latents(&two[1..]), 4..12));
    }
}

#[test]
fn weights_chunks_and_tiles_change_the_picture() {
    let painter = sdxl(Options::default());
    let latents = |painter: &Painter, prompt: &str| {
        let mut job = job(Scene::Plain(prompt.to_owned()), "a photograph");
        job.settings.sampling.steps = STEPS;
        let mut last = Last::default();
        let picture = painter.paint(&job, &mut last).unwrap();
        (last.0.unwrap().values, picture.rgb)
    };
    let (plain, rgb) = latents(&painter, "two doctors, smiling");
    let moved = |prompt: &str| relative_error(&latents(&painter, prompt).0, &plain);
    assert!(0.01 < moved("two (doctors:1.4), smiling"));
    assert!(0.01 < moved("two BREAK doctors, smiling"));
    assert_eq!(latents(&painter, r"two doctors, (smiling:1.0)").0, plain);
    let tiled = sdxl(Options { tile: 32, ..Options::default() });
    let (same, in_tiles) = latents(&tiled, "two doctors, smiling");
    assert_eq!(same, plain);
    assert_ne!(in_tiles, rgb);
}
