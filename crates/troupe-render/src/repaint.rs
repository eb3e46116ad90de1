//! A part of a picture painted anew: by an inpainting model, which is given the picture, or by any
//! other, into whose latents the picture is put back in every step.

use candle_core::{Device, Tensor};
use troupe_core::layout::Canvas;

use crate::blend::blend;
use crate::painter::latents_of;
use crate::{Job, Painter, Picture, RenderError, Watcher};

/// A picture of which a part is painted anew.
#[derive(Clone, Debug)]
pub struct Repaint {
    /// Red, green and blue, row by row from the top; of the size of the job's canvas.
    pub rgb: Vec<u8>,
    /// Whether each pixel is painted anew.
    pub anew: Vec<bool>,
    /// How many pixels around what is painted anew lead over to what isn't.
    pub feather: u32,
    /// With how much of the steps, and so of the noise: 1 forgets what was there, and less keeps its outlines. In `(0, 1]`.
    pub strength: f64,
}

impl Repaint {
    /// The picture with what is painted anew out of another, and the feather around it; both are of the canvas's size, and
    /// bytes that aren't there are those of neither.
    pub fn blended(&self, painted: &[u8], canvas: Canvas) -> Vec<u8> {
        blend(painted, self, canvas)
    }
}

/// What the first step starts from.
pub(crate) enum Start {
    /// The noise that is chosen among as many as the settings say.
    ChosenNoise,
    /// The job's own noise.
    Noise,
    /// A picture with noise, from which the last steps are taken.
    Picture {
        /// In the UNet's space: shape `(1, height, width, latent channels)`.
        image: Tensor,
        /// So many steps.
        steps: usize,
    },
}

/// What is given of a picture before it is painted.
pub(crate) enum Given {
    Nothing,
    /// An inpainting model's mask and masked picture, which enter the UNet beside the latents.
    ///
    /// Shape `(1, height, width, 1 + latent channels)`.
    Beside(Tensor),
    Kept(Kept),
}

impl Given {
    /// Whether what is under none of these masks stays as it is given; an inpainting model paints all, to its own liking.
    ///
    /// Of shape `(1, height, width, 1)` each, 1 or 0.
    pub(crate) fn is_covered_by(&self, masks: &[&Tensor]) -> Result<bool, RenderError> {
        let mut under: Option<Tensor> = None;
        for &mask in masks {
            under = Some(match under {
                Some(under) => under.maximum(mask)?,
                None => mask.clone(),
            });
        }
        let Some(under) = under else { return Ok(false) };
        let needed = match self {
            Self::Kept(kept) => kept.anew.clone(),
            Self::Beside(_) | Self::Nothing => under.ones_like()?,
        };
        let left: Vec<f32> = (needed - under)?.flatten_all()?.to_vec1()?;
        Ok(left.iter().all(|left| *left <= 0.0))
    }
}

/// A picture that stays where it isn't painted anew.
pub(crate) struct Kept {
    /// In the UNet's space: shape `(1, height, width, latent channels)`.
    pub(crate) image: Tensor,
    /// 1 where it is painted anew, else 0: shape `(1, height, width, 1)`.
    anew: Tensor,
}

impl Painter {
    /// Whether the model was made for painting a part of a picture anew. Others do it too, and see
    /// less of what is around it.
    pub fn inpaints(&self) -> bool {
        self.inpaints
    }

    /// Paints a part of a picture anew. What is further from it than the feather keeps its bytes.
    ///
    /// As diffusers' `StableDiffusionInpaintPipeline`: where nothing is painted anew, latents of an ordinary model are those of
    /// the picture, with the noise of the step. Of `n` steps the last `⌊strength · n⌋` are taken, at least one.
    ///
    /// # Errors
    ///
    /// As [`paint`](Self::paint), and if the picture has another size than the canvas, or nothing of
    /// it is painted anew.
    pub fn repaint(
        &self,
        job: &Job,
        picture: &Repaint,
        watcher: &mut dyn Watcher,
    ) -> Result<Picture, RenderError> {
        let given = self.given(job.canvas, picture)?;
        let steps = last_steps(picture.strength, job.settings.sampling.steps);
        let start = match &given {
            _ if job.settings.sampling.steps <= steps => Start::Noise,
            Given::Kept(kept) => Start::Picture { image: kept.image.clone(), steps },
            Given::Beside(_) | Given::Nothing => {
                let image = pixel_values(picture, job.canvas, |_| false)?;
                Start::Picture { image: self.encoded(&image)?, steps }
            }
        };
        let painted = self.paint_given(job, &given, &start, watcher)?;
        Ok(Picture { rgb: blend(&painted.rgb, picture, job.canvas), ..painted })
    }

    /// Shape `(1, height, width, 3)` → `(1, height / 8, width / 8, latent channels)`.
    fn encoded(&self, image: &Tensor) -> Result<Tensor, RenderError> {
        let encoder = self.vae_encoder()?;
        Ok(match self.tiles {
            Some(tiles) => encoder.encode_tiled(image, tiles)?,
            None => encoder.encode(image)?,
        })
    }

    /// What an inpainting model is given when all is painted anew; nothing for any other model.
    pub(crate) fn given_nothing(&self, job: &Job) -> Result<Given, RenderError> {
        if !self.inpaints {
            return Ok(Given::Nothing);
        }
        let pixels = pixels(job.canvas);
        let (rgb, anew) = (vec![0; 3 * pixels], vec![true; pixels]);
        let empty = Repaint { rgb, anew, feather: 0, strength: 1.0 };
        self.given(job.canvas, &empty)
    }

    /// The mask, and the picture with nothing where the mask is, as diffusers'
    /// `StableDiffusionInpaintPipeline` prepares them; for an ordinary model the whole picture.
    fn given(&self, canvas: Canvas, picture: &Repaint) -> Result<Given, RenderError> {
        let pixels = pixels(canvas);
        if picture.anew.len() != pixels || picture.rgb.len() != 3 * pixels {
            let (width, height) = (canvas.width(), canvas.height());
            let text = format!("the picture and its mask aren't of {width} x {height} pixels");
            return Err(RenderError::Mismatch(text));
        }
        let grid = latents_of(canvas);
        // A latent's mask is that of its first pixel.
        let places = (0..grid.height).flat_map(|y| (0..grid.width).map(move |x| (8 * y, 8 * x)));
        let anew: Vec<f32> = places
            .map(|(y, x)| f32::from(u8::from(picture.anew[y * 8 * grid.width + x])))
            .collect();
        if !anew.contains(&1.0) {
            return Err(RenderError::NothingAnew);
        }
        let anew = Tensor::from_vec(anew, (1, grid.height, grid.width, 1), &Device::Cpu)?;
        // What is painted anew is grey to an inpainting model.
        let image = pixel_values(picture, canvas, |anew| self.inpaints && anew)?;
        let image = self.encoded(&image)?;
        Ok(if self.inpaints {
            Given::Beside(Tensor::cat(&[anew, image], 3)?)
        } else {
            Given::Kept(Kept { image, anew })
        })
    }
}

/// From bytes to `[-1, 1]`; what `hides` says of a pixel that is painted anew, or isn't, becomes grey.
///
/// Shape `(1, height, width, 3)`, whole latents.
fn pixel_values(
    picture: &Repaint,
    canvas: Canvas,
    hides: impl Fn(bool) -> bool,
) -> Result<Tensor, RenderError> {
    let grid = latents_of(canvas);
    let value = |byte: u8, anew: bool| {
        if hides(anew) { 0.0 } else { f32::from(byte) / 127.5 - 1.0 }
    };
    let colours = picture.rgb.as_chunks::<3>().0.iter().zip(&picture.anew);
    let image: Vec<f32> =
        colours.flat_map(|(rgb, &anew)| rgb.map(|byte| value(byte, anew))).collect();
    Ok(Tensor::from_vec(image, (1, 8 * grid.height, 8 * grid.width, 3), &Device::Cpu)?)
}

/// How many of the last steps a strength is: `⌊strength · steps⌋` in double precision, as in diffusers; at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "from 0 to the number of steps"
)]
fn last_steps(strength: f64, steps: usize) -> usize {
    ((strength * steps as f64) as usize).clamp(1, steps.max(1))
}

impl Kept {
    /// A mask, but where nothing is painted anew 0.
    ///
    /// Shape `(1, height, width, 1)` → the same shape.
    pub(crate) fn only_anew(&self, mask: &Tensor) -> Result<Tensor, RenderError> {
        Ok((mask * &self.anew)?)
    }

    /// Latents where the picture is painted anew, and `noised` elsewhere.
    ///
    /// Two of shape `(1, height, width, latent channels)` → the same shape.
    pub(crate) fn put_back(
        &self,
        latents: &Tensor,
        noised: &Tensor,
    ) -> Result<Tensor, RenderError> {
        let anew = latents.broadcast_mul(&self.anew)?;
        let stays = noised.broadcast_mul(&self.anew.affine(-1.0, 1.0)?)?;
        Ok((anew + stays)?)
    }
}

fn pixels(canvas: Canvas) -> usize {
    let side = |pixels: u32| usize::try_from(pixels).unwrap_or(usize::MAX);
    side(canvas.width()).saturating_mul(side(canvas.height()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_as_it_is_needs_no_cover() {
        let mask = |values: [f32; 3]| {
            Tensor::from_vec(values.to_vec(), (1, 1, 3, 1), &Device::Cpu).unwrap()
        };
        let masks = [mask([1.0, 0.0, 0.0]), mask([1.0, 1.0, 0.0])];
        let kept = |anew| Given::Kept(Kept { image: mask([0.5; 3]), anew: mask(anew) });
        let covered = |given: Given, masks: &[Tensor]| {
            given.is_covered_by(&masks.iter().collect::<Vec<_>>()).unwrap()
        };
        assert!(covered(kept([1.0, 1.0, 0.0]), &masks));
        assert!(!covered(kept([1.0, 1.0, 0.0]), &masks[..1]));
        assert!(!covered(kept([0.0, 0.0, 1.0]), &masks));
        assert!(!covered(kept([1.0, 0.0, 0.0]), &[]));
        assert!(!covered(Given::Nothing, &masks));
        assert!(covered(Given::Nothing, &[mask([1.0; 3])]));
        assert!(!covered(Given::Beside(mask([1.0, 1.0, 0.0])), &masks));
    }

    #[test]
    fn a_strength_is_as_many_steps_as_in_diffusers() {
        // 0.29 · 100 is a little less than 29 in Python, too.
        let of = [(1.0, 20), (0.45, 20), (0.3, 10), (0.29, 100), (0.001, 20), (0.5, 1)];
        assert_eq!(of.map(|(strength, steps)| last_steps(strength, steps)), [20, 9, 3, 28, 1, 1]);
    }
}
