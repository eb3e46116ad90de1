//! Says whether a diffusers folder is a pipeline that we can run.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::weights::printable;

/// The parts of a Stable Diffusion 1 pipeline, and the class that each must be of.
const PARTS: [(&str, &str); 4] = [
    ("text_encoder", "CLIPTextModel"),
    ("tokenizer", "CLIPTokenizer"),
    ("unet", "UNet2DConditionModel"),
    ("vae", "AutoencoderKL"),
];

/// Parts that a pipeline may name and that painting doesn't use.
const UNUSED: [&str; 2] = ["feature_extractor", "safety_checker"];

/// A `model_index.json` that names nothing which we can't run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIndex {
    /// The class of the scheduler that the model was published with.
    pub scheduler: String,
}

/// Why a `model_index.json` is not one that we can use.
#[derive(Debug, thiserror::Error)]
pub enum ModelIndexError {
    /// It is no JSON object.
    #[error("`model_index.json` of `{model}` is not a valid JSON object")]
    Json {
        /// The name of the model.
        model: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The pipeline is another one.
    #[error("`{model}` is a {found}, and only a StableDiffusionPipeline can be painted with yet")]
    Pipeline {
        /// The name of the model.
        model: String,
        /// The class that it says.
        found: String,
    },
    /// A part is missing, or of a class that we don't know.
    #[error("`{model}` has {found} as its {part}, and {wanted} was wanted")]
    Part {
        /// The name of the model.
        model: String,
        /// The part.
        part: String,
        /// What we know for it.
        wanted: &'static str,
        /// What the model has.
        found: String,
    },
}

impl ModelIndex {
    /// Reads the text of a `model_index.json`; the name of the model is for messages only.
    ///
    /// # Errors
    ///
    /// If it is not JSON, or names a pipeline or a part that we don't know.
    pub fn parse(model: &str, text: &str) -> Result<Self, ModelIndexError> {
        let name = || printable(model, 200);
        let whole: BTreeMap<String, Value> = serde_json::from_str(text)
            .map_err(|source| ModelIndexError::Json { model: name(), source })?;
        let found = whole.get("_class_name").and_then(Value::as_str).unwrap_or("nameless pipeline");
        if found != "StableDiffusionPipeline" {
            return Err(ModelIndexError::Pipeline { model: name(), found: printable(found, 80) });
        }
        let error = |part: &str, wanted| ModelIndexError::Part {
            model: name(),
            part: printable(part, 80),
            wanted,
            found: class(&whole, part).map_or("nothing".to_owned(), |class| printable(class, 80)),
        };
        for (part, wanted) in PARTS {
            // The fast tokenizer of the same class reads the same files.
            let known = class(&whole, part)
                .is_some_and(|class| class.strip_suffix("Fast").unwrap_or(class) == wanted);
            if !known {
                return Err(error(part, wanted));
            }
        }
        let scheduler = class(&whole, "scheduler")
            .ok_or_else(|| error("scheduler", "the class of a scheduler"))?
            .to_owned();
        let known = |part: &str| {
            part == "scheduler" || UNUSED.contains(&part) || PARTS.iter().any(|(of, _)| *of == part)
        };
        match whole.keys().find(|part| class(&whole, part).is_some() && !known(part)) {
            Some(part) => Err(error(part, "no such part")),
            None => Ok(Self { scheduler }),
        }
    }
}

/// The class of a part: the second of `["diffusers", "AutoencoderKL"]`; `None` where it has none.
fn class<'a>(whole: &'a BTreeMap<String, Value>, part: &str) -> Option<&'a str> {
    whole.get(part)?.as_array()?.get(1)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = r#"{"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1",
        "feature_extractor": [null, null], "image_encoder": [null, null],
        "requires_safety_checker": false, "safety_checker": ["stable_diffusion", "Checker"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}"#;

    #[test]
    fn a_plain_stable_diffusion_folder_is_ours() {
        let index = ModelIndex::parse("painter", INDEX).unwrap();
        assert_eq!(index, ModelIndex { scheduler: "DDIMScheduler".to_owned() });
    }

    #[test]
    fn the_fast_tokenizer_is_ours() {
        assert!(ModelIndex::parse("m", &INDEX.replace("Tokenizer", "TokenizerFast")).is_ok());
    }

    #[test]
    fn others_are_refused_by_name() {
        for (from, to, says) in [
            ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusionXLPipeline"),
            ("CLIPTextModel", "T5EncoderModel", "T5EncoderModel as its text_encoder"),
            ("AutoencoderKL", "VQModel", "VQModel as its vae"),
            ("\"unet\"", "\"transformer\"", "nothing as its unet"),
            ("\"scheduler\"", "\"clock\"", "nothing as its scheduler"),
            (
                r#""image_encoder": [null, null]"#,
                r#""image_encoder": ["t", "V"]"#,
                "V as its image",
            ),
            ("{", "", "not a valid JSON object"),
            ("\"_class_name\"", "\"name\"", "nameless pipeline"),
        ] {
            let error = ModelIndex::parse("m", &INDEX.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
