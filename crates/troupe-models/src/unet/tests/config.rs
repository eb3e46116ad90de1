//! Which configurations are a network of ours.

use super::*;

fn config(edit: impl Fn(&mut serde_json::Map<String, serde_json::Value>)) -> String {
    let text = fs::read_to_string(golden_path("unet/two_layers.json")).unwrap();
    let mut map = serde_json::from_str(&text).unwrap();
    edit(&mut map);
    serde_json::to_string(&map).unwrap()
}

#[test]
fn what_would_change_the_architecture_is_refused_by_name() {
    let check = |key: &str, value: &str, message: &str| {
        let text = config(|map| {
            map.insert(key.to_owned(), serde_json::from_str(value).unwrap());
        });
        let error = UNetConfig::from_json(&text).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains(key), "{error}");
    };
    check("down_block_types", r#"["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"]"#, "Attn");
    check("down_block_types", r#"["DownBlock2D"]"#, "a list of 3 block types");
    check("mid_block_type", r#""UNetMidBlock2D""#, "UNetMidBlock2DCrossAttn");
    check("mid_block_type", "null", "UNetMidBlock2DCrossAttn");
    check("norm_num_groups", "null", "a number");
    check("block_out_channels", "[]", "1 to 8");
    check("block_out_channels", "[8, 16, 1e9]", "whole number");
    check("block_out_channels", "[8, 16, 18]", "multiples of 4");
    check("block_out_channels", "[8, -16, 16]", "whole number");
    check("attention_head_dim", "3", "divisor of 8");
    check("attention_head_dim", "[2, 2]", "a list of 3");
    check("layers_per_block", "0", "whole number");
    check("transformer_layers_per_block", "[1, [1, 1], 1]", "whole number");
    check("act_fn", r#""gelu""#, "silu");
    check("addition_embed_type", r#""image""#, "text_time");
    let sdxl = |dim: &str, inputs: &str| {
        let edit = |map: &mut serde_json::Map<String, serde_json::Value>| {
            map.insert("addition_embed_type".to_owned(), "text_time".into());
            map.insert("addition_time_embed_dim".to_owned(), serde_json::from_str(dim).unwrap());
            let inputs = serde_json::from_str(inputs).unwrap();
            map.insert("projection_class_embeddings_input_dim".to_owned(), inputs);
        };
        UNetConfig::from_json(&config(edit)).map_err(|error| error.to_string())
    };
    let addition = Some(Addition { time_embed_dim: 256, pooled: 1280 });
    assert_eq!(sdxl("256", "2816").unwrap().addition, addition);
    assert!(sdxl("255", "2816").unwrap_err().contains("an even number"));
    assert!(sdxl("256", "1536").unwrap_err().contains("more than 6 times 256"));
    assert!(sdxl("null", "2816").unwrap_err().contains("addition_time_embed_dim"));
    check("class_embed_type", r#""timestep""#, "null");
    check("resnet_time_scale_shift", r#""scale_shift""#, "default");
    check("only_cross_attention", "true", "false");
    check("downsample_padding", "2", "0 or 1");
    check("mid_block_scale_factor", "2", "1");
    check("norm_eps", "-1", "negative");
    check("freq_shift", "4", "less than 4");
    check("cross_attention_dim", "[16, 16, 32]", "one number");
    check("_class_name", r#""FluxTransformer2DModel""#, "UNet2DConditionModel");
    check("attention_of_the_future", "7", "unknown");
    assert!(UNetConfig::from_json("[1]").unwrap_err().to_string().contains("not valid JSON"));
}

#[test]
fn what_changes_nothing_is_passed_over() {
    let plain = UNetConfig::from_json(&config(|_| {})).unwrap();
    let text = config(|map| {
        map.insert("_name_or_path".to_owned(), "somewhere".into());
        map.insert("sample_size".to_owned(), 96.into());
        map.insert("dropout".to_owned(), 0.1.into());
        map.insert("upcast_attention".to_owned(), true.into());
        map.insert("class_embed_of_the_future".to_owned(), serde_json::Value::Null);
        map.insert("cross_attention_dim".to_owned(), vec![16, 16, 16].into());
        map.insert("attention_head_dim".to_owned(), vec![2, 2, 2].into());
        map.insert("act_fn".to_owned(), "swish".into());
        for key in ["freq_shift", "flip_sin_to_cos", "in_channels", "only_cross_attention"] {
            map.remove(key);
        }
    });
    assert_eq!(UNetConfig::from_json(&text).unwrap(), plain);
}

#[test]
fn an_empty_configuration_is_that_of_stable_diffusion_1() {
    let config = UNetConfig::from_json(r#"{"cross_attention_dim": 768}"#).unwrap();
    let channels: Vec<usize> = config.levels.iter().map(|level| level.channels).collect();
    assert_eq!(channels, [320, 640, 1280, 1280]);
    let attends: Vec<bool> = config.levels.iter().map(|level| level.down_attends).collect();
    assert_eq!(attends, [true, true, true, false]);
    let attends: Vec<bool> = config.levels.iter().map(|level| level.up_attends).collect();
    assert_eq!(attends, [true, true, true, false]);
    assert_eq!(config.levels[2].heads, 8);
    assert_eq!((config.norm_num_groups, config.time_embedding_dim()), (32, 1280));
}
