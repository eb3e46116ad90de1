//! The text encoder beside that of transformers.

use std::fs;
use std::sync::Arc;

use candle_core::Device;
use troupe_testkit::{Golden, assert_close, golden_path};

use super::*;

fn config(json: &str) -> Result<ClipConfig, ConfigError> {
    ClipConfig::from_json(TextFile { name: "config.json", bytes: json.as_bytes() })
}

/// The last hidden state, as SD 1.x listens to it.
const LAST: ClipLayer = ClipLayer { skipped: 0, normed: true };

fn last_hidden_state(encoder: &ClipTextEncoder, ids: &[u32]) -> Result<Tensor, ModelError> {
    Ok(encoder.encode(ids, &[], LAST)?.hidden)
}

fn golden(name: &str) -> (ClipTextEncoder, Golden) {
    let path = golden_path(&format!("clip/{name}"));
    let json = fs::read_to_string(path.join("config.json")).unwrap();
    let bytes = Arc::new(fs::read(path.join("model.safetensors")).unwrap());
    let weights = Weights::new("model.safetensors", bytes).unwrap();
    let config = config(&json).unwrap();
    let encoder = if weights.contains("text_projection.weight") {
        ClipTextEncoder::with_projection(config, &weights).unwrap()
    } else {
        ClipTextEncoder::new(config, &weights).unwrap()
    };
    (encoder, Golden::read(path.join("expected.safetensors")))
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Golden: transformers in double precision. Each layer gets the reference's input, so that an
/// error shows where it is made.
#[track_caller]
fn check(name: &str, sequences: usize) {
    let (encoder, expected) = golden(name);
    for sequence in 0..sequences {
        let state = |layer: usize| expected.tensor(&format!("{sequence}.hidden.{layer}"));
        let ids = values_of_ids(&expected.tensor(&format!("{sequence}.ids")).0);
        assert_close("embeddings", &values(&encoder.embed(&ids, &[]).unwrap()), &state(0), 1e-6);
        for (index, layer) in encoder.layers.iter().enumerate() {
            let (input, shape) = state(index);
            let input = Tensor::from_vec(input, (1, shape[0], shape[1]), &Device::Cpu).unwrap();
            let output = values(&layer.forward(&input, Some(Mask::Causal)).unwrap());
            assert_close(&format!("layer {index}"), &output, &state(index + 1), 1e-5);
        }
        let last = last_hidden_state(&encoder, &ids).unwrap();
        let wanted = expected.tensor(&format!("{sequence}.last_hidden_state"));
        assert_eq!(last.dims(), wanted.1);
        assert_close("last_hidden_state", &values(&last), &wanted, 1e-5);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small integers")]
fn values_of_ids(ids: &[f32]) -> Vec<u32> {
    ids.iter().map(|&id| id as u32).collect()
}

#[test]
fn quick_gelu_encoder_agrees_with_transformers() {
    check("quick_gelu", 3);
}

#[test]
fn gelu_encoder_with_prefixed_names_agrees_with_transformers() {
    check("gelu", 2);
}

// Fails when the wrong layer is taken, a norm is added or left out, the pooled row is that of
// another token, or the projection is transposed.
#[test]
fn every_layer_and_the_pooled_text_agree_with_transformers() {
    let (mut encoder, expected) = golden("projection");
    let third = |sequence| values_of_ids(&expected.tensor(&format!("{sequence}.ids")).0)[2];
    for sequence in 0..2 {
        let ids = values_of_ids(&expected.tensor(&format!("{sequence}.ids")).0);
        let wanted = |name: &str| expected.tensor(&format!("{sequence}.{name}"));
        encoder.config.end = EndOfText::LargestId;
        for skipped in 0..3 {
            for (normed, name) in [(false, "bare"), (true, "normed")] {
                let output = encoder.encode(&ids, &[], ClipLayer { skipped, normed }).unwrap();
                let name = format!("{name}.{skipped}");
                assert_close(&name, &values(&output.hidden), &wanted(&name), 1e-5);
                let pooled = output.pooled.unwrap();
                assert_close("pooled", &values(&pooled), &wanted("text_embeds"), 1e-5);
            }
        }
        encoder.config.end = EndOfText::Id(third(sequence));
        let pooled = encoder.encode(&ids, &[], LAST).unwrap().pooled.unwrap();
        assert_close("pooled", &values(&pooled), &wanted("text_embeds_of_third"), 1e-5);
    }
    let too_many = ClipLayer { skipped: 3, normed: true };
    let error = encoder.encode(&[1], &[], too_many).unwrap_err().to_string();
    assert_eq!(error, "the number of layers to skip is 3, and 0 to 2 was wanted");
}

#[test]
fn an_encoder_without_projection_has_no_pooled_text() {
    let (encoder, _) = golden("gelu");
    assert!(encoder.encode(&[5], &[], LAST).unwrap().pooled.is_none());
    let bytes = fs::read(golden_path("clip/gelu/model.safetensors")).unwrap();
    let weights = Weights::new("model.safetensors", Arc::new(bytes)).unwrap();
    let error = ClipTextEncoder::with_projection(encoder.config, &weights).unwrap_err();
    assert!(error.to_string().contains("no tensor `text_projection.weight`"), "{error}");
}

#[test]
fn a_learned_token_takes_the_place_of_an_embedding() {
    let (encoder, _) = golden("gelu");
    let plain = last_hidden_state(&encoder, &[9, 7, 8]).unwrap();
    let vector = encoder.embeddings.tokens.get(7).unwrap();
    let learned = |position| LearnedToken { position, vector: vector.clone() };
    let output = encoder.encode(&[9, 0, 8], &[learned(1)], LAST).unwrap();
    assert_eq!(values(&output.hidden), values(&plain));
    let error = encoder.encode(&[9, 0], &[learned(2)], LAST).unwrap_err().to_string();
    assert!(error.contains("[24], at a place below 2") && error.contains("[24] at 2"));
}

#[test]
fn what_it_cannot_embed_is_refused() {
    let (encoder, _) = golden("gelu");
    let refusal = |ids: &[u32]| last_hidden_state(&encoder, ids).unwrap_err().to_string();
    assert_eq!(refusal(&[]), "the number of tokens is 0, and 1 to 77 was wanted");
    assert_eq!(refusal(&[0; 78]), "the number of tokens is 78, and 1 to 77 was wanted");
    assert_eq!(refusal(&[0, 664, 0]), "the token id is 664, and one below 664 was wanted");
    last_hidden_state(&encoder, &[663; 77]).unwrap();
}

#[test]
fn what_a_configuration_does_not_say_is_that_of_transformers() {
    let default = config("{}").unwrap();
    assert_eq!((default.width(), default.positions()), (512, 77));
    assert_eq!(default.vocabulary(), 49_408);
}

#[test]
fn networks_that_cannot_be_are_refused() {
    #[track_caller]
    fn check(json: &str, expected: &str) {
        assert_eq!(config(json).unwrap_err().to_string(), format!("`config.json` {expected}"));
    }
    let read = "can't be read as the configuration of a CLIP text encoder";
    check(r#"{"hidden_act": "relu"}"#, read);
    check(r#"{"hidden_size": -4}"#, read);
    check(r#"{"hidden_size": 1e99}"#, read);
    check("[", read);
    check(r#"{"hidden_size": 0}"#, "has hidden_size 0, and 1 or more was wanted");
    check(
        r#"{"hidden_size": 10, "num_attention_heads": 4}"#,
        "has num_attention_heads 4, and a divisor of 10 was wanted",
    );
    check(
        r#"{"layer_norm_eps": -1}"#,
        "has layer_norm_eps -1, and a number not below 0 was wanted",
    );
    check(r#"{"model_type": "t5"}"#, "has model_type t5, and clip_text_model was wanted");
}

#[test]
fn sizes_that_the_file_lacks_are_refused_before_memory_is_taken() {
    let bytes = fs::read(golden_path("clip/gelu/model.safetensors")).unwrap();
    let weights = Weights::new("model.safetensors", Arc::new(bytes)).unwrap();
    let json = r#"{"vocab_size": 18446744073709551615, "hidden_size": 8, "num_hidden_layers": 18446744073709551615}"#;
    let error = ClipTextEncoder::new(config(json).unwrap(), &weights).unwrap_err();
    let key = "text_model.embeddings.token_embedding.weight";
    assert!(error.to_string().contains(key), "{error}");
}
