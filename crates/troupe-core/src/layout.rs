//! Where everybody stands: one box and one sub-prompt each; `layout.json`.

use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::plan::ScenePlan;
use crate::region::BoundingBox;

/// The boxes of one picture, with everything that painting it needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// [`Document::SCHEMA`].
    pub schema: String,
    /// The size of the picture.
    pub canvas: Canvas,
    /// The scene: who is there by noun and number, and where; no attribute of anybody.
    pub base_prompt: String,
    /// One entry for each subject of the plan, in its order.
    pub subjects: Vec<Placement>,
    /// The plan that was laid out.
    pub plan: ScenePlan,
}

/// Where one subject stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The subject's id in the plan.
    pub id: String,
    /// What the painter is told about it.
    pub sub_prompt: String,
    /// Its box.
    #[serde(rename = "box")]
    pub bounds: BoundingBox,
    /// How far in front it stands; the higher one owns an overlap, of equals the later one.
    pub depth: u32,
}

/// The size of a picture in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Size", into = "Size")]
pub struct Canvas {
    // Invariant: both are multiples of 8, from 64 to 4096.
    width: u32,
    height: u32,
}

/// A size as it stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// A size that no picture can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a picture's sides are multiples of 8 from 64 to 4096 pixels, and this is {}x{}", .0.width, .0.height)]
pub struct NotACanvas(pub Size);

impl TryFrom<Size> for Canvas {
    type Error = NotACanvas;

    fn try_from(size: Size) -> Result<Self, NotACanvas> {
        let fits = |side: u32| side.is_multiple_of(8) && (64..=4096).contains(&side);
        if fits(size.width) && fits(size.height) {
            Ok(Self { width: size.width, height: size.height })
        } else {
            Err(NotACanvas(size))
        }
    }
}

impl From<Canvas> for Size {
    fn from(canvas: Canvas) -> Self {
        Self { width: canvas.width, height: canvas.height }
    }
}

impl Canvas {
    /// Takes a size in pixels.
    ///
    /// # Errors
    ///
    /// If a side is not a multiple of 8 from 64 to 4096.
    pub fn new(width: u32, height: u32) -> Result<Self, NotACanvas> {
        Self::try_from(Size { width, height })
    }

    /// Width in pixels.
    pub fn width(self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(self) -> u32 {
        self.height
    }
}

impl Document for Layout {
    const SCHEMA: &'static str = "troupe.layout/1";

    fn check(&self) -> Result<(), String> {
        self.plan.check().map_err(|problem| format!("in `plan`: {problem}"))?;
        let ids = |at: usize| self.plan.subjects.get(at).map(|it| it.id.as_str());
        if self.subjects.len() != self.plan.subjects.len() {
            return Err(format!(
                "`subjects` has {} entries, and the plan has {} people",
                self.subjects.len(),
                self.plan.subjects.len()
            ));
        }
        for (index, placement) in self.subjects.iter().enumerate() {
            if ids(index) != Some(&placement.id) {
                return Err(format!(
                    "`subjects[{index}]` is `{}`, and the plan has `{}` there",
                    placement.id,
                    ids(index).unwrap_or("nobody")
                ));
            }
        }
        Ok(())
    }
}
