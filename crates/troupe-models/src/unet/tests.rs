//! What the tests of the UNet share, and which inputs it refuses.

mod blocks;
mod bound;
mod config;
mod made;
mod regions;

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

/// On all levels.
const ISOLATED: Isolation = Isolation::Isolated { from_level: 0 };

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
