//! What holds where nothing else is said.

use troupe_core::axis::{Axis, AxisValue, Scope};
use troupe_core::share::Share;

#[cfg(doc)]
use super::TEMPLATE;
use super::{
    AuditConfig, Dtype, PaintConfig, PlanConfig, RegionsConfig, Rng, SecondPassConfig, Spacing,
    SubjectsConfig,
};

impl Default for PlanConfig {
    fn default() -> Self {
        Self { subjects: SubjectsConfig::default(), model: "starter".to_owned(), axes: axes() }
    }
}

impl Default for SubjectsConfig {
    fn default() -> Self {
        Self { min: 3, max: 6 }
    }
}

impl Default for PaintConfig {
    fn default() -> Self {
        Self {
            model: "starter".to_owned(),
            vae: String::new(),
            embeddings: Vec::new(),
            clip_skip: 1,
            vae_tile: 0,
            negative: String::new(),
            threads: 0,
            dtype: Dtype::Auto,
            sampler: "dpm++2m".to_owned(),
            steps: 20,
            eta: 0.0,
            spacing: Spacing::Model,
            rng: Rng::Troupe,
            guidance: 5.0,
            guidance_rescale: 0.0,
            regions: RegionsConfig::default(),
            second_pass: SecondPassConfig::default(),
            retries: 0,
            loras: Vec::new(),
        }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { judge: "auto".to_owned(), margin: 0.2 }
    }
}

/// What a LoRA is multiplied by.
pub(super) fn lora_scale() -> f64 {
    1.0
}

/// The axes of [`TEMPLATE`], which are what the starter painter can paint.
fn axes() -> Vec<Axis> {
    let skin_tone = [
        ("light", &["pale", "fair", "white"][..]),
        ("medium light", &["beige"]),
        ("medium", &["tan", "tanned", "olive"]),
        ("medium dark", &["brown"]),
        ("dark", &["black", "ebony"]),
    ];
    let gender = [
        ("woman", &["women", "female", "women's", "girl", "lady"][..]),
        ("man", &["men", "male", "men's", "boy", "gentleman"]),
    ];
    let axis = |name: &str, values: Vec<AxisValue>, mixed: &[&str]| Axis {
        name: name.to_owned(),
        applies_to: None,
        values,
        scope: Scope::Batch,
        given: Vec::new(),
        mixed: owned(mixed),
    };
    let skin_tone =
        skin_tone.map(|(name, also)| value(name, 20.0, format!("with {name} skin"), also));
    let gender = gender.map(|(name, also)| value(name, 50.0, format!("{name} {{noun}}"), also));
    vec![
        axis(
            "skin tone",
            skin_tone.into_iter().flatten().collect(),
            &["multiracial", "diverse", "mixed", "multiethnic"],
        ),
        axis("gender", gender.into_iter().flatten().collect(), &[]),
    ]
}

/// `None` only for a share that is none; [`axes`] has no such.
fn value(name: &str, share: f64, phrase: String, also: &[&str]) -> Option<AxisValue> {
    let share = Share::try_from(share).ok()?;
    Some(AxisValue {
        name: name.to_owned(),
        share,
        phrase: Some(phrase),
        also: owned(also),
        stature: None,
    })
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
