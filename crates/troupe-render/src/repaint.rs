//! Inpainting models, which are given a mask and the masked picture beside the latents.

use candle_core::{Device, Tensor};
use troupe_core::layout::Canvas;
use troupe_models::vae::VaeEncoder;

use crate::painter::latents_of;
use crate::{Job, Painter, Picture, RenderError, Watcher};

/// A picture of which a part is painted anew.
#[derive(Clone, Debug)]
pub struct Repaint {
    /// Red, green and blue, row by row from the top; of the size of the job's canvas.
    pub rgb: Vec<u8>,
    /// Whether each pixel is painted anew.
    pub anew: Vec<bool>,
}

impl Painter {
    /// Whether the model is one that paints a part of a picture anew.
    pub fn repaints(&self) -> bool {
        self.vae_encoder.is_some()
    }

    /// Paints a part of a picture anew, with a model that was made for it.
    ///
    /// # Errors
    ///
    /// As [`paint`](Self::paint), and if the model isn't made for it, or the picture has another
    /// size than the canvas.
    pub fn repaint(
        &self,
        job: &Job,
        picture: &Repaint,
        watcher: &mut dyn Watcher,
    ) -> Result<Picture, RenderError> {
        let Some(encoder) = &self.vae_encoder else {
            let text =
                "the UNet takes no picture to paint a part of anew; an inpainting model does";
            return Err(RenderError::Mismatch(text.to_owned()));
        };
        let given = self.given(encoder, job.canvas, picture)?;
        self.paint_given(job, Some(&given), watcher)
    }

    /// What an inpainting model is given when all is painted anew; nothing for any other model.
    pub(crate) fn given_nothing(&self, job: &Job) -> Result<Option<Tensor>, RenderError> {
        let Some(encoder) = &self.vae_encoder else { return Ok(None) };
        let pixels = pixels(job.canvas);
        let empty = Repaint { rgb: vec![0; 3 * pixels], anew: vec![true; pixels] };
        self.given(encoder, job.canvas, &empty).map(Some)
    }

    /// The mask, and the picture with nothing where the mask is, as diffusers'
    /// `StableDiffusionInpaintPipeline` prepares them.
    ///
    /// Shape `(1, height, width, 1 + latent channels)`.
    fn given(
        &self,
        encoder: &VaeEncoder,
        canvas: Canvas,
        picture: &Repaint,
    ) -> Result<Tensor, RenderError> {
        let pixels = pixels(canvas);
        if picture.anew.len() != pixels || picture.rgb.len() != 3 * pixels {
            let (width, height) = (canvas.width(), canvas.height());
            let text = format!("the picture and its mask aren't of {width} x {height} pixels");
            return Err(RenderError::Mismatch(text));
        }
        let grid = latents_of(canvas);
        let (height, width) = (8 * grid.height, 8 * grid.width);
        // From bytes to [-1, 1]; what is painted anew is grey.
        let colours = picture.rgb.as_chunks::<3>().0.iter().zip(&picture.anew);
        let value = |byte: u8, anew: bool| if anew { 0.0 } else { f32::from(byte) / 127.5 - 1.0 };
        let masked: Vec<f32> =
            colours.flat_map(|(rgb, &anew)| rgb.map(|byte| value(byte, anew))).collect();
        let masked = Tensor::from_vec(masked, (1, height, width, 3), &Device::Cpu)?;
        let masked = match self.tiles {
            Some(tiles) => encoder.encode_tiled(&masked, tiles)?,
            None => encoder.encode(&masked)?,
        };
        // A latent's mask is that of its first pixel.
        let places = (0..grid.height).flat_map(|y| (0..grid.width).map(move |x| (8 * y, 8 * x)));
        let mask = places.map(|(y, x)| f32::from(u8::from(picture.anew[y * width + x])));
        let shape = (1, grid.height, grid.width, 1);
        let mask = Tensor::from_vec(mask.collect::<Vec<_>>(), shape, &Device::Cpu)?;
        Ok(Tensor::cat(&[mask, masked], 3)?)
    }
}

fn pixels(canvas: Canvas) -> usize {
    let side = |pixels: u32| usize::try_from(pixels).unwrap_or(usize::MAX);
    side(canvas.width()).saturating_mul(side(canvas.height()))
}
