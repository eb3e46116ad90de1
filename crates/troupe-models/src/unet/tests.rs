//! The UNet against diffusers, and what regions promise.

mod bound;
mod made;

use std::collections::BTreeMap;
use std::{fs, sync::Arc};

use candle_core::{Device, Tensor};
use troupe_core::region::{BoundingBox, Placed, Regions, TokenGrid};
use troupe_testkit::{Golden, assert_close, golden_path, relative_error};

use super::*;
use crate::weights::Precision;

/// Reads a configuration and the weights beside it.
fn read(config: &str, weights: &str) -> (UNet, Golden) {
    read_in(Precision::Stored, config, weights)
}

/// The same, with weights of another precision.
fn read_in(precision: Precision, config: &str, weights: &str) -> (UNet, Golden) {
    let config = UNetConfig::from_json(&fs::read_to_string(golden_path(config)).unwrap()).unwrap();
    let path = golden_path(weights);
    let bytes = fs::read(&path).unwrap();
    let weights = Weights::new(weights, Arc::new(bytes)).unwrap().kept_in(precision);
    (UNet::new(config, &weights).unwrap(), Golden::read(path))
}

fn tensor(golden: &Golden, name: &str) -> Tensor {
    let (values, shape) = golden.tensor(name);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn bits(x: &Tensor) -> Vec<u32> {
    values(x).into_iter().map(f32::to_bits).collect()
}

fn grid(latents: &Tensor) -> TokenGrid {
    let (_, height, width, _) = latents.dims4().unwrap();
    TokenGrid { height, width }
}

/// What the network is told beside the timestep, in two rows.
fn added(unet: &UNet, golden: &Golden) -> Vec<Added> {
    if unet.config.addition.is_none() {
        return Vec::new();
    }
    let (pooled, time_ids) = (tensor(golden, "input.pooled"), tensor(golden, "input.time_ids"));
    let row = |row: usize| {
        let time_ids: Vec<f32> = time_ids.get(row).unwrap().to_vec1().unwrap();
        let time_ids: Vec<f64> = time_ids.into_iter().map(f64::from).collect();
        Added { pooled: pooled.get(row).unwrap(), time_ids: time_ids.try_into().unwrap() }
    };
    vec![row(0), row(1)]
}

/// What comes out of a golden's network with weights of a precision, given two plain prompts.
fn sample_in(
    precision: Precision,
    name: &str,
    observe: &mut dyn FnMut(Stage, &Tensor),
) -> (Tensor, usize, Golden) {
    let files = ["json", "safetensors"].map(|ending| format!("unet/{name}.{ending}"));
    let (unet, golden) = read_in(precision, &files[0], &files[1]);
    let latents = tensor(&golden, "input.latents");
    let contexts = tensor(&golden, "input.contexts");
    let rows = [0, 1].map(|row| Conditioning::Plain(contexts.get(row).unwrap()));
    let added = added(&unet, &golden);
    let context = unet.prepare(&rows, &added, None, &[], grid(&latents)).unwrap();
    let timestep = f64::from(golden.tensor("input.timestep").0[0]);
    let sample = unet.forward_observed(&latents, timestep, &context, Isolation::Free, observe);
    (sample.unwrap(), unet.config.levels.len(), golden)
}

/// Fails if a block is further than 1e-4 from diffusers. Returns what comes out of the last.
#[track_caller]
fn check_blocks(name: &str) -> Vec<f32> {
    let mut seen = Vec::new();
    let keep = &mut |stage, x: &Tensor| seen.push((stage, x.clone()));
    let (sample, levels, golden) = sample_in(Precision::Stored, name, keep);
    for (stage, x) in &seen {
        let key = match stage {
            Stage::ConvIn => "expected.conv_in".to_owned(),
            Stage::Down(index) => format!("expected.down.{index}"),
            Stage::Mid => "expected.mid".to_owned(),
            Stage::Up(index) => format!("expected.up.{index}"),
        };
        let expected = golden.tensor(&key);
        assert_eq!(x.dims(), expected.1, "{name}: {key}");
        assert_close(&format!("{name}: {key}"), &values(x), &expected, 1e-4);
    }
    assert_close(name, &values(&sample), &golden.tensor("expected.sample"), 1e-4);
    assert_eq!(seen.len(), 2 * levels + 2);
    values(&sample)
}

// Each fails when a skip connection, the order of sine and cosine, an epsilon, a projection's
// transposition or the size of an odd feature map is wrong.
#[test]
fn blocks_with_two_layers_are_those_of_diffusers() {
    check_blocks("two_layers");
}

#[test]
fn blocks_with_linear_projection_are_those_of_diffusers() {
    check_blocks("linear_projection");
}

#[test]
fn uncommon_blocks_are_those_of_diffusers() {
    check_blocks("uncommon");
}

#[test]
fn a_single_block_is_that_of_diffusers() {
    check_blocks("one_block");
}

// Fails when the order of pooled text and sizes, or what a row is told, is wrong.
#[test]
fn blocks_of_sdxl_are_those_of_diffusers() {
    check_blocks("sdxl");
}

#[test]
fn blocks_of_an_inpainting_model_are_those_of_diffusers() {
    check_blocks("inpainting");
}

// Fails when weights aren't rounded to the nearest, or not at all.
#[test]
fn with_weights_of_bf16_a_network_is_near_or_as_near_as_diffusers_in_bf16() {
    let errors = fs::read_to_string(golden_path("unet/bf16.json")).unwrap();
    let errors: BTreeMap<String, f64> = serde_json::from_str(&errors).unwrap();
    assert_eq!(errors.len(), 6);
    for (name, of_diffusers) in errors {
        let exact = check_blocks(&name);
        let (rounded, _, golden) = sample_in(Precision::Bf16, &name, &mut |_, _| ());
        let (found, expected) = (values(&rounded), golden.tensor("expected.sample"));
        assert_close(&name, &found, &expected, of_diffusers.max(3e-2));
        let moved = relative_error(&found, &exact);
        assert!(1e-3 < moved, "{name}: bf16 moves what comes out by {moved}");
    }
}

#[test]
fn what_is_told_beside_the_timestep_is_wanted_as_often_as_the_network_has_it() {
    let (unet, golden) = read("unet/sdxl.json", "unet/sdxl.safetensors");
    let contexts = tensor(&golden, "input.contexts");
    let rows = [0, 1].map(|row| Conditioning::Plain(contexts.get(row).unwrap()));
    let size = TokenGrid { height: 6, width: 5 };
    let refused =
        |added: &[Added]| unet.prepare(&rows, added, None, &[], size).unwrap_err().to_string();
    assert_eq!(refused(&[]), "0 pooled texts were given, and this UNet wants 2");
    let mut added = added(&unet, &golden);
    added[1].pooled = contexts.get(0).unwrap();
    assert_eq!(refused(&added), "a pooled text has shape [6, 16], and (10,) was wanted");
    let it = Regional::read();
    let error = it.unet.prepare(&it.rows(), &added, Some(&it.regions), &[], size).unwrap_err();
    assert_eq!(error.to_string(), "2 pooled texts were given, and this UNet wants 0");
}

/// The UNet, inputs and regions of the regional golden.
struct Regional {
    unet: UNet,
    golden: Golden,
    latents: Tensor,
    contexts: Tensor,
    prompts: Vec<Tensor>,
    regions: Regions,
}

impl Regional {
    fn read() -> Self {
        let (unet, golden) = read("regional/config.json", "regional/regional.safetensors");
        let boxes: Vec<Vec<f32>> = tensor(&golden, "input.boxes").to_vec2().unwrap();
        let placed = boxes.iter().map(|edges| {
            let [left, top, right, bottom] = [0, 1, 2, 3].map(|edge| f64::from(edges[edge]) / 60.0);
            let bounds = BoundingBox::new(left, top, right, bottom).unwrap();
            Placed {
                bounds,
                depth: [0, 1, 2][usize::from(0.5 < edges[4]) + usize::from(1.5 < edges[4])],
            }
        });
        let regions = Regions::new(placed.collect(), 0.2);
        let latents = tensor(&golden, "input.latents");
        let contexts = tensor(&golden, "input.contexts");
        let prompts = tensor(&golden, "input.regions");
        let prompts = (0..regions.len()).map(|region| prompts.get(region).unwrap()).collect();
        Self { unet, golden, latents, contexts, prompts, regions }
    }

    fn rows(&self) -> [Conditioning; 2] {
        let [negative, base] = [0, 1].map(|row| self.contexts.get(row).unwrap());
        [
            Conditioning::Plain(negative),
            Conditioning::Regional { base, regions: self.prompts.clone() },
        ]
    }

    fn sample(
        &self,
        rows: &[Conditioning],
        regions: Option<&Regions>,
        isolation: Isolation,
    ) -> Tensor {
        let context = self.unet.prepare(rows, &[], regions, &[], grid(&self.latents)).unwrap();
        self.unet.forward(&self.latents, 421.0, &context, isolation).unwrap()
    }
}

// Fails when a weight, the order of the regions, or who owns an overlap is wrong.
#[test]
fn regional_attention_is_its_formula_in_pytorch() {
    let it = Regional::read();
    let free = it.sample(&it.rows(), Some(&it.regions), Isolation::Free);
    assert_close("free", &values(&free), &it.golden.tensor("expected.free"), 1e-4);
}

// Fails when the mask spares a row, a level, or hides the background.
#[test]
fn isolation_is_its_formula_in_pytorch() {
    let it = Regional::read();
    let isolated = it.sample(&it.rows(), Some(&it.regions), Isolation::Isolated);
    assert_close("isolated", &values(&isolated), &it.golden.tensor("expected.isolated"), 1e-4);
    // Otherwise the golden would say nothing.
    let free = it.golden.tensor("expected.free").0;
    assert!(1e-2 < relative_error(&values(&isolated), &free));
}

#[test]
fn region_maps_are_those_of_the_reference() {
    let it = Regional::read();
    for (height, width) in [(12, 20), (6, 10), (3, 5)] {
        let map = it.regions.map(TokenGrid { height, width });
        let key = |part: &str| format!("expected.map.{height}x{width}.{part}");
        assert_close("base", &map.base, &it.golden.tensor(&key("base")), 1e-6);
        assert_close("regions", &map.regions.concat(), &it.golden.tensor(&key("regions")), 1e-6);
        let owners = map.owner.iter().map(|owner| match owner {
            None => -1.0,
            Some(owner) => f32::from(u8::try_from(*owner).unwrap()),
        });
        assert_eq!(owners.collect::<Vec<_>>(), it.golden.tensor(&key("owner")).0);
    }
}

#[test]
fn no_regions_are_plain_attention_bit_for_bit() {
    let it = Regional::read();
    let [negative, base] = [0, 1].map(|row| it.contexts.get(row).unwrap());
    let plain = [negative, base].map(Conditioning::Plain);
    let expected = bits(&it.sample(&plain, None, Isolation::Free));
    let without = [0, 1].map(|row| Conditioning::Regional {
        base: it.contexts.get(row).unwrap(),
        regions: Vec::new(),
    });
    let none = Regions::new(Vec::new(), 0.2);
    for regions in [None, Some(&none)] {
        for isolation in [Isolation::Free, Isolation::Isolated] {
            assert_eq!(bits(&it.sample(&plain, regions, isolation)), expected);
            assert_eq!(bits(&it.sample(&without, regions, isolation)), expected);
        }
    }
}

#[test]
fn one_region_over_everything_without_base_is_its_prompt_alone_bit_for_bit() {
    let it = Regional::read();
    let [negative, base] = [0, 1].map(|row| it.contexts.get(row).unwrap());
    let prompt = it.prompts[0].clone();
    let everything = BoundingBox::new(0.0, 0.0, 1.0, 1.0).unwrap();
    let regions = Regions::new(vec![Placed { bounds: everything, depth: 0 }], 0.0);
    let alone = [negative.clone(), prompt.clone()].map(Conditioning::Plain);
    let expected = bits(&it.sample(&alone, None, Isolation::Free));
    let regional =
        [Conditioning::Plain(negative), Conditioning::Regional { base, regions: vec![prompt] }];
    for isolation in [Isolation::Free, Isolation::Isolated] {
        assert_eq!(bits(&it.sample(&regional, Some(&regions), isolation)), expected);
    }
}

#[test]
fn an_isolated_subject_does_not_hear_of_another_prompt() {
    // Two regions that share no token on any level, without base: in one transformer the left
    // subject's cross-attention can't depend on the right one's prompt.
    let it = Regional::read();
    let halves = [(0.0, 0.4), (0.6, 1.0)].map(|(left, right)| {
        let bounds = BoundingBox::new(left, 0.0, right, 1.0).unwrap();
        Placed { bounds, depth: 0 }
    });
    let regions = Regions::new(halves.to_vec(), 0.0);
    let first_down = |prompt: &Tensor| {
        let base = it.contexts.get(1).unwrap();
        let prompts = vec![it.prompts[0].clone(), prompt.clone()];
        let rows = [
            Conditioning::Plain(it.contexts.get(0).unwrap()),
            Conditioning::Regional { base, regions: prompts },
        ];
        let context = it.unet.prepare(&rows, &[], Some(&regions), &[], grid(&it.latents)).unwrap();
        let query = Tensor::ones((2, 240, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
        context.attend(&query, 0, 0, 2).unwrap()
    };
    let [one, other] = [&it.prompts[1], &it.prompts[2]].map(first_down);
    let column = |x: &Tensor, column: usize| {
        let x = x.reshape((2, 12, 20, 8)).unwrap().narrow(2, column, 1).unwrap();
        bits(&x.contiguous().unwrap())
    };
    assert_eq!(column(&one, 3), column(&other, 3)); // In the left region.
    assert_eq!(column(&one, 10), column(&other, 10)); // In the background.
    assert_ne!(column(&one, 15), column(&other, 15)); // In the right region.
}

#[test]
fn wrong_inputs_are_refused() {
    let it = Regional::read();
    let rows = it.rows();
    let size = grid(&it.latents);
    let message = |result: Result<PreparedContext, UNetError>| result.unwrap_err().to_string();
    assert_eq!(
        message(it.unet.prepare(&rows, &[], None, &[], size)),
        "3 prompts were given for 0 regions"
    );
    let short = [Conditioning::Plain(it.latents.clone())];
    assert_eq!(
        message(it.unet.prepare(&short, &[], None, &[], size)),
        "an encoded prompt has shape [2, 12, 20, 4], and (tokens, 16) was wanted"
    );
    let nothing = TokenGrid { height: 0, width: 4 };
    assert_eq!(
        message(it.unet.prepare(&rows, &[], Some(&it.regions), &[], nothing)),
        "latents of 0 x 4 are too small to be halved 2 times"
    );
    let context = it.unet.prepare(&rows, &[], Some(&it.regions), &[], size).unwrap();
    let latents = it.latents.narrow(1, 0, 6).unwrap();
    assert_eq!(
        it.unet.forward(&latents, 1.0, &context, Isolation::Free).unwrap_err().to_string(),
        "the latents have shape [2, 6, 20, 4], and [2, 12, 20, 4] was wanted"
    );
}

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
