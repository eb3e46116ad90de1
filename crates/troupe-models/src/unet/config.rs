//! `unet/config.json` of a diffusers folder.
//!
//! What changes the architecture and isn't ours is refused by the name of its key; what doesn't
//! change it is passed over.

mod keys;

use serde_json::{Map, Value};

use self::keys::{Keys, wrong};

/// The most blocks on one side; each halves the image.
const MOST_BLOCKS: usize = 8;

/// The architecture of a UNet of Stable Diffusion 1.x, 2.x or XL, `UNet2DConditionModel` in diffusers.
#[derive(Clone, Debug, PartialEq)]
pub struct UNetConfig {
    /// Channels of the latents that go in.
    pub in_channels: usize,
    /// Channels of what comes out.
    pub out_channels: usize,
    /// The width of the text encoder's output.
    pub cross_attention_dim: usize,
    /// The levels, from the full image to the smallest. At least one.
    pub levels: Vec<Level>,
    /// Groups of every group norm; divides the channels of all levels.
    pub norm_num_groups: usize,
    /// What the norms of residual blocks add to the variance.
    pub norm_eps: f64,
    /// Whether the layers around a transformer are stored as matrices, and not as 1 × 1 kernels.
    pub use_linear_projection: bool,
    /// Whether the cosines of the timestep's embedding come before the sines.
    pub flip_sin_to_cos: bool,
    /// What is taken from the number of frequencies before it divides their exponents.
    pub freq_shift: f32,
    /// How a level's image is padded before it is halved.
    pub downsampling: Downsampling,
    /// What the network is told beside the timestep, if it is.
    pub addition: Option<Addition>,
}

/// What SDXL is told beside the timestep: the pooled text, and the sizes of the picture
/// (`addition_embed_type` is `text_time`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Sines and cosines for each of the sizes; an even number.
    pub time_embed_dim: usize,
    /// The width of the pooled text.
    pub pooled: usize,
}

impl Addition {
    /// How many numbers tell of the sizes: height and width of the original, top and left of the
    /// crop, height and width of the target (Podell et al. 2023, arXiv:2307.01952, section 2.2).
    pub const TIME_IDS: usize = 6;

    /// The channels that go into the layers of the embedding.
    pub fn inputs(self) -> usize {
        self.pooled + Self::TIME_IDS * self.time_embed_dim
    }
}

/// One level of a UNet: the down block and the up block at the same resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Channels of the feature map; a multiple of `heads`.
    pub channels: usize,
    /// Residual blocks of the down block; the up block has one more.
    pub layers: usize,
    /// Heads of the attentions.
    pub heads: usize,
    /// Transformer blocks in each transformer.
    pub transformer_layers: usize,
    /// Whether the down block has transformers: `CrossAttnDownBlock2D` or `DownBlock2D`.
    pub down_attends: bool,
    /// Whether the up block has transformers: `CrossAttnUpBlock2D` or `UpBlock2D`.
    pub up_attends: bool,
}

/// How an image is padded before a convolution of stride 2 halves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downsampling {
    /// One pixel on all sides: `downsample_padding` 1.
    AllSides,
    /// One pixel to the right and below: `downsample_padding` 0.
    RightAndBottom,
}

/// Why a configuration isn't one of a UNet that we know.
#[derive(Debug, thiserror::Error)]
pub enum UNetConfigError {
    /// It isn't JSON at all.
    #[error("the configuration of the UNet is not valid JSON")]
    Json(#[from] serde_json::Error),
    /// A key has a value that we can't build.
    #[error("`{key}` in the configuration of the UNet is {found}, and {wanted} was wanted")]
    Value {
        /// The key.
        key: String,
        /// What it must be.
        wanted: String,
        /// What it was, as JSON.
        found: String,
    },
    /// A key that diffusers doesn't know either, or that came later, with a value that may matter.
    #[error("`{0}` in the configuration of the UNet is unknown, and may change its architecture")]
    Unknown(String),
}

/// Keys that change nothing that we compute.
const HARMLESS: [&str; 4] = [
    "sample_size",
    "dropout",
    "upcast_attention", // All our attention is in single precision.
    "addition_embed_type_num_heads",
];

/// Keys that must have their default, as JSON.
const FIXED: [(&str, &str); 24] = [
    ("_class_name", r#""UNet2DConditionModel""#),
    ("act_fn", r#""silu""#),
    ("attention_type", r#""default""#),
    ("center_input_sample", "false"),
    ("class_embed_type", "null"),
    ("class_embeddings_concat", "false"),
    ("conv_in_kernel", "3"),
    ("conv_out_kernel", "3"),
    ("cross_attention_norm", "null"),
    ("dual_cross_attention", "false"),
    ("encoder_hid_dim", "null"),
    ("encoder_hid_dim_type", "null"),
    ("mid_block_only_cross_attention", "false"),
    ("num_class_embeds", "null"),
    ("only_cross_attention", "false"),
    ("resnet_skip_time_act", "false"),
    ("resnet_time_scale_shift", r#""default""#),
    ("reverse_transformer_layers_per_block", "null"),
    ("time_cond_proj_dim", "null"),
    ("time_embedding_act_fn", "null"),
    ("time_embedding_dim", "null"),
    ("time_embedding_type", r#""positional""#),
    ("timestep_post_act", "null"),
    ("mid_block_type", r#""UNetMidBlock2DCrossAttn""#),
];

impl UNetConfig {
    /// Reads the text of `unet/config.json`. Missing keys have the defaults of diffusers.
    ///
    /// # Errors
    ///
    /// If it isn't JSON, or says something that we can't build.
    pub fn from_json(text: &str) -> Result<Self, UNetConfigError> {
        let mut keys = Keys(serde_json::from_str::<Map<String, Value>>(text)?);
        for (key, wanted) in FIXED {
            keys.fixed(key, wanted)?;
        }
        for (key, wanted) in [("mid_block_scale_factor", 1.0), ("resnet_out_scale_factor", 1.0)] {
            let found = keys.number(key, wanted)?;
            if (found - wanted).abs() != 0.0 {
                return Err(wrong(key, &wanted.to_string(), &Value::from(found)));
            }
        }
        if keys.0.get("norm_num_groups") == Some(&Value::Null) {
            return Err(wrong("norm_num_groups", "a number", &Value::Null));
        }
        for key in HARMLESS {
            keys.0.remove(key);
        }

        let channels = keys.list("block_out_channels", &[320, 640, 1280, 1280])?;
        if channels.is_empty() || MOST_BLOCKS < channels.len() {
            let wanted = format!("a list of 1 to {MOST_BLOCKS} numbers");
            return Err(wrong("block_out_channels", &wanted, &Value::from(channels.len())));
        }
        let count = channels.len();
        let layers = keys.per_level("layers_per_block", 2, count)?;
        // What diffusers calls the dimension of a head has always been the number of heads.
        let heads = keys.per_level("attention_head_dim", 8, count)?;
        let heads = match keys.0.get("num_attention_heads") {
            None | Some(Value::Null) => heads,
            Some(_) => keys.per_level("num_attention_heads", 8, count)?,
        };
        let transformer_layers = keys.per_level("transformer_layers_per_block", 1, count)?;
        let [with, without] = ["CrossAttnDownBlock2D", "DownBlock2D"];
        let down = keys.block_types("down_block_types", with, without, count)?;
        let [with, without] = ["CrossAttnUpBlock2D", "UpBlock2D"];
        let up = keys.block_types("up_block_types", with, without, count)?;
        let levels: Vec<Level> = (0..count)
            .map(|level| Level {
                channels: channels[level],
                layers: layers[level],
                heads: heads[level],
                transformer_layers: transformer_layers[level],
                down_attends: down[level],
                up_attends: up[count - 1 - level],
            })
            .collect();

        let config = Self {
            in_channels: keys.whole("in_channels", 4)?,
            out_channels: keys.whole("out_channels", 4)?,
            cross_attention_dim: keys.same("cross_attention_dim", 1280)?,
            norm_num_groups: keys.whole("norm_num_groups", 32)?,
            norm_eps: keys.number("norm_eps", 1e-5)?,
            use_linear_projection: keys.switch("use_linear_projection", false)?,
            flip_sin_to_cos: keys.switch("flip_sin_to_cos", true)?,
            freq_shift: keys.freq_shift(channels[0])?,
            downsampling: keys.downsampling()?,
            addition: keys.addition()?,
            levels,
        };
        config.check()?;
        keys.nothing_left()?;
        Ok(config)
    }

    /// The side of the latents that the network was trained on: `sample_size` of `unet/config.json`, where it is there.
    ///
    /// It is no part of the architecture, so that any value is taken, and passed over where it is no number.
    pub fn sample_size(text: &str) -> Option<usize> {
        let config: Map<String, Value> = serde_json::from_str(text).ok()?;
        config.get("sample_size")?.as_u64()?.try_into().ok().filter(|&side| 0 < side)
    }

    /// The channels of the timestep's embedding inside the network.
    pub fn time_embedding_dim(&self) -> usize {
        4 * self.levels.first().map_or(0, |level| level.channels)
    }

    fn check(&self) -> Result<(), UNetConfigError> {
        for level in &self.levels {
            let groups = self.norm_num_groups;
            if !level.channels.is_multiple_of(groups) {
                let wanted = format!("multiples of {groups}, the groups of the norms,");
                return Err(wrong("block_out_channels", &wanted, &level.channels.into()));
            }
            if !level.channels.is_multiple_of(level.heads) {
                let wanted = format!("a divisor of {} channels", level.channels);
                return Err(wrong("attention_head_dim", &wanted, &level.heads.into()));
            }
        }
        let first = self.levels.first().map_or(0, |level| level.channels);
        if !first.is_multiple_of(2) {
            return Err(wrong("block_out_channels", "an even number first", &first.into()));
        }
        if self.norm_eps < 0.0 {
            return Err(wrong("norm_eps", "a number that isn't negative", &self.norm_eps.into()));
        }
        Ok(())
    }
}
