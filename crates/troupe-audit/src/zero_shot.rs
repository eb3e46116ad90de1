//! A judge for pictures of any style: CLIP or SigLIP, asked which of several texts a box shows the most.
//!
//! The texts are the plan's own phrases ("a photo of a doctor with dark skin"), one for each value of an axis, as zero-shot
//! classification does it (Radford et al. 2021, arXiv:2103.00020, section 3.1). The cosines of a box and the texts, times the
//! model's own scale, make probabilities. A lead over the second that is below the margin is no answer: how large it should be
//! depends on the model and the pictures, and is found by looking at some.
//!
//! A box is seen in a square, as these models want it: all of it and the margin that a crop has, on grey, without what
//! is in front of it. What was planned of a person it hears only by the noun, which is in every text, but for words of it that say
//! a value of the axis in question.

mod colours;
mod questions;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Tensor};
use troupe_core::audit::Presence;
use troupe_core::plan::{ScenePlan, Subject};
use troupe_core::region::{BoundingBox, Placed};
use troupe_models::config::TextFile;
use troupe_models::contrastive::{Contrastive, ContrastiveConfig, Family};
use troupe_models::tokenizer::{Tokenizer, UnigramTokenizer};
use troupe_models::weights::Weights;

use self::colours::Colours;
use self::questions::{PRESENCE, bare, photo, text, unsaid};
use crate::crop::square;
use crate::error::AuditError;
use crate::judge::{Answer, Finding, Judgement, Picture, neighbours};
use crate::reading::{NOUN, Reader, distinct_nouns};

/// The pictures that are looked at at a time.
const BATCH: usize = 8;

/// The texts whose directions are kept before a question makes room for itself; a batch has as many as its people have nouns times
/// values.
const KEPT: usize = 4096;

/// What the texts of [`PRESENCE`] say.
const NUMBERS: [Presence; 3] = [Presence::Nobody, Presence::One, Presence::More];

/// The files of a model, as transformers writes them; all of them untrusted.
#[derive(Debug)]
pub struct ZeroShotFiles<'a> {
    /// `config.json`.
    pub config: TextFile<'a>,
    /// `preprocessor_config.json`, or the `processor_config.json` of newer ones, if there is one.
    pub preprocessor: Option<TextFile<'a>>,
    /// What makes ids of texts.
    pub tokenizer: TextTokenizer,
    /// `model.safetensors`.
    pub weights: Weights,
}

/// The tokenizer of a model.
#[derive(Debug)]
pub enum TextTokenizer {
    /// CLIP's.
    Clip(Tokenizer),
    /// SigLIP's.
    SigLip(UnigramTokenizer),
}

/// A loaded model, ready to be asked.
#[derive(Debug)]
pub struct ZeroShotJudge {
    model: Contrastive,
    tokenizer: TextTokenizer,
    colours: Colours,
    margin: f32,
    /// The directions of texts that were asked before.
    known: Mutex<BTreeMap<String, Vec<f32>>>,
}

impl ZeroShotJudge {
    /// Takes the files of a model, and by how much the likeliest answer must be likelier than the second.
    ///
    /// # Errors
    ///
    /// If a file can't be used, they don't belong together, or a tensor is missing or of another shape.
    pub fn load(files: ZeroShotFiles<'_>, margin: f32) -> Result<Self, AuditError> {
        let config = ContrastiveConfig::from_json(files.config)?;
        fits(files.config, &config, &files.tokenizer)?;
        let colours = Colours::of(files.preprocessor, config.family())?;
        let model = Contrastive::new(config, &files.weights)?;
        let (tokenizer, known) = (files.tokenizer, Mutex::default());
        Ok(Self { model, tokenizer, colours, margin, known })
    }

    /// Judges every box of a layout, knowing of the others; a box for each person of the plan.
    ///
    /// # Errors
    ///
    /// If the tensor library fails.
    pub(crate) fn judge(
        &self,
        picture: &Picture<'_>,
        placed: &[Placed],
        plan: &ScenePlan,
        reader: &Reader<'_>,
    ) -> Result<Vec<Judgement>, AuditError> {
        let boxes: Vec<(BoundingBox, Vec<BoundingBox>)> =
            (0..placed.len()).map(|at| (placed[at].bounds, neighbours(placed, at).0)).collect();
        let seen = self.look(picture, &boxes)?;
        let mut judgements = Vec::with_capacity(seen.len());
        for (seen, subject) in seen.iter().zip(&plan.subjects) {
            let mut judgement = self.presence(seen)?;
            judgement.attributes = self.attributes(seen, plan, reader, subject)?;
            judgements.push(judgement);
        }
        Ok(judgements)
    }

    /// Judges parts of the picture where nobody was planned; `others` are the boxes of everybody.
    ///
    /// # Errors
    ///
    /// If the tensor library fails.
    pub(crate) fn judge_elsewhere(
        &self,
        picture: &Picture<'_>,
        parts: &[BoundingBox],
        others: &[BoundingBox],
    ) -> Result<Vec<Judgement>, AuditError> {
        let parts: Vec<_> = parts.iter().map(|&part| (part, others.to_vec())).collect();
        let judgement = |seen: &Vec<f32>| {
            let probabilities = self.probabilities(seen, &PRESENCE.map(str::to_owned))?;
            Ok(somebody(&probabilities))
        };
        self.look(picture, &parts)?.iter().map(judgement).collect()
    }

    fn presence(&self, seen: &[f32]) -> Result<Judgement, AuditError> {
        let (best, confidence) = self.choose(seen, &PRESENCE.map(str::to_owned))?;
        let presence = best.and_then(|it| NUMBERS.get(it).copied()).unwrap_or(Presence::NotSure);
        Ok(Judgement { presence, confidence, attributes: Vec::new() })
    }

    fn attributes(
        &self,
        seen: &[f32],
        plan: &ScenePlan,
        reader: &Reader<'_>,
        subject: &Subject,
    ) -> Result<Vec<Finding>, AuditError> {
        let finding = |attribute: &str, names: &[&str], texts: &[String]| {
            let (best, confidence) = self.choose(seen, texts)?;
            let name = best.and_then(|it| names.get(it));
            let answer = name.map_or(Answer::NotSure, |it| Answer::Value((*it).to_owned()));
            Ok::<_, AuditError>(Finding { attribute: attribute.to_owned(), answer, confidence })
        };
        let mut findings = Vec::new();
        let nouns = distinct_nouns(plan);
        if 1 < nouns.len() {
            let texts: Vec<String> = nouns.iter().map(|noun| photo(&bare(noun))).collect();
            findings.push(finding(NOUN, &nouns, &texts)?);
        }
        for assigned in &subject.values {
            let known = reader.axis(&assigned.axis).is_some();
            let Some(proof) = plan.axes.iter().find(|it| known && it.axis == assigned.axis) else {
                continue;
            };
            let names: Vec<&str> = proof.values.iter().map(|it| it.name.as_str()).collect();
            let noun = unsaid(&subject.noun, &proof.values);
            let texts: Vec<String> = proof.values.iter().map(|it| text(&noun, it)).collect();
            findings.push(finding(&proof.axis, &names, &texts)?);
        }
        Ok(findings)
    }

    /// The directions of windows, each without what hides of it.
    fn look(
        &self,
        picture: &Picture<'_>,
        windows: &[(BoundingBox, Vec<BoundingBox>)],
    ) -> Result<Vec<Vec<f32>>, AuditError> {
        let side = self.model.config().side();
        let mut directions = Vec::with_capacity(windows.len());
        for batch in windows.chunks(BATCH) {
            let mut pixels = Vec::with_capacity(batch.len() * side * side * 3);
            for (bounds, hidden) in batch {
                let (colours, seen) = square(picture, *bounds, hidden, side);
                for (colour, seen) in colours.iter().zip(&seen) {
                    pixels.extend(self.colours.normalised(*colour).map(|it| it * seen));
                }
            }
            let shape = (batch.len(), side, side, 3);
            let pixels = Tensor::from_vec(pixels, shape, &Device::Cpu)?;
            directions.append(&mut self.model.pictures(&pixels)?.to_vec2()?);
        }
        Ok(directions)
    }

    /// Which of some texts a direction is nearest to, if by enough, and how probable that one is.
    fn choose(&self, seen: &[f32], texts: &[String]) -> Result<(Option<usize>, f32), AuditError> {
        Ok(answer(&self.probabilities(seen, texts)?, self.margin))
    }

    /// How probable each of some texts is for a direction.
    fn probabilities(&self, seen: &[f32], texts: &[String]) -> Result<Vec<f32>, AuditError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if KEPT < known.len() + texts.len() {
            known.clear();
        }
        let mut logits = Vec::with_capacity(texts.len());
        for text in texts {
            if !known.contains_key(text) {
                let rows = self.model.texts(&[self.ids(text)?])?.to_vec2::<f32>()?;
                known.insert(text.clone(), rows.into_iter().next().unwrap_or_default());
            }
            let direction = known.get(text).map_or(&[][..], Vec::as_slice);
            let cosine: f32 = direction.iter().zip(seen).map(|(a, b)| a * b).sum();
            logits.push(self.model.scale() * cosine);
        }
        Ok(softmax(&logits))
    }

    fn ids(&self, text: &str) -> Result<Vec<u32>, AuditError> {
        let length = self.model.config().positions();
        match &self.tokenizer {
            TextTokenizer::SigLip(tokenizer) => Ok(tokenizer.encode(text, length)?),
            TextTokenizer::Clip(tokenizer) => {
                let marks = tokenizer.marks();
                let mut ids = vec![marks.start];
                let room = length.saturating_sub(2);
                ids.extend(tokenizer.words(text)?.into_iter().take(room));
                ids.push(marks.end);
                // What follows the end isn't heard, and mustn't be taken for it.
                ids.resize(length, marks.end);
                Ok(ids)
            }
        }
    }
}

/// Whether a tokenizer is that of a model.
fn fits(
    file: TextFile<'_>,
    config: &ContrastiveConfig,
    tokenizer: &TextTokenizer,
) -> Result<(), AuditError> {
    let wrong = |key: &str, wanted: String, found: String| AuditError::Setting {
        file: file.name.to_owned(),
        key: key.to_owned(),
        wanted,
        found,
    };
    let (family, ids) = match tokenizer {
        TextTokenizer::Clip(it) => (Family::Clip, it.vocabulary_size()),
        TextTokenizer::SigLip(it) => (Family::SigLip, it.vocabulary_size()),
    };
    if family != config.family() {
        let wanted = format!("one with a tokenizer of {:?}", config.family());
        return Err(wrong("a model", wanted, format!("with one of {family:?}")));
    }
    // SigLIP's last ids are of no piece.
    if config.vocabulary() < ids {
        let wanted = format!("at least the tokenizer's {ids}");
        return Err(wrong("vocab_size", wanted, config.vocabulary().to_string()));
    }
    if let TextTokenizer::Clip(it) = tokenizer {
        let end = it.marks().end;
        // The largest id, where the file names none.
        let largest = u32::try_from(ids.saturating_sub(1)).unwrap_or(u32::MAX);
        let named = config.end().unwrap_or(largest);
        if named != end {
            let wanted = format!("the tokenizer's {end}, without which all texts are one");
            return Err(wrong("eos_token_id", wanted, named.to_string()));
        }
    }
    Ok(())
}

/// Logits as probabilities; all 0 if one is no number.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let parts: Vec<f32> = logits.iter().map(|it| (it - most).exp()).collect();
    let sum: f32 = parts.iter().sum();
    if !sum.is_finite() || sum <= 0.0 {
        return vec![0.0; logits.len()];
    }
    parts.iter().map(|it| it / sum).collect()
}

/// The likeliest, if it leads the second by the margin, and how probable it is; of equals, the first.
fn answer(probabilities: &[f32], margin: f32) -> (Option<usize>, f32) {
    let mut order: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let Some(&(best, most)) = order.first() else { return (None, 0.0) };
    let second = order.get(1).map_or(0.0, |it| it.1);
    ((0.0 < most && margin <= most - second).then_some(best), most)
}

/// How many people are where nobody was planned, by the probabilities of [`NUMBERS`], and how sure it is that there is anybody.
fn somebody(probabilities: &[f32]) -> Judgement {
    let (best, _) = answer(probabilities, 0.0);
    let presence = best.and_then(|it| NUMBERS.get(it).copied()).unwrap_or(Presence::NotSure);
    let confidence = probabilities.iter().skip(1).sum::<f32>().min(1.0);
    Judgement { presence, confidence, attributes: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_leads_by_the_margin_or_is_none() {
        let likely = softmax(&[0.0, 2.0, 1.0]);
        for (found, wanted) in likely.iter().zip([0.090_031, 0.665_241, 0.244_728]) {
            assert!((found - wanted).abs() < 1e-5);
        }
        assert_eq!(answer(&likely, 0.4), (Some(1), likely[1]));
        assert_eq!(answer(&likely, 0.45), (None, likely[1]));
        assert_eq!(answer(&[0.5, 0.5], 0.0), (Some(0), 0.5));
        for logits in [vec![f32::NAN, 1.0], vec![f32::INFINITY, 0.0], vec![]] {
            assert_eq!(answer(&softmax(&logits), 0.0), (None, 0.0), "{logits:?}");
        }
    }

    #[test]
    fn somebody_is_there_who_may_be_one_or_more() {
        let found = somebody(&[0.01, 0.6, 0.39]);
        assert_eq!(found.presence, Presence::One);
        assert!((found.confidence - 0.99).abs() < 1e-6);
        let found = somebody(&[0.5, 0.3, 0.2]);
        assert_eq!(found.presence, Presence::Nobody);
    }
}
