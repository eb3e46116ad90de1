//! A judge that was trained on drawings, with a class for everything it says.

use candle_core::{Device, Tensor};
use troupe_core::audit::Presence;
use troupe_core::region::{BoundingBox, Placed};
use troupe_models::config::TextFile;
use troupe_models::weights::Weights;

use crate::config::{Head, JudgeConfig};
use crate::crop::{CHANNELS, HEIGHT, WIDTH, crop};
use crate::error::AuditError;
use crate::judge::{Answer, Finding, Judgement, Picture, neighbours};
use crate::network::Network;

/// The crops that are judged at a time.
const BATCH: usize = 32;

/// A loaded judge: a small classifier (`models/starter/train/judge`).
#[derive(Debug)]
pub struct TrainedJudge {
    config: JudgeConfig,
    network: Network,
}

impl TrainedJudge {
    /// Takes the configuration, `first.json`, and the tensors of the file beside it.
    ///
    /// # Errors
    ///
    /// If the configuration can't be used, or a tensor is missing or of another shape.
    pub fn load(config: TextFile<'_>, weights: &Weights) -> Result<Self, AuditError> {
        let config = JudgeConfig::read(config)?;
        let network = Network::new(&config, weights)?;
        Ok(Self { config, network })
    }

    /// What its heads say.
    pub fn config(&self) -> &JudgeConfig {
        &self.config
    }

    /// Judges every box of a layout, knowing of the others.
    ///
    /// # Errors
    ///
    /// If the tensor library fails.
    pub fn judge(
        &self,
        picture: &Picture<'_>,
        placed: &[Placed],
    ) -> Result<Vec<Judgement>, AuditError> {
        let crops = placed.iter().enumerate().map(|(at, own)| {
            let (front, behind) = neighbours(placed, at);
            crop(picture, own.bounds, &front, &behind)
        });
        self.judgements(&crops.collect::<Vec<_>>())
    }

    /// Judges parts of the picture where nobody was planned; `others` are the boxes of everybody.
    ///
    /// # Errors
    ///
    /// If the tensor library fails.
    pub fn judge_elsewhere(
        &self,
        picture: &Picture<'_>,
        parts: &[BoundingBox],
        others: &[BoundingBox],
    ) -> Result<Vec<Judgement>, AuditError> {
        let mut judgements = Vec::with_capacity(parts.len());
        // Crops are much larger than boxes.
        for parts in parts.chunks(BATCH) {
            let crops = parts.iter().map(|&bounds| crop(picture, bounds, others, &[]));
            judgements.append(&mut self.judgements(&crops.collect::<Vec<_>>())?);
        }
        Ok(judgements)
    }

    fn judgements(&self, crops: &[Vec<f32>]) -> Result<Vec<Judgement>, AuditError> {
        let mut judgements = Vec::with_capacity(crops.len());
        for batch in crops.chunks(BATCH) {
            let logits = self.logits(&batch.concat())?;
            for at in 0..batch.len() {
                judgements.push(self.judgement(&logits, at));
            }
        }
        Ok(judgements)
    }

    /// The logits of every head, `(crops, classes)` each, row by row.
    ///
    /// Shape of the crops `(crops, 144, 96, 5)`.
    ///
    /// # Errors
    ///
    /// If the values are no whole number of crops.
    #[expect(clippy::integer_division, reason = "a remainder is refused by the tensor")]
    pub fn logits(&self, crops: &[f32]) -> Result<Vec<Vec<f32>>, AuditError> {
        let count = crops.len() / (HEIGHT * WIDTH * CHANNELS);
        let crops = Tensor::from_slice(crops, (count, HEIGHT, WIDTH, CHANNELS), &Device::Cpu)?;
        let logits = self.network.forward(&crops)?;
        logits.iter().map(|it| Ok(it.flatten_all()?.to_vec1()?)).collect()
    }

    /// Of the crop at `at`, from the logits of a batch.
    fn judgement(&self, logits: &[Vec<f32>], at: usize) -> Judgement {
        let mut answers = self.config.heads.iter().zip(logits).map(|(head, logits)| {
            let logits = logits.chunks(head.classes()).nth(at).unwrap_or_default();
            (head, answer(head, logits))
        });
        let numbers = [Presence::Nobody, Presence::One, Presence::More];
        let (presence, confidence) = match answers.next() {
            Some((_, (sure, confidence))) => {
                let number = sure.and_then(|class| numbers.get(class).copied());
                (number.unwrap_or(Presence::NotSure), confidence)
            }
            None => (Presence::NotSure, 0.0),
        };
        let attributes = answers.map(|(head, (sure, confidence))| Finding {
            attribute: head.name.clone(),
            answer: match sure {
                Some(class) => {
                    head.values.get(class).cloned().map_or(Answer::NotVisible, Answer::Value)
                }
                None => Answer::NotSure,
            },
            confidence,
        });
        Judgement { presence, confidence, attributes: attributes.collect() }
    }
}

/// The likeliest class, if its probability at the head's temperature is enough, and that probability; of equals, the
/// first. Logits that are no numbers make a probability that is none, and that is never enough.
fn answer(head: &Head, logits: &[f32]) -> (Option<usize>, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, &logit) in logits.iter().enumerate() {
        if best.1 < logit {
            best = (class, logit);
        }
    }
    let sum: f32 = logits.iter().map(|it| ((it - best.1) / head.temperature).exp()).sum();
    let confidence = Some(1.0 / sum).filter(|it| it.is_finite()).unwrap_or(0.0);
    if confidence <= 0.0 {
        return (None, 0.0);
    }
    ((head.threshold <= confidence).then_some(best.0), confidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(temperature: f32) -> Head {
        let values = vec!["yes".to_owned(), "no".to_owned()];
        Head { name: "hat".to_owned(), values, not_visible: false, temperature, threshold: 0.5 }
    }

    #[test]
    fn a_temperature_makes_less_sure() {
        let (class, sure) = answer(&head(1.0), &[0.0, 3.0]);
        let (same, less) = answer(&head(2.0), &[0.0, 3.0]);
        assert_eq!((class, same), (Some(1), Some(1)));
        assert!((sure - 0.952_574).abs() < 1e-5 && (less - 0.817_574).abs() < 1e-5);
    }

    #[test]
    fn what_is_likely_enough_is_sure_and_what_is_no_number_never_is() {
        assert_eq!(answer(&head(1.0), &[0.0, 0.0]), (Some(0), 0.5));
        let strict = Head { threshold: 0.6, ..head(1.0) };
        assert_eq!(answer(&strict, &[0.0, 0.0]).0, None);
        let lenient = Head { threshold: 0.0, ..head(1.0) };
        for logits in [[f32::NAN; 2], [0.0, f32::NAN], [f32::INFINITY, 0.0]] {
            assert_eq!(answer(&lenient, &logits).0, None, "{logits:?}");
        }
    }
}
