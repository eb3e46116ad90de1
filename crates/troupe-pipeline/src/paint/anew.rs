//! Pictures of which a part is painted anew: read from files that may come from anywhere.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageFormat, ImageReader, Limits};
use troupe_core::layout::Canvas;
use troupe_core::region::{Placed, TokenGrid, front_most};
use troupe_models::hash::sha256;
use troupe_render::Repaint;

use super::Subject;
use super::record::{Part, Repainted};
use crate::{PipelineError, files};

/// The largest file of a picture, in bytes.
const LARGEST: u64 = 512 << 20;
/// The longest side of a canvas, in pixels.
const LONGEST_SIDE: u32 = 4096;
/// How many pixels around what is painted anew lead over to the rest, where nothing else is said.
pub const FEATHER: u32 = 8;
/// What is at least as bright is painted anew.
const BRIGHT: u8 = 128;

/// A picture of which a part is to be painted anew.
#[derive(Clone, Debug)]
pub struct Original {
    path: PathBuf,
    /// Its size.
    pub canvas: Canvas,
    // As many as the canvas has.
    pixels: Pixels,
}

/// The pixels of a picture.
#[derive(Clone, Debug)]
pub struct Pixels {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Red, green and blue, row by row from the top.
    pub rgb: Vec<u8>,
    /// The SHA-256 of the file.
    pub sha256: String,
}

impl Pixels {
    /// Reads a PNG file. Of what it has beyond eight bits of red, green and blue nothing is kept.
    ///
    /// # Errors
    ///
    /// If it isn't one, or larger than any of ours.
    pub fn read(path: &Path) -> Result<Self, PipelineError> {
        Self::of(path, (*files::map(path)?).as_ref())
    }

    /// Takes the bytes of a PNG file, which is or will be at `path`.
    ///
    /// # Errors
    ///
    /// As [`Pixels::read`].
    pub(crate) fn of(path: &Path, bytes: &[u8]) -> Result<Self, PipelineError> {
        let picture = decode(path, bytes)?;
        let (width, height) = (picture.width(), picture.height());
        let (rgb, sha256) = (picture.into_rgb8().into_raw(), sha256(bytes));
        Ok(Self { width, height, rgb, sha256 })
    }
}

/// A picture, and the part of it that is painted anew.
#[derive(Clone, Debug)]
pub struct Anew {
    repaint: Repaint,
    record: Repainted,
}

impl Original {
    /// Reads a PNG file. Of what it has beyond eight bits of red, green and blue nothing is kept.
    ///
    /// # Errors
    ///
    /// If it isn't one, or of a size that no picture of ours has.
    pub fn read(path: &Path) -> Result<Self, PipelineError> {
        Self::of(path, (*files::map(path)?).as_ref())
    }

    /// Takes the bytes of a PNG file, which is or will be at `path`.
    ///
    /// # Errors
    ///
    /// As [`Original::read`].
    pub(crate) fn of(path: &Path, bytes: &[u8]) -> Result<Self, PipelineError> {
        let pixels = Pixels::of(path, bytes)?;
        let canvas = Canvas::new(pixels.width, pixels.height)?;
        Ok(Self { path: path.to_owned(), canvas, pixels })
    }

    /// Whether this is the picture that another is a repainting of.
    ///
    /// # Errors
    ///
    /// If it is another one.
    pub fn check(&self, repainted: &Repainted) -> Result<(), PipelineError> {
        if self.pixels.sha256 == repainted.of {
            return Ok(());
        }
        Err(PipelineError::OtherOriginal {
            path: self.path.clone(),
            found: self.pixels.sha256.clone(),
            wanted: repainted.of.clone(),
        })
    }
}

impl Anew {
    /// A part of a picture.
    ///
    /// # Errors
    ///
    /// If there is no such part, or the picture has another size than what is painted.
    pub fn new(
        original: Original,
        part: Part,
        (feather, strength): (u32, f64),
        subject: Subject<'_>,
    ) -> Result<Self, PipelineError> {
        let (canvas, layout) = match subject {
            Subject::Layout(layout) => (layout.canvas, Some(layout)),
            Subject::Plain(plain) => (plain.canvas, None),
        };
        if original.canvas != canvas {
            return Err(PipelineError::Picture {
                path: original.path,
                problem: format!(
                    "is of {}x{} pixels, and wanted is {}x{}",
                    original.canvas.width(),
                    original.canvas.height(),
                    canvas.width(),
                    canvas.height()
                ),
            });
        }
        let record =
            Repainted { of: original.pixels.sha256, part, feather, strength, contrast: None };
        record.check(canvas, layout).map_err(PipelineError::Usage)?;
        let anew = match &record.part {
            Part::Mask(runs) => unrolled(runs),
            Part::Subjects(ids) => {
                let subjects = layout.map(|it| it.subjects.as_slice()).unwrap_or_default();
                let placed: Vec<Placed> = subjects
                    .iter()
                    .map(|it| Placed { bounds: it.bounds, depth: it.depth })
                    .collect();
                let wanted: Vec<bool> = subjects.iter().map(|it| ids.contains(&it.id)).collect();
                let whose = front_most(&placed, grid(canvas));
                whose.into_iter().map(|owner| owner.is_some_and(|owner| wanted[owner])).collect()
            }
        };
        let repaint = Repaint { rgb: original.pixels.rgb, anew, feather, strength };
        Ok(Self { repaint, record })
    }

    /// With another contrast than the configured one, 0 to 1; `None` is that one.
    #[must_use]
    pub fn with_contrast(mut self, contrast: Option<f64>) -> Self {
        self.record.contrast = contrast;
        self
    }

    /// What is recorded of it.
    pub fn record(&self) -> &Repainted {
        &self.record
    }

    pub(super) fn repaint(&self) -> &Repaint {
        &self.repaint
    }
}

/// A mask from a PNG file, in runs: white is painted anew.
///
/// # Errors
///
/// If it isn't one, or has another size than the picture.
pub fn mask_runs(path: &Path, canvas: Canvas) -> Result<Vec<u32>, PipelineError> {
    let bytes = files::map(path)?;
    let mask = decode(path, (*bytes).as_ref())?;
    if (mask.width(), mask.height()) != (canvas.width(), canvas.height()) {
        return Err(PipelineError::Picture {
            path: path.to_owned(),
            problem: format!(
                "is a mask of {}x{} pixels, and the picture is of {}x{}",
                mask.width(),
                mask.height(),
                canvas.width(),
                canvas.height()
            ),
        });
    }
    Ok(rolled(mask.into_luma8().into_raw().into_iter().map(|value| BRIGHT <= value)))
}

fn decode(path: &Path, bytes: &[u8]) -> Result<DynamicImage, PipelineError> {
    let failed = |problem: String| PipelineError::Picture { path: path.to_owned(), problem };
    if LARGEST < bytes.len() as u64 {
        return Err(failed(format!("is larger than {LARGEST} bytes")));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.limits(limits);
    reader.decode().map_err(|error| failed(format!("can't be read as PNG: {error}")))
}

fn grid(canvas: Canvas) -> TokenGrid {
    let side = |pixels: u32| usize::try_from(pixels).unwrap_or(usize::MAX);
    TokenGrid { height: side(canvas.height()), width: side(canvas.width()) }
}

/// Lengths of equal neighbours, those that are false first.
fn rolled(pixels: impl Iterator<Item = bool>) -> Vec<u32> {
    let mut runs = vec![0];
    let mut now = false;
    for pixel in pixels {
        if pixel != now {
            runs.push(0);
            now = pixel;
        }
        if let Some(run) = runs.last_mut() {
            *run += 1;
        }
    }
    runs
}

fn unrolled(runs: &[u32]) -> Vec<bool> {
    let values = [false, true].into_iter().cycle();
    let pixels = runs.iter().zip(values);
    pixels.flat_map(|(&run, value)| std::iter::repeat_n(value, run as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_the_mask() {
        for (mask, runs) in [
            (&[false, false, true, false][..], &[2, 1, 1][..]),
            (&[true, true], &[0, 2]),
            (&[false], &[1]),
            (&[], &[0]),
        ] {
            assert_eq!(rolled(mask.iter().copied()), runs);
            assert_eq!(unrolled(runs), mask);
        }
    }
}
