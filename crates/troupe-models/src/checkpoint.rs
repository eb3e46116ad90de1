//! Says whether a diffusers folder is a pipeline that we can run.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::weights::printable;

/// The parts of a pipeline of Stable Diffusion 1 or 2, and the class that each must be of.
const PARTS: [(&str, &str); 4] = [
    ("text_encoder", "CLIPTextModel"),
    ("tokenizer", "CLIPTokenizer"),
    ("unet", "UNet2DConditionModel"),
    ("vae", "AutoencoderKL"),
];

/// What a pipeline of Stable Diffusion XL has beside them.
const PARTS_OF_XL: [(&str, &str); 2] =
    [("text_encoder_2", "CLIPTextModelWithProjection"), ("tokenizer_2", "CLIPTokenizer")];

/// Parts that a pipeline may name and that painting doesn't use.
const UNUSED: [&str; 2] = ["feature_extractor", "safety_checker"];

/// The pipelines that we know; those of one kind differ in what they are given, not in their parts.
const PIPELINES: [(&str, PipelineKind); 6] = [
    ("StableDiffusionPipeline", PipelineKind::StableDiffusion),
    ("StableDiffusionImg2ImgPipeline", PipelineKind::StableDiffusion),
    ("StableDiffusionInpaintPipeline", PipelineKind::StableDiffusion),
    ("StableDiffusionXLPipeline", PipelineKind::StableDiffusionXl),
    ("StableDiffusionXLImg2ImgPipeline", PipelineKind::StableDiffusionXl),
    ("StableDiffusionXLInpaintPipeline", PipelineKind::StableDiffusionXl),
];

/// Which text encoders a pipeline has, and how it listens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineKind {
    /// One, to its last layer: Stable Diffusion 1.x and 2.x.
    StableDiffusion,
    /// Two, each to its last layer but one, and to the pooled text of the second.
    StableDiffusionXl,
}

/// A `model_index.json` that names nothing which we can't run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIndex {
    /// The class of the scheduler that the model was published with.
    pub scheduler: String,
    /// Its text encoders.
    pub kind: PipelineKind,
    /// Whether no negative prompt is zeros, and not an encoded empty text; of SDXL only.
    pub zeros_for_empty_prompt: bool,
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
    #[error(
        "`{model}` is a {found}, and a StableDiffusionPipeline or StableDiffusionXLPipeline was wanted"
    )]
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
        let Some(&(_, kind)) = PIPELINES.iter().find(|(class, _)| *class == found) else {
            return Err(ModelIndexError::Pipeline { model: name(), found: printable(found, 80) });
        };
        let mut parts = PARTS.to_vec();
        if kind == PipelineKind::StableDiffusionXl {
            parts.extend(PARTS_OF_XL);
        }
        let error = |part: &str, wanted| ModelIndexError::Part {
            model: name(),
            part: printable(part, 80),
            wanted,
            found: class(&whole, part).map_or("nothing".to_owned(), |class| printable(class, 80)),
        };
        for &(part, wanted) in &parts {
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
            part == "scheduler" || UNUSED.contains(&part) || parts.iter().any(|(of, _)| *of == part)
        };
        let unknown = whole.keys().find(|part| class(&whole, part).is_some() && !known(part));
        if let Some(part) = unknown {
            return Err(error(part, "no such part"));
        }
        // What `StableDiffusionXLPipeline` takes where the file doesn't say.
        let said = whole.get("force_zeros_for_empty_prompt").and_then(Value::as_bool);
        let of_xl = kind == PipelineKind::StableDiffusionXl;
        Ok(Self { scheduler, kind, zeros_for_empty_prompt: said.unwrap_or(true) && of_xl })
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
        let kind = PipelineKind::StableDiffusion;
        let scheduler = "DDIMScheduler".to_owned();
        assert_eq!(index, ModelIndex { scheduler, kind, zeros_for_empty_prompt: false });
        let inpaint = INDEX.replace("DiffusionPipeline", "DiffusionInpaintPipeline");
        assert_eq!(ModelIndex::parse("painter", &inpaint).unwrap(), index);
    }

    #[test]
    fn stable_diffusion_xl_has_two_text_encoders() {
        let parts = r#""text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"], "unet""#;
        let xl = INDEX.replace("StableDiffusionPipeline", "StableDiffusionXLPipeline");
        let whole = xl.replace("\"unet\"", parts);
        let index = ModelIndex::parse("m", &whole).unwrap();
        assert_eq!(
            (index.kind, index.zeros_for_empty_prompt),
            (PipelineKind::StableDiffusionXl, true)
        );
        let said = whole.replace("{\"_class", "{\"force_zeros_for_empty_prompt\": false, \"_class");
        assert!(!ModelIndex::parse("m", &said).unwrap().zeros_for_empty_prompt);
        let error = ModelIndex::parse("m", &xl).unwrap_err().to_string();
        assert!(error.contains("nothing as its text_encoder_2"), "{error}");
        let error = ModelIndex::parse("m", &INDEX.replace("\"unet\"", parts)).unwrap_err();
        assert!(error.to_string().contains("no such part"), "{error}");
    }

    #[test]
    fn the_fast_tokenizer_is_ours() {
        assert!(ModelIndex::parse("m", &INDEX.replace("Tokenizer", "TokenizerFast")).is_ok());
    }

    #[test]
    fn others_are_refused_by_name() {
        for (from, to, says) in [
            ("StableDiffusionPipeline", "FluxPipeline", "FluxPipeline"),
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
