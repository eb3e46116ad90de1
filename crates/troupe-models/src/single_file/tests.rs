//! Single files against diffusers folders of the same models, and files that are something else.

use std::fs;

use troupe_testkit::golden_path;

use super::*;
use crate::clip::{ClipConfig, ClipLayer, ClipTextEncoder};
use crate::config::TextFile;
use crate::unet::UNetConfig;
use crate::vae::VaeConfig;

fn bytes(path: &str) -> Vec<u8> {
    fs::read(golden_path(&format!("single-file/{path}"))).unwrap()
}

fn open(bytes: Vec<u8>) -> Result<SingleFile, SingleFileError> {
    SingleFile::open("single.safetensors", Arc::new(bytes))
}

fn folder(part: &str, stem: &str) -> (String, Weights) {
    let config = String::from_utf8(bytes(&format!("{part}/config.json"))).unwrap();
    let file = format!("{part}/{stem}.fp16.safetensors");
    (config, Weights::new(&file, Arc::new(bytes(&file))).unwrap())
}

fn bits(weights: &Weights, name: &str) -> (Vec<usize>, Vec<u32>) {
    let shape = weights.shape(name).unwrap_or_else(|| panic!("{weights:?} has no {name}")).to_vec();
    let values: Vec<f32> =
        weights.get(name, &shape).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (shape, values.into_iter().map(f32::to_bits).collect())
}

/// Every tensor of the folder is in the single file, to the bit.
fn check_same(single: &Weights, folder: &Weights) {
    let names = folder.names();
    assert!(!names.is_empty());
    for name in names {
        assert_eq!(bits(single, &name), bits(folder, &name), "{name}");
    }
}

fn text(name: &'static str, text: &str) -> ClipConfig {
    ClipConfig::from_json(TextFile { name, bytes: text.as_bytes() }).unwrap()
}

/// A single file is the folder that diffusers' conversion makes of it.
#[track_caller]
fn check(name: &str, family: Family, sample_size: usize) {
    let single = open(bytes(&format!("{name}/single.safetensors"))).unwrap();
    assert_eq!(single.family, family);
    assert_eq!(UNetConfig::sample_size(&single.unet_config), Some(sample_size));
    let (config, unet) = folder(&format!("{name}/unet"), "diffusion_pytorch_model");
    check_same(&single.unet, &unet);
    let read = |text: &str| UNetConfig::from_json(text).unwrap();
    assert_eq!(read(&single.unet_config), read(&config));
    let (config, vae) = folder(&format!("{name}/vae"), "diffusion_pytorch_model");
    check_same(&single.vae, &vae);
    let read = |text: &str| {
        VaeConfig::from_json(TextFile { name: "vae", bytes: text.as_bytes() }).unwrap()
    };
    assert_eq!(read(&single.vae_config), read(&config));

    for (index, part) in single.text_encoders.iter().enumerate() {
        let number = ["", "_2"][index];
        let (config, weights) = folder(&format!("{name}/text_encoder{number}"), "model");
        let encoder = |config: ClipConfig, weights: &Weights| {
            let made =
                if index == 0 { ClipTextEncoder::new } else { ClipTextEncoder::with_projection };
            let encoder = made(config, weights).unwrap();
            let layer = ClipLayer { skipped: index, normed: index == 0 };
            let output = encoder.encode(&[38, 5, 7, 39], &[], layer).unwrap();
            let pooled = output.pooled.map(|it| it.to_vec1::<f32>().unwrap());
            (output.hidden.to_vec2::<f32>().unwrap(), pooled)
        };
        let single = encoder(text("single", &part.config), &part.weights);
        assert_eq!(single, encoder(text("folder", &config), &weights));
    }
}

// Each fails when a name, a third of a matrix, a transposition or a number of the configuration is
// wrong.
#[test]
fn stable_diffusion_1_in_one_file_is_the_folder() {
    check("sd1", Family::Sd1, 64);
}

#[test]
fn stable_diffusion_2_in_one_file_is_the_folder() {
    check("sd2", Family::Sd2, 64);
}

#[test]
fn stable_diffusion_xl_in_one_file_is_the_folder() {
    check("sdxl", Family::Sdxl, 128);
}

#[test]
fn every_name_of_the_real_networks_is_that_of_diffusers() {
    for (family, count) in [("sd1", 934), ("sd2", 934), ("sdxl", 2000)] {
        let lines = String::from_utf8(bytes(&format!("{family}.txt"))).unwrap();
        for line in lines.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["unet", ldm, diffusers] => {
                    assert_eq!(names::unet(ldm, 2).as_deref(), Some(*diffusers), "{ldm}");
                }
                ["vae", ldm, diffusers] => {
                    let name = names::vae(ldm, 4).map(|it| it.name);
                    assert_eq!(name.as_deref(), Some(*diffusers), "{ldm}");
                }
                ["open_clip", name] => assert!(!names::open_clip(name).is_empty(), "{name}"),
                _ => panic!("{line}"),
            }
        }
        assert!(count <= lines.lines().count(), "{}", lines.lines().count());
    }
}

#[test]
fn names_that_lead_nowhere_are_passed_over() {
    for name in ["input_blocks.x.0.op.weight", "output_blocks.1", "middle_block.7.norm.weight", ""]
    {
        assert_eq!(names::unet(name, 2), None, "{name}");
    }
    for name in ["decoder.up.9.block.0.conv1.weight", "loss.logvar", "encoder.mid.block_3.a"] {
        assert_eq!(names::vae(name, 4), None, "{name}");
    }
    assert!(names::open_clip("logit_scale").is_empty());
}

/// A file of empty tensors with these names.
fn named(names: &[&str]) -> Vec<u8> {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let view = |name| (name, TensorView::new(Dtype::F32, vec![0], &[]).unwrap());
    serialize(names.iter().copied().map(view), None).unwrap()
}

#[test]
fn what_is_no_checkpoint_is_told_by_what_it_is() {
    let check = |names: &[&str], says: &str| {
        let error = open(named(names)).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("`single.safetensors`"), "{error}");
    };
    let unet = "model.diffusion_model.input_blocks.0.0.weight";
    let clip = "cond_stage_model.transformer.text_model.x";
    check(&["double_blocks.0.x"], "a diffusion transformer");
    check(&["lora_unet_x.lora_down.weight"], "a LoRA");
    check(&[unet, "conditioner.embedders.0.model.x"], "the refiner of SDXL");
    check(&["control_model.x"], "a ControlNet");
    check(&["down_blocks.0.x"], "a UNet of a diffusers folder");
    check(&["x"], "without a UNet");
    check(&[unet], "a UNet without text encoders");
    check(&[unet, clip], "without an autoencoder");
    check(&[unet, clip, "first_stage_model.x"], "has no whole text encoder");
    assert!(matches!(open(b"PK\x03\x04".to_vec()), Err(SingleFileError::Weights(_))));
    let whole = bytes("sd1/single.safetensors");
    assert!(open(whole[..whole.len() - 1].to_vec()).is_err());
}

#[test]
fn an_autoencoder_alone_has_either_names_and_either_prefix() {
    let (_, folder) = folder("sd1/vae", "diffusion_pytorch_model");
    let whole = bytes("sd1/single.safetensors");
    let with_prefix = vae_file("v", Arc::new(whole.clone())).unwrap();
    check_same(&with_prefix, &folder);
    let file = "sd1/vae/diffusion_pytorch_model.fp16.safetensors";
    check_same(&vae_file("v", Arc::new(bytes(file))).unwrap(), &folder);
    // The same without the prefix.
    let tensors = safetensors::SafeTensors::deserialize(&whole).unwrap();
    let bare =
        tensors.iter().filter_map(|(key, view)| Some((key.strip_prefix(VAE)?.to_owned(), view)));
    let bare = safetensors::serialize(bare, None).unwrap();
    check_same(&vae_file("v", Arc::new(bare)).unwrap(), &folder);
    let error = vae_file("v", Arc::new(named(&["x"]))).unwrap_err().to_string();
    assert!(error.contains("no autoencoder"), "{error}");
}

#[test]
fn marks_say_that_velocity_is_predicted() {
    let whole = bytes("sdxl/single.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&whole).unwrap();
    let plain = open(whole.clone()).unwrap().scheduler;
    assert!(plain.contains("epsilon") && plain.contains("leading"));
    let mut marked: Vec<_> = tensors.iter().collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![0], &[]).unwrap();
    marked.extend([("v_pred", view.clone()), ("ztsnr", view)]);
    let scheduler = open(safetensors::serialize(marked, None).unwrap()).unwrap().scheduler;
    let says = ["v_prediction", "\"rescale_betas_zero_snr\":true", "trailing"];
    assert!(says.iter().all(|it| scheduler.contains(it)), "{scheduler}");
}

#[test]
fn stable_diffusion_2_is_at_home_on_more_pixels_where_it_predicts_velocity() {
    let whole = bytes("sd2/single.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&whole).unwrap();
    let mut marked: Vec<_> = tensors.iter().collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![0], &[]).unwrap();
    marked.push(("v_pred", view));
    let config = open(safetensors::serialize(marked, None).unwrap()).unwrap().unet_config;
    assert_eq!(UNetConfig::sample_size(&config), Some(96));
}
