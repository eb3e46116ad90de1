//! What `config.json` says of a CLIP or SigLIP model.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::clip::{ClipConfig, TextSettings};
use crate::config::{ConfigError, TextFile};
use crate::encoder::{Activation, EncoderSettings, EncoderShape};

/// What is read, in messages.
const WHAT: &str = "the configuration of a CLIP or SigLIP model";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `CLIPModel`.
    Clip,
    /// `SiglipModel`.
    SigLip,
}

/// The architecture of both towers.
#[derive(Clone, Debug, PartialEq)]
pub struct ContrastiveConfig {
    pub(super) text: Text,
    pub(super) vision: Vision,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Text {
    Clip(ClipConfig),
    SigLip(SigLipText),
}

/// Invariant: no size is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SigLipText {
    pub(super) vocabulary: usize,
    pub(super) positions: usize,
    pub(super) shape: EncoderShape,
    pub(super) projection: usize,
}

/// Invariant: no size is zero, and a patch is no larger than a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Vision {
    pub(super) shape: EncoderShape,
    pub(super) side: usize,
    pub(super) patch: usize,
    /// The width of CLIP's projection; SigLIP has none.
    pub(super) projection: usize,
}

/// The base sizes, which are what transformers takes where a file says nothing.
const fn base(width: usize, heads: usize, activation: Activation, eps: f64) -> EncoderShape {
    EncoderShape { width, intermediate: 4 * width, layers: 12, heads, activation, eps }
}

impl ContrastiveConfig {
    /// Reads a `config.json`; what it doesn't say is as in transformers' `CLIPConfig` and `SiglipConfig`.
    ///
    /// # Errors
    ///
    /// If it describes another kind of model, or one that can't be.
    pub fn from_json(file: TextFile<'_>) -> Result<Self, ConfigError> {
        let said: ConfigFile = file.parse(WHAT)?;
        let kind = said.model_type.as_str();
        let known = ["clip", "siglip"].contains(&kind);
        file.require(known, "model_type", "clip or siglip", kind)?;
        let siglip = kind == "siglip";

        let (default, patch) = if siglip {
            (base(768, 12, Activation::GeluPytorchTanh, 1e-6), 16)
        } else {
            (base(768, 12, Activation::QuickGelu, 1e-5), 32)
        };
        let seen: VisionSettings = settings(file, said.vision_config, said.vision_config_dict)?;
        let channels = seen.num_channels.unwrap_or(3);
        file.require(channels == 3, "num_channels", "3", &channels)?;
        let vision = Vision {
            shape: EncoderShape::of(file, &seen.encoder, default)?,
            side: seen.image_size.unwrap_or(224),
            patch: seen.patch_size.unwrap_or(patch),
            projection: said.projection_dim.unwrap_or(512),
        };
        let fits = 0 < vision.patch && vision.patch <= vision.side;
        file.require(fits, "patch_size", format!("1 to {}", vision.side), &vision.patch)?;
        file.require(0 < vision.projection, "projection_dim", "1 or more", &vision.projection)?;
        // Of a file that lies: its weights hold no such picture, but memory is taken first.
        file.require(vision.side <= 4096, "image_size", "at most 4096", &vision.side)?;

        let mut read: TextSettings = settings(file, said.text_config, said.text_config_dict)?;
        let text = if siglip {
            let shape =
                EncoderShape::of(file, &read.encoder, base(768, 12, default.activation, 1e-6))?;
            let text = SigLipText {
                vocabulary: read.vocab_size.unwrap_or(32_000),
                positions: read.max_position_embeddings.unwrap_or(64),
                projection: read.projection_size.unwrap_or(shape.width),
                shape,
            };
            let sizes =
                [("vocab_size", text.vocabulary), ("max_position_embeddings", text.positions)];
            for (key, size) in sizes {
                file.require(0 < size, key, "1 or more", &size)?;
            }
            let same = text.projection == vision.shape.width;
            let wanted = vision.shape.width.to_string();
            file.require(same, "projection_size", wanted, &text.projection)?;
            Text::SigLip(text)
        } else {
            // That of the whole model counts, whatever the part says.
            read.projection_dim = Some(vision.projection);
            Text::Clip(ClipConfig::of(file, &read)?)
        };
        Ok(Self { text, vision })
    }

    /// Which model it is.
    pub fn family(&self) -> Family {
        match self.text {
            Text::Clip(_) => Family::Clip,
            Text::SigLip(_) => Family::SigLip,
        }
    }

    /// Rows and columns of a picture, in pixels.
    pub fn side(&self) -> usize {
        self.vision.side
    }

    /// How many ids a text has.
    pub fn positions(&self) -> usize {
        match &self.text {
            Text::Clip(text) => text.positions(),
            Text::SigLip(text) => text.positions,
        }
    }

    /// The id that ends a text of CLIP, where the configuration names one; else the largest id does.
    pub fn end(&self) -> Option<u32> {
        match &self.text {
            Text::Clip(text) => text.end(),
            Text::SigLip(_) => None,
        }
    }

    /// How many ids there are.
    pub fn vocabulary(&self) -> usize {
        match &self.text {
            Text::Clip(text) => text.vocabulary(),
            Text::SigLip(text) => text.vocabulary,
        }
    }
}

#[derive(Deserialize)]
struct ConfigFile {
    model_type: String,
    projection_dim: Option<usize>,
    text_config: Option<Map<String, Value>>,
    text_config_dict: Option<Map<String, Value>>,
    vision_config: Option<Map<String, Value>>,
    vision_config_dict: Option<Map<String, Value>>,
}

/// A part of a configuration; in older files of CLIP there may be a second one, which overrides the first key by key.
fn settings<T: DeserializeOwned>(
    file: TextFile<'_>,
    part: Option<Map<String, Value>>,
    over: Option<Map<String, Value>>,
) -> Result<T, ConfigError> {
    let mut part = part.unwrap_or_default();
    part.extend(over.unwrap_or_default());
    serde_json::from_value(Value::Object(part)).map_err(|source| ConfigError::Json {
        file: file.name.to_owned(),
        wanted: WHAT,
        source,
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VisionSettings {
    image_size: Option<usize>,
    patch_size: Option<usize>,
    num_channels: Option<usize>,
    #[serde(flatten)]
    encoder: EncoderSettings,
}
