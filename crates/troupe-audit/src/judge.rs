//! What judges have in common: what they look at, what they say, and which of them there are.

use troupe_core::audit::Presence;
use troupe_core::plan::ScenePlan;
use troupe_core::region::{BoundingBox, Placed};

use crate::error::AuditError;
use crate::reading::Reader;
use crate::trained::TrainedJudge;
use crate::zero_shot::ZeroShotJudge;

/// A judge of either kind.
#[derive(Debug)]
pub enum Judge {
    /// A classifier that knows one style.
    Trained(Box<TrainedJudge>),
    /// CLIP or SigLIP, asked with the words of the plan.
    ZeroShot(Box<ZeroShotJudge>),
}

/// A picture: red, green and blue, row by row from the top.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    // Invariant: `3 · width · height` bytes, and neither side is zero.
    rgb: &'a [u8],
    width: usize,
    height: usize,
}

/// What a judge says of one box.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// How many people are there.
    pub presence: Presence,
    /// The probability of the likeliest number, which is also the answer's.
    pub confidence: f32,
    /// What can be told of the person. It means one only where there is one.
    pub attributes: Vec<Finding>,
}

/// What a judge says of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The attribute's name, such as "hair".
    pub attribute: String,
    /// What it is.
    pub answer: Answer,
    /// The probability of the likeliest answer, whether or not the judge is sure of it.
    pub confidence: f32,
}

/// What an attribute is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One of its values.
    Value(String),
    /// The drawing hides it, or has one of its own, such as a scientist's goggles.
    NotVisible,
    /// No answer is likely enough.
    NotSure,
}

impl<'a> Picture<'a> {
    /// # Errors
    ///
    /// Unless there are three bytes a pixel, and any pixels at all.
    pub fn new(rgb: &'a [u8], width: usize, height: usize) -> Result<Self, AuditError> {
        let wanted = width.saturating_mul(height).saturating_mul(3);
        if wanted == 0 || rgb.len() != wanted {
            return Err(AuditError::Picture {
                width,
                height,
                wanted: wanted.max(3),
                found: rgb.len(),
            });
        }
        Ok(Self { rgb, width, height })
    }

    /// The bytes.
    pub fn rgb(&self) -> &'a [u8] {
        self.rgb
    }

    /// In pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// In pixels.
    pub fn height(&self) -> usize {
        self.height
    }
}

impl Judge {
    /// Which attribute each axis of a plan is.
    pub(crate) fn reader<'a>(&'a self, plan: &'a ScenePlan) -> Reader<'a> {
        match self {
            Self::Trained(judge) => Reader::of_heads(plan, judge.config()),
            Self::ZeroShot(_) => Reader::of_words(plan),
        }
    }

    /// Judges every box of a layout, knowing of the others; a box for each person of the plan.
    pub(crate) fn judge(
        &self,
        picture: &Picture<'_>,
        placed: &[Placed],
        plan: &ScenePlan,
        reader: &Reader<'_>,
    ) -> Result<Vec<Judgement>, AuditError> {
        match self {
            Self::Trained(judge) => judge.judge(picture, placed),
            Self::ZeroShot(judge) => judge.judge(picture, placed, plan, reader),
        }
    }

    /// Judges parts of the picture where nobody was planned; `others` are the boxes of everybody.
    pub(crate) fn judge_elsewhere(
        &self,
        picture: &Picture<'_>,
        parts: &[BoundingBox],
        others: &[BoundingBox],
    ) -> Result<Vec<Judgement>, AuditError> {
        match self {
            Self::Trained(judge) => judge.judge_elsewhere(picture, parts, others),
            Self::ZeroShot(judge) => judge.judge_elsewhere(picture, parts, others),
        }
    }

    /// The parts of a person's size by which one window is moved from another where nobody was planned: a large network looks
    /// into a quarter as many.
    pub(crate) fn stride(&self) -> f64 {
        match self {
            Self::Trained(_) => 1.0 / 3.0,
            Self::ZeroShot(_) => 2.0 / 3.0,
        }
    }
}

/// The boxes in front of that at `at`, and those behind it; of equals, the later one is in front.
pub(crate) fn neighbours(placed: &[Placed], at: usize) -> (Vec<BoundingBox>, Vec<BoundingBox>) {
    let (mut front, mut behind) = (Vec::new(), Vec::new());
    for (index, it) in placed.iter().enumerate().filter(|(index, _)| *index != at) {
        let nearer = (it.depth, index) > (placed[at].depth, at);
        if nearer { &mut front } else { &mut behind }.push(it.bounds);
    }
    (front, behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_three_bytes_a_pixel() {
        assert!(Picture::new(&[0; 12], 2, 2).is_ok());
        for (bytes, width, height) in [(11, 2, 2), (0, 0, 4), (3, usize::MAX, 2)] {
            assert!(Picture::new(&vec![0; bytes], width, height).is_err());
        }
        let error = Picture::new(&[0; 11], 2, 2).unwrap_err().to_string();
        assert_eq!(error, "a picture of 2x2 pixels has 11 bytes, and 12 were wanted");
    }
}
