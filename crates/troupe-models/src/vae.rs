//! A latent diffusion model's autoencoder, as diffusers' `AutoencoderKL`: its decoder here, its
//! encoder in `encoder`, both of which can work in tiles.
//!
//! (Rombach et al. 2022, arXiv:2112.10752.) Latents are in the UNet's space, where the sampler
//! leaves them; dividing by the scaling factor brings them into the autoencoder's own. Activations
//! are channels-last, and no more than a few of the largest are alive at once.

mod blocks;
mod encoder;
mod tiles;

use candle_core::Tensor;
use serde::Deserialize;
use troupe_nn::{Conv2d, GroupNorm};

use self::blocks::{MidBlock, UpBlock, conv2d, group_norm};
pub use self::encoder::VaeEncoder;
pub use self::tiles::Tiles;
use self::tiles::in_tiles;
use crate::config::{ConfigError, TextFile};
use crate::error::ModelError;
use crate::weights::Weights;

/// More blocks than any autoencoder has: each doubles the sides of the picture.
const MAX_BLOCKS: usize = 8;
/// Red, green and blue.
const COLOURS: usize = 3;
/// A picture whose channels vary by less is flat: one step of eight bits, in `[-1, 1]`.
const FLAT: f32 = 2.0 / 255.0;

/// The architecture, as `vae/config.json` gives it.
///
/// Invariants: there are 1 to 8 blocks; `groups` divides their channels; the scaling
/// factor is finite and not zero, the shift finite.
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Channels of each block, from the picture inwards.
    block_channels: Vec<usize>,
    layers_per_block: usize,
    groups: usize,
    latent_channels: usize,
    attention: bool,
    quant_conv: bool,
    post_quant_conv: bool,
    scaling_factor: f64,
    shift_factor: f64,
}

impl VaeConfig {
    /// Reads a `config.json`; what it doesn't say is as in diffusers' `AutoencoderKL`.
    ///
    /// # Errors
    ///
    /// If it describes another kind of network, or one that can't be.
    pub fn from_json(file: TextFile<'_>) -> Result<Self, ConfigError> {
        let parsed: ConfigFile = file.parse("the configuration of an autoencoder")?;
        let class = &parsed.class_name;
        file.require(class == "AutoencoderKL", "_class_name", "AutoencoderKL", class)?;
        let function = &parsed.act_fn;
        file.require(matches!(function.as_str(), "silu" | "swish"), "act_fn", "silu", function)?;
        let colours = parsed.out_channels;
        file.require(colours == COLOURS, "out_channels", COLOURS.to_string(), &colours)?;
        let plain = parsed.latents_mean.is_none() && parsed.latents_std.is_none();
        file.require(plain, "latents_mean or latents_std", "null", "numbers")?;

        let blocks = parsed.block_out_channels.len();
        let wanted = format!("1 to {MAX_BLOCKS} blocks");
        let found = format!("of {blocks} blocks");
        file.require((1..=MAX_BLOCKS).contains(&blocks), "block_out_channels", wanted, &found)?;
        let kinds = &parsed.up_block_types;
        let found = format!("of {} blocks", kinds.len());
        file.require(kinds.len() == blocks, "up_block_types", format!("{blocks} blocks"), &found)?;
        for kind in kinds {
            let plain = kind == "UpDecoderBlock2D";
            file.require(plain, "up_block_types", "UpDecoderBlock2D", kind)?;
        }
        let groups = parsed.norm_num_groups;
        file.require(0 < groups, "norm_num_groups", "1 or more", &groups)?;
        for &channels in &parsed.block_out_channels {
            let divided = 0 < channels && channels.is_multiple_of(groups);
            let wanted = format!("a multiple of norm_num_groups {groups}");
            file.require(divided, "block_out_channels", wanted, &channels)?;
        }
        let latents = parsed.latent_channels;
        file.require(0 < latents, "latent_channels", "1 or more", &latents)?;
        let scale = parsed.scaling_factor;
        let sound = scale.is_finite() && scale != 0.0;
        file.require(sound, "scaling_factor", "a number other than 0", &scale)?;
        Ok(Self {
            block_channels: parsed.block_out_channels,
            layers_per_block: parsed.layers_per_block,
            groups,
            latent_channels: latents,
            attention: parsed.mid_block_add_attention,
            quant_conv: parsed.use_quant_conv,
            post_quant_conv: parsed.use_post_quant_conv,
            scaling_factor: scale,
            shift_factor: parsed.shift_factor.unwrap_or(0.0),
        })
    }

    /// The channels of the latents.
    pub fn latent_channels(&self) -> usize {
        self.latent_channels
    }

    /// How many pixels of the picture one latent spans, in each direction: 8 in SD 1.x.
    pub fn pixels_per_latent(&self) -> usize {
        1 << (self.block_channels.len() - 1)
    }
}

/// The decoder with its weights.
#[derive(Debug)]
pub struct VaeDecoder {
    config: VaeConfig,
    post_quant_conv: Option<Conv2d>,
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// What a picture that came out wrong has in common with a failed decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blemish {
    /// Some values are NaN or infinite.
    NotFinite,
    /// No channel varies by more than one step of eight bits.
    Flat,
}

impl VaeDecoder {
    /// Reads the weights of the decoder, and passes over those of the encoder.
    ///
    /// # Errors
    ///
    /// If a tensor is missing or has another shape than the configuration says.
    pub fn new(config: VaeConfig, weights: &Weights) -> Result<Self, ModelError> {
        let latents = config.latent_channels;
        let post_quant_conv = config
            .post_quant_conv
            .then(|| conv2d(&weights.at("post_quant_conv"), latents, latents, 1))
            .transpose()?;
        let decoder = weights.at("decoder");

        let inwards = &config.block_channels;
        let deepest = inwards[inwards.len() - 1];
        let mut up_blocks = Vec::with_capacity(inwards.len());
        let mut inputs = deepest;
        for (index, &outputs) in inwards.iter().rev().enumerate() {
            let weights = decoder.at("up_blocks").at(index);
            let last = index + 1 == inwards.len();
            up_blocks.push(UpBlock::new(&config, &weights, inputs, outputs, last)?);
            inputs = outputs;
        }
        Ok(Self {
            post_quant_conv,
            conv_in: conv2d(&decoder.at("conv_in"), latents, deepest, 3)?,
            mid_block: MidBlock::new(&config, &decoder.at("mid_block"), deepest)?,
            up_blocks,
            conv_norm_out: group_norm(&config, &decoder.at("conv_norm_out"), inputs)?,
            conv_out: conv2d(&decoder.at("conv_out"), inputs, COLOURS, 3)?,
            config,
        })
    }

    /// The architecture.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Decodes latents of the UNet's space to a picture whose values lie about `[-1, 1]`, not
    /// clamped; [`blemish`] tells whether it came out at all.
    ///
    /// Shape `(batch, height, width, latent channels)` →
    /// `(batch, height · pixels, width · pixels, 3)` with [`VaeConfig::pixels_per_latent`].
    ///
    /// # Errors
    ///
    /// If the latents have another shape or are empty.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        self.checked(latents)?;
        self.through(latents)
    }

    /// As [`decode`](Self::decode), a tile at a time, which bounds the memory: diffusers'
    /// `tiled_decode`.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_tiled(&self, latents: &Tensor, tiles: Tiles) -> Result<Tensor, ModelError> {
        self.checked(latents)?;
        let (side, pixels) = (tiles.latents(), self.config.pixels_per_latent());
        in_tiles(latents, side, side * pixels, |tile| self.through(tile))
    }

    fn through(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        let mut x = self.enter(latents)?;
        x = self.mid_block.forward(x)?;
        for block in &self.up_blocks {
            x = block.forward(x)?;
        }
        self.leave(&x)
    }

    fn checked(&self, latents: &Tensor) -> Result<(), ModelError> {
        let channels = self.config.latent_channels;
        if latents.rank() == 4 && latents.dims()[3] == channels && latents.elem_count() != 0 {
            return Ok(());
        }
        Err(ModelError::Input {
            what: "shape of the latents",
            wanted: format!("(batch, height, width, {channels})"),
            found: format!("{:?}", latents.dims()),
        })
    }

    /// Shape `(batch, height, width, latent channels)` → `(batch, height, width, deepest)`.
    fn enter(&self, latents: &Tensor) -> Result<Tensor, ModelError> {
        let own = latents.affine(1.0 / self.config.scaling_factor, self.config.shift_factor)?;
        let own = match &self.post_quant_conv {
            Some(conv) => conv.forward(&own)?,
            None => own,
        };
        Ok(self.conv_in.forward(&own)?)
    }

    /// Shape `(batch, height, width, channels)` → `(batch, height, width, 3)`.
    fn leave(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.conv_out.forward(&self.conv_norm_out.forward_silu(x)?)?)
    }
}

/// What is wrong with a picture that [`VaeDecoder::decode`] returned, if anything is.
///
/// # Errors
///
/// If it isn't a picture of f32 values.
pub fn blemish(picture: &Tensor) -> Result<Option<Blemish>, ModelError> {
    let values: Vec<f32> = picture.flatten_all()?.to_vec1()?;
    if !values.iter().all(|value| value.is_finite()) {
        return Ok(Some(Blemish::NotFinite));
    }
    let channels = picture.dims().last().copied().unwrap_or(1);
    let flat = (0..channels).all(|channel| {
        let of_channel = || values.iter().skip(channel).step_by(channels).copied();
        let (low, high) = (of_channel().reduce(f32::min), of_channel().reduce(f32::max));
        high.zip(low).is_none_or(|(high, low)| high - low < FLAT)
    });
    Ok(flat.then_some(Blemish::Flat))
}

/// The keys that we read, with the defaults of diffusers' `AutoencoderKL`.
#[derive(Deserialize)]
#[serde(default)]
struct ConfigFile {
    #[serde(rename = "_class_name")]
    class_name: String,
    act_fn: String,
    block_out_channels: Vec<usize>,
    up_block_types: Vec<String>,
    layers_per_block: usize,
    norm_num_groups: usize,
    latent_channels: usize,
    out_channels: usize,
    mid_block_add_attention: bool,
    use_quant_conv: bool,
    use_post_quant_conv: bool,
    scaling_factor: f64,
    shift_factor: Option<f64>,
    latents_mean: Option<Vec<f64>>,
    latents_std: Option<Vec<f64>>,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            class_name: "AutoencoderKL".to_owned(),
            act_fn: "silu".to_owned(),
            block_out_channels: vec![64],
            up_block_types: vec!["UpDecoderBlock2D".to_owned()],
            layers_per_block: 1,
            norm_num_groups: 32,
            latent_channels: 4,
            out_channels: COLOURS,
            mid_block_add_attention: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use candle_core::Device;
    use troupe_testkit::{Golden, assert_close, golden_path};

    use super::*;

    fn config(json: &str) -> Result<VaeConfig, ConfigError> {
        VaeConfig::from_json(TextFile { name: "config.json", bytes: json.as_bytes() })
    }

    fn golden(name: &str) -> (VaeDecoder, Golden) {
        let path = golden_path(&format!("vae/{name}"));
        let json = fs::read_to_string(path.join("config.json")).unwrap();
        let file = "diffusion_pytorch_model.safetensors";
        let weights = Weights::new(file, Arc::new(fs::read(path.join(file)).unwrap())).unwrap();
        let decoder = VaeDecoder::new(config(&json).unwrap(), &weights).unwrap();
        (decoder, Golden::read(path.join("expected.safetensors")))
    }

    fn tensor(expected: &Golden, name: &str) -> Tensor {
        let (values, shape) = expected.tensor(name);
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Golden: diffusers in double precision. Each block gets the reference's input, so that an
    /// error shows where it is made.
    #[track_caller]
    fn check(name: &str, pixels: usize) {
        let (decoder, expected) = golden(name);
        let compare = |name: &str, output: &Tensor| {
            let wanted = expected.tensor(name);
            assert_eq!(output.dims(), wanted.1, "the shape of {name}");
            let values: Vec<f32> = output.flatten_all().unwrap().to_vec1().unwrap();
            assert_close(name, &values, &wanted, 1e-5);
        };
        let latents = tensor(&expected, "latents");
        compare("conv_in", &decoder.enter(&latents).unwrap());
        compare("mid", &decoder.mid_block.forward(tensor(&expected, "conv_in")).unwrap());
        let mut before = "mid".to_owned();
        for (index, block) in decoder.up_blocks.iter().enumerate() {
            let name = format!("up.{index}");
            compare(&name, &block.forward(tensor(&expected, &before)).unwrap());
            before = name;
        }
        compare("image", &decoder.leave(&tensor(&expected, &before)).unwrap());

        let picture = decoder.decode(&latents).unwrap();
        compare("image", &picture);
        assert_eq!(decoder.config().pixels_per_latent(), pixels);
        assert_eq!(picture.dims()[1], latents.dims()[1] * pixels);
        assert_eq!(blemish(&picture).unwrap(), None);
    }

    #[test]
    fn whole_file_with_four_blocks_agrees_with_diffusers() {
        check("whole", 8);
    }

    #[test]
    fn old_names_without_post_quant_conv_agree_with_diffusers() {
        check("old_names", 2);
    }

    #[test]
    fn decoder_without_attention_and_with_a_shift_agrees_with_diffusers() {
        check("no_attention", 4);
    }

    fn encoder() -> (VaeEncoder, Golden) {
        let (decoder, expected) = golden("whole");
        let file = "diffusion_pytorch_model.safetensors";
        let bytes = fs::read(golden_path(&format!("vae/whole/{file}"))).unwrap();
        let weights = Weights::new(file, Arc::new(bytes)).unwrap();
        (VaeEncoder::new(decoder.config, &weights).unwrap(), expected)
    }

    // Fails when a picture is padded on other sides, or mean and variance are exchanged.
    #[test]
    fn encoder_agrees_with_diffusers() {
        let (encoder, expected) = encoder();
        let latents = encoder.encode(&tensor(&expected, "picture")).unwrap();
        let values: Vec<f32> = latents.flatten_all().unwrap().to_vec1().unwrap();
        assert_close("encoded", &values, &expected.tensor("encoded"), 1e-5);
        let odd = tensor(&expected, "picture").narrow(1, 0, 12).unwrap();
        let error = encoder.encode(&odd).unwrap_err().to_string();
        assert!(error.contains("multiples of 8"), "{error}");
    }

    // Fails when the blend, its width, or the size of a tile is another.
    #[test]
    fn tiles_agree_with_diffusers() {
        let (encoder, expected) = encoder();
        let (decoder, _) = golden("whole");
        let tiles = Tiles::new(4).unwrap();
        let compare = |name: &str, output: &Tensor| {
            let values: Vec<f32> = output.flatten_all().unwrap().to_vec1().unwrap();
            assert_close(name, &values, &expected.tensor(name), 1e-5);
        };
        let picture = decoder.decode_tiled(&tensor(&expected, "wide_latents"), tiles).unwrap();
        compare("tiled_image", &picture);
        let latents = encoder.encode_tiled(&tensor(&expected, "wide_picture"), tiles).unwrap();
        compare("tiled_encoded", &latents);
        // What fits into one tile isn't cut.
        let latents = tensor(&expected, "latents");
        let wide = Tiles::new(8).unwrap();
        let [one, whole] = [decoder.decode_tiled(&latents, wide), decoder.decode(&latents)]
            .map(|it| it.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
        assert_eq!(one, whole);
    }

    #[test]
    fn latents_of_another_shape_are_refused() {
        let (decoder, _) = golden("whole");
        for shape in [vec![1, 4, 3, 5], vec![3, 5, 4], vec![1, 0, 5, 4]] {
            let latents =
                Tensor::from_vec(vec![0.0_f32; shape.iter().product()], shape, &Device::Cpu);
            let error = decoder.decode(&latents.unwrap()).unwrap_err().to_string();
            assert!(error.contains("(batch, height, width, 4) was wanted"), "{error}");
        }
    }

    #[test]
    fn pictures_that_did_not_come_out_are_told_from_dark_ones() {
        let picture = |values: Vec<f32>| {
            blemish(&Tensor::from_vec(values, (1, 1, 2, 3), &Device::Cpu).unwrap()).unwrap()
        };
        assert_eq!(picture(vec![-0.9, 0.2, 0.1, -0.9, 0.2, 0.2]), None);
        // Channels that differ from one another make no picture.
        assert_eq!(picture(vec![-0.9, 0.2, 0.1, -0.899, 0.2, 0.1]), Some(Blemish::Flat));
        assert_eq!(picture(vec![0.0, 0.0, 0.0, 0.0, f32::NAN, 0.5]), Some(Blemish::NotFinite));
        assert_eq!(picture(vec![0.0, 0.0, 0.0, f32::INFINITY, 0.0, 0.5]), Some(Blemish::NotFinite));

        let (decoder, expected) = golden("whole");
        let latents = tensor(&expected, "latents").affine(f64::NAN, 0.0).unwrap();
        let decoded = decoder.decode(&latents).unwrap();
        assert_eq!(blemish(&decoded).unwrap(), Some(Blemish::NotFinite));
    }

    #[test]
    fn what_a_configuration_does_not_say_is_that_of_diffusers() {
        let default = config("{}").unwrap();
        assert_eq!((default.latent_channels(), default.pixels_per_latent()), (4, 1));
        // As in stable-diffusion-v1-5, which is older than half of the keys.
        let old = r#"{"_class_name": "AutoencoderKL", "_diffusers_version": "0.6.0", "act_fn": "silu",
            "block_out_channels": [128, 256, 512, 512], "in_channels": 3, "latent_channels": 4,
            "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3, "sample_size": 512,
            "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}"#;
        let expected = VaeConfig {
            block_channels: vec![128, 256, 512, 512],
            layers_per_block: 2,
            groups: 32,
            latent_channels: 4,
            attention: true,
            quant_conv: true,
            post_quant_conv: true,
            scaling_factor: 0.18215,
            shift_factor: 0.0,
        };
        assert_eq!(config(old).unwrap(), expected);
    }

    #[test]
    fn networks_that_cannot_be_are_refused() {
        #[track_caller]
        fn check(json: &str, expected: &str) {
            assert_eq!(config(json).unwrap_err().to_string(), format!("`config.json` {expected}"));
        }
        check(
            r#"{"layers_per_block": -1}"#,
            "can't be read as the configuration of an autoencoder",
        );
        check(
            r#"{"_class_name": "AutoencoderTiny"}"#,
            "has _class_name AutoencoderTiny, and AutoencoderKL was wanted",
        );
        check(r#"{"act_fn": "mish"}"#, "has act_fn mish, and silu was wanted");
        check(r#"{"out_channels": 4}"#, "has out_channels 4, and 3 was wanted");
        check(
            r#"{"latents_mean": [0.5]}"#,
            "has latents_mean or latents_std numbers, and null was wanted",
        );
        check(
            r#"{"block_out_channels": []}"#,
            "has block_out_channels of 0 blocks, and 1 to 8 blocks was wanted",
        );
        check(
            r#"{"block_out_channels": [32, 64]}"#,
            "has up_block_types of 1 blocks, and 2 blocks was wanted",
        );
        check(
            r#"{"up_block_types": ["AttnUpDecoderBlock2D"]}"#,
            "has up_block_types AttnUpDecoderBlock2D, and UpDecoderBlock2D was wanted",
        );
        check(r#"{"norm_num_groups": 0}"#, "has norm_num_groups 0, and 1 or more was wanted");
        check(
            r#"{"block_out_channels": [48]}"#,
            "has block_out_channels 48, and a multiple of norm_num_groups 32 was wanted",
        );
        check(r#"{"latent_channels": 0}"#, "has latent_channels 0, and 1 or more was wanted");
        check(
            r#"{"scaling_factor": 0}"#,
            "has scaling_factor 0, and a number other than 0 was wanted",
        );
    }
}
