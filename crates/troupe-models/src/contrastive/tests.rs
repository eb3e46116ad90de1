//! Both families beside transformers.

use std::fs;
use std::sync::Arc;

use candle_core::Device;
use serde_json::{Value, json};
use troupe_testkit::{Golden, assert_close, golden_path};

use super::*;
use crate::config::{ConfigError, TextFile};

fn config(json: &str) -> Result<ContrastiveConfig, ConfigError> {
    ContrastiveConfig::from_json(TextFile { name: "config.json", bytes: json.as_bytes() })
}

fn golden(name: &str) -> (Contrastive, Golden) {
    let path = golden_path(&format!("contrastive/{name}"));
    let config = config(&fs::read_to_string(path.join("config.json")).unwrap()).unwrap();
    let bytes = Arc::new(fs::read(path.join("model.safetensors")).unwrap());
    let weights = Weights::new("model.safetensors", bytes).unwrap();
    let model = Contrastive::new(config, &weights).unwrap();
    (model, Golden::read(path.join("expected.safetensors")))
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small integers")]
fn ids(expected: &Golden) -> Vec<Vec<u32>> {
    let (ids, shape) = expected.tensor("ids");
    ids.chunks(shape[1]).map(|row| row.iter().map(|&id| id as u32).collect()).collect()
}

/// Golden: transformers in double precision.
#[track_caller]
fn check(name: &str) {
    let (model, expected) = golden(name);
    let texts = model.texts(&ids(&expected)).unwrap();
    assert_close("texts", &values(&texts), &expected.tensor("text_embeds"), 1e-5);
    let (pixels, shape) = expected.tensor("pictures");
    let pixels = Tensor::from_vec(pixels, shape, &Device::Cpu).unwrap();
    let pictures = model.pictures(&pixels).unwrap();
    assert_close("pictures", &values(&pictures), &expected.tensor("image_embeds"), 1e-5);
    let (scale, _) = expected.tensor("scale");
    assert!((model.scale() / scale[0] - 1.0).abs() < 1e-6);
}

#[test]
fn clip_agrees_with_transformers() {
    check("clip");
}

#[test]
fn clip_with_gelu_and_a_patch_that_leaves_a_rest_agrees_with_transformers() {
    check("clip_gelu");
}

#[test]
fn siglip_agrees_with_transformers() {
    check("siglip");
}

#[test]
fn other_models_are_refused() {
    #[track_caller]
    fn refused(json: &str, expected: &str) {
        let error = config(json).unwrap_err().to_string();
        assert_eq!(error, format!("`config.json` {expected}"));
    }
    refused(
        r#"{"model_type": "siglip2"}"#,
        "has model_type siglip2, and clip or siglip was wanted",
    );
    refused("{}", "can't be read as the configuration of a CLIP or SigLIP model");
    refused(
        r#"{"model_type": "clip", "vision_config": {"image_size": 8, "patch_size": 9}}"#,
        "has patch_size 9, and 1 to 8 was wanted",
    );
    refused(
        r#"{"model_type": "clip", "vision_config": {"image_size": 5000}}"#,
        "has image_size 5000, and at most 4096 was wanted",
    );
    refused(
        r#"{"model_type": "clip", "projection_dim": 0}"#,
        "has projection_dim 0, and 1 or more was wanted",
    );
    refused(
        r#"{"model_type": "clip", "vision_config": {"num_channels": 4}}"#,
        "has num_channels 4, and 3 was wanted",
    );
    refused(
        r#"{"model_type": "siglip", "text_config": {"projection_size": 5}}"#,
        "has projection_size 5, and 768 was wanted",
    );
}

#[test]
fn older_files_say_a_part_twice_and_the_second_holds() {
    let json = fs::read(golden_path("contrastive/clip_gelu/config.json")).unwrap();
    let mut json: Value = serde_json::from_slice(&json).unwrap();
    let whole = config(&json.to_string()).unwrap();
    for part in ["text_config", "vision_config"] {
        let said = json[part].take();
        json[format!("{part}_dict")] = said;
    }
    assert_eq!(config(&json.to_string()).unwrap(), whole);
    json["text_config"] = json!({"hidden_act": "quick_gelu", "hidden_size": 99});
    assert_eq!(config(&json.to_string()).unwrap(), whole);
}

#[test]
fn what_is_no_text_or_picture_of_its_size_is_refused() {
    let (model, expected) = golden("siglip");
    let refusal = |ids: Vec<u32>| model.texts(&[ids]).unwrap_err().to_string();
    let (positions, vocabulary) = (model.config().positions(), model.config().vocabulary());
    assert_eq!(
        refusal(vec![0; positions - 1]),
        format!("the number of tokens is {}, and {positions} was wanted", positions - 1)
    );
    let unknown = u32::try_from(vocabulary).unwrap();
    assert_eq!(
        refusal(vec![unknown; positions]),
        format!("the token id is {vocabulary}, and one below {vocabulary} was wanted")
    );
    let (pixels, shape) = expected.tensor("pictures");
    let pixels = Tensor::from_vec(pixels, shape, &Device::Cpu).unwrap();
    let cut = pixels.narrow(1, 0, 3).unwrap();
    assert!(model.pictures(&cut).unwrap_err().to_string().contains("shape of the pictures"));
}
