//! What a picture says of itself, so that it can be painted again.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use troupe_core::document::Document;
use troupe_core::layout::{Canvas, Layout};
use troupe_core::plan::LoraTag;
use troupe_core::seed::Seed;
use troupe_render::Scales;

use crate::config::PaintConfig;

/// The widest feather, in pixels.
const WIDEST_FEATHER: u32 = 256;
/// The most edges of a mask: as many as a picture of a thousand rows of small stripes has.
const MOST_RUNS: usize = 1 << 20;

/// What was painted, with what; in the PNG's chunk `troupe`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureRecord {
    /// [`Document::SCHEMA`].
    pub schema: String,
    /// The seed of its noise.
    pub seed: Seed,
    /// Whether its noise was given, and doesn't come from the seed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub noise_given: bool,
    /// The resolved `[paint]`, with names where it had paths.
    #[serde(deserialize_with = "as_painted")]
    pub paint: PaintConfig,
    /// The model, and its hash.
    pub model: Hashed,
    /// Another autoencoder than the model's, and its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<Hashed>,
    /// The textual inversions in their order, and their hashes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<Hashed>,
    /// The LoRAs in their order, and their hashes.
    pub loras: Vec<Hashed>,
    /// What was painted without a layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<Plain>,
    /// The layout that was painted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Another picture, of which only a part was painted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repainted: Option<Repainted>,
}

/// Which part of another picture was painted anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repainted {
    /// The SHA-256 of the other picture's file, in hexadecimal digits.
    pub of: String,
    /// The part.
    pub part: Part,
    /// How many pixels around it lead over to the rest.
    pub feather: u32,
    /// With how much of the steps, and so of the noise, above 0 to 1.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub strength: f64,
    /// The contrast of this part, where it isn't that of [`paint`](PictureRecord::paint).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrast: Option<f64>,
}

/// A configuration that says nothing of steps in which people are alone is of a picture that was painted without.
fn as_painted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PaintConfig, D::Error> {
    let mut paint = Value::deserialize(deserializer)?;
    if let Some(Value::Object(regions)) = paint.get_mut("regions") {
        regions.entry("alone").or_insert_with(|| 0.0.into());
    }
    PaintConfig::deserialize(paint).map_err(D::Error::custom)
}

/// The strength of a repainting that says none: what was there is forgotten.
fn whole() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_whole(strength: &f64) -> bool {
    1.0 <= *strength
}

/// A part of a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What is seen of these people's boxes.
    Subjects(Vec<String>),
    /// Pixels, row by row from the top: so many that stay, so many that are painted anew, and so on.
    Mask(Vec<u32>),
}

/// A file of a model by name and hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashed {
    /// What it is called; not where it lies.
    pub name: String,
    /// As A1111 counts it.
    pub hash: String,
    /// How strongly a LoRA was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scales>,
}

/// A prompt that is painted as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    /// The prompt, without LoRA tags.
    pub prompt: String,
    /// The LoRAs that its tags asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraTag>,
    /// The size.
    pub canvas: Canvas,
}

impl Document for PictureRecord {
    const SCHEMA: &'static str = "troupe.picture/1";

    fn check(&self) -> Result<(), String> {
        self.paint.check()?;
        let names = self.paint.loras.iter().map(|lora| &lora.path);
        let names = names.chain(&self.paint.embeddings).chain([&self.paint.model, &self.paint.vae]);
        if let Some(path) = names.into_iter().find(|name| name.contains(['/', '\\', '\0'])) {
            return Err(format!("models and LoRAs go by name in a picture, and this is `{path}`"));
        }
        let canvas = match (&self.plain, &self.layout) {
            (None, Some(layout)) => {
                layout.check()?;
                layout.canvas
            }
            (Some(plain), None) => plain.canvas,
            (Some(_), Some(_)) | (None, None) => {
                return Err("wanted either `plain` or `layout`".to_owned());
            }
        };
        let repainted = self.repainted.as_ref();
        repainted.map_or(Ok(()), |it| it.check(canvas, self.layout.as_ref()))
    }
}

impl Repainted {
    /// Checks what its types can't say; the layout is that of the picture, if it has one.
    pub(super) fn check(&self, canvas: Canvas, layout: Option<&Layout>) -> Result<(), String> {
        let hash = &self.of;
        if hash.len() != 64 || !hash.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("`repainted.of` is `{hash}`, and wanted is a SHA-256"));
        }
        if WIDEST_FEATHER < self.feather {
            let feather = self.feather;
            return Err(format!(
                "the feather is {feather} pixels, and {WIDEST_FEATHER} are the most"
            ));
        }
        if !(0.0 < self.strength && self.strength <= 1.0) {
            return Err(format!(
                "the strength takes more than 0 and at most 1, and is {}",
                self.strength
            ));
        }
        if let Some(contrast) = self.contrast.filter(|it| !(0.0..=1.0).contains(it)) {
            return Err(format!("the contrast takes 0 to 1, and is {contrast}"));
        }
        match &self.part {
            Part::Subjects(ids) => {
                let people: Vec<&str> =
                    layout.iter().flat_map(|it| &it.subjects).map(|it| it.id.as_str()).collect();
                if people.is_empty() {
                    return Err("there are no people in boxes, of whom some could be painted anew"
                        .to_owned());
                }
                match ids.iter().find(|id| !people.contains(&id.as_str())) {
                    Some(id) => {
                        Err(format!("there is no subject `{id}`, only {}", people.join(", ")))
                    }
                    None if ids.is_empty() => Err("no subject is to be painted anew".to_owned()),
                    None => Ok(()),
                }
            }
            Part::Mask(runs) => {
                let pixels: u64 = runs.iter().map(|&run| u64::from(run)).sum();
                let wanted = u64::from(canvas.width()) * u64::from(canvas.height());
                if MOST_RUNS < runs.len() {
                    let runs = runs.len();
                    return Err(format!("the mask has {runs} edges, and {MOST_RUNS} are the most"));
                }
                if pixels == wanted {
                    Ok(())
                } else {
                    Err(format!("the mask is of {pixels} pixels, and the picture of {wanted}"))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Record {
        #[serde(deserialize_with = "as_painted")]
        paint: PaintConfig,
    }

    #[test]
    fn a_picture_that_says_nothing_of_steps_alone_had_none() {
        let mut paint = json!(PaintConfig::default());
        let read = |paint: &Value| -> PaintConfig {
            serde_json::from_value::<Record>(json!({ "paint": paint })).unwrap().paint
        };
        assert_eq!(read(&paint), PaintConfig::default());
        paint["regions"].as_object_mut().unwrap().remove("alone");
        let found = read(&paint);
        assert!(found.regions.alone == 0.0 && PaintConfig::default().regions.alone != 0.0);
    }
}
