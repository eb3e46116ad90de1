//! `unet/config.json` of a diffusers folder.
//!
//! What changes the architecture and isn't ours is refused by the name of its key; what doesn't
//! change it is passed over.

use serde_json::{Map, Value};

/// The largest number of channels, heads or layers that a configuration may ask for.
const LARGEST: u64 = 1 << 16;

/// The most blocks on one side; each halves the image.
const MOST_BLOCKS: usize = 8;

/// The architecture of a UNet of Stable Diffusion 1.x or 2.x, `UNet2DConditionModel` in diffusers.
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
const HARMLESS: [&str; 6] = [
    "sample_size",
    "dropout",
    "upcast_attention", // All our attention is in single precision.
    "addition_embed_type_num_heads",
    "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
];

/// Keys that must have their default, as JSON.
const FIXED: [(&str, &str); 25] = [
    ("_class_name", r#""UNet2DConditionModel""#),
    ("act_fn", r#""silu""#),
    ("addition_embed_type", "null"),
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
            levels,
        };
        config.check()?;
        keys.nothing_left()?;
        Ok(config)
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

/// The keys that haven't been read yet.
struct Keys(Map<String, Value>);

#[expect(clippy::wildcard_enum_match_arm, reason = "JSON has the types that it has")]
impl Keys {
    fn take(&mut self, key: &str) -> Value {
        self.0.remove(key).unwrap_or(Value::Null)
    }

    fn fixed(&mut self, key: &str, wanted: &str) -> Result<(), UNetConfigError> {
        // Null is the default everywhere but here, where it takes something away.
        let takes_away = key == "mid_block_type" && self.0.get(key) == Some(&Value::Null);
        let found = self.take(key);
        let text = found.to_string();
        let synonym = key == "act_fn" && found == "swish";
        let nothing = wanted == "null" && found == false;
        let same = found.is_null() || text == wanted || synonym || nothing;
        if same && !takes_away { Ok(()) } else { Err(wrong(key, wanted, &found)) }
    }

    fn whole(&mut self, key: &str, default: usize) -> Result<usize, UNetConfigError> {
        match self.take(key) {
            Value::Null => Ok(default),
            value => whole(key, &value),
        }
    }

    fn number(&mut self, key: &str, default: f64) -> Result<f64, UNetConfigError> {
        match self.take(key) {
            Value::Null => Ok(default),
            value => value.as_f64().ok_or_else(|| wrong(key, "a number", &value)),
        }
    }

    fn switch(&mut self, key: &str, default: bool) -> Result<bool, UNetConfigError> {
        match self.take(key) {
            Value::Null => Ok(default),
            value => value.as_bool().ok_or_else(|| wrong(key, "true or false", &value)),
        }
    }

    fn list(&mut self, key: &str, default: &[usize]) -> Result<Vec<usize>, UNetConfigError> {
        match self.take(key) {
            Value::Null => Ok(default.to_vec()),
            Value::Array(values) => values.iter().map(|value| whole(key, value)).collect(),
            value => Err(wrong(key, "a list of numbers", &value)),
        }
    }

    /// A number for all levels, or a list with one for each.
    fn per_level(
        &mut self,
        key: &str,
        default: usize,
        levels: usize,
    ) -> Result<Vec<usize>, UNetConfigError> {
        match self.take(key) {
            Value::Null => Ok(vec![default; levels]),
            Value::Array(values) if values.len() == levels => {
                values.iter().map(|value| whole(key, value)).collect()
            }
            Value::Array(values) => {
                Err(wrong(key, &format!("a list of {levels}"), &Value::Array(values)))
            }
            value => Ok(vec![whole(key, &value)?; levels]),
        }
    }

    /// A number, or a list in which all are the same.
    fn same(&mut self, key: &str, default: usize) -> Result<usize, UNetConfigError> {
        let value = match self.take(key) {
            Value::Array(values) => match values.as_slice() {
                [first, rest @ ..] if rest.iter().all(|value| value == first) => first.clone(),
                _ => return Err(wrong(key, "one number", &Value::Array(values))),
            },
            value => value,
        };
        if value.is_null() { Ok(default) } else { whole(key, &value) }
    }

    /// Whether each block is one `with` attention.
    fn block_types(
        &mut self,
        key: &str,
        with: &str,
        without: &str,
        levels: usize,
    ) -> Result<Vec<bool>, UNetConfigError> {
        let values = match self.take(key) {
            Value::Array(values) if values.len() == levels => values,
            Value::Null if levels == 4 => {
                // Stable Diffusion 1.x has attention in all but the smallest level.
                let smallest = if with.contains("Down") { 3 } else { 0 };
                return Ok((0..levels).map(|block| block != smallest).collect());
            }
            value => return Err(wrong(key, &format!("a list of {levels} block types"), &value)),
        };
        let attends = |value: &Value| match value.as_str() {
            Some(name) if name == with => Ok(true),
            Some(name) if name == without => Ok(false),
            _ => Err(wrong(key, &format!("`{with}` or `{without}`"), value)),
        };
        values.iter().map(attends).collect()
    }

    #[expect(clippy::cast_possible_truncation, reason = "as diffusers computes it")]
    fn freq_shift(&mut self, channels: usize) -> Result<f32, UNetConfigError> {
        let shift = self.number("freq_shift", 0.0)?;
        let frequencies = u32::try_from(channels >> 1).map_or(f64::INFINITY, f64::from);
        if 0.0 <= shift && shift < frequencies {
            Ok(shift as f32)
        } else {
            let wanted = format!("a number from 0 to less than {frequencies}");
            Err(wrong("freq_shift", &wanted, &shift.into()))
        }
    }

    fn downsampling(&mut self) -> Result<Downsampling, UNetConfigError> {
        match self.take("downsample_padding") {
            Value::Null => Ok(Downsampling::AllSides),
            value => match value.as_u64() {
                Some(1) => Ok(Downsampling::AllSides),
                Some(0) => Ok(Downsampling::RightAndBottom),
                _ => Err(wrong("downsample_padding", "0 or 1", &value)),
            },
        }
    }

    /// What is left must be private to diffusers, or say nothing.
    fn nothing_left(self) -> Result<(), UNetConfigError> {
        let says_something = |(key, value): &(String, Value)| {
            !key.starts_with('_') && !value.is_null() && *value != false
        };
        self.0.into_iter().find(says_something).map_or(Ok(()), |(key, _)| {
            Err(UNetConfigError::Unknown(key.chars().take(100).collect()))
        })
    }
}

fn whole(key: &str, value: &Value) -> Result<usize, UNetConfigError> {
    let number = value.as_u64().filter(|number| (1..=LARGEST).contains(number));
    number
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| wrong(key, &format!("a whole number from 1 to {LARGEST}"), value))
}

fn wrong(key: &str, wanted: &str, found: &Value) -> UNetConfigError {
    let found = found.to_string().chars().take(100).collect();
    UNetConfigError::Value { key: key.to_owned(), wanted: wanted.to_owned(), found }
}
