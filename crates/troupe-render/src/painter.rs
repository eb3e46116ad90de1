//! A loaded model, and the way from a job to a picture.

use candle_core::Tensor;
use troupe_core::layout::Canvas;
use troupe_core::region::TokenGrid;
use troupe_models::config::TextFile;
use troupe_models::error::ModelError;
use troupe_models::lora::Applied;
use troupe_models::unet::{UNet, UNetConfig};
use troupe_models::vae::{Blemish, Tiles, VaeConfig, VaeDecoder, VaeEncoder, blemish};
use troupe_models::weights::Weights;
use troupe_sampler::{Callbacks, NoiseSchedule, SchedulerConfig};

use crate::alone::Apart;
use crate::choice::Trial;
use crate::denoiser::Denoiser;
use crate::files::{Loras, PainterFiles};
use crate::loras::OfModel;
use crate::noise::NoiseSource;
use crate::repaint::{Given, Start};
use crate::text::Texts;
use crate::{Cell, Job, Picture, RenderError, Tensor4, Watcher};

/// How many pixels each latent spans, in each direction, in all families that we know.
const PIXELS_PER_LATENT: usize = 8;

/// Sizes of about the pixels that SDXL was trained on (Podell et al. 2023, arXiv:2307.01952, appendix I).
const SDXL_CANVASES: [(u32, u32); 4] = [(1024, 1024), (1152, 896), (1216, 832), (832, 1216)];

/// A loaded model with its LoRAs merged in.
#[derive(Debug)]
pub struct Painter {
    scheduler: SchedulerConfig,
    pub(crate) texts: Texts,
    pub(crate) zeros_for_empty_prompt: bool,
    pub(crate) unet_config: UNetConfig,
    /// They remember what is made of them.
    pub(crate) unet_weights: Weights,
    /// `None` where LoRAs changed and it could not be built again.
    pub(crate) unet: Option<UNet>,
    /// How many LoRAs are there to be bound to people.
    pub(crate) bound: usize,
    vae: VaeDecoder,
    /// Of which the encoder is built where a picture is encoded.
    vae_weights: Weights,
    /// Whether the UNet is given a picture to change, beside the latents.
    pub(crate) inpaints: bool,
    /// The side of the latents on which the UNet was trained.
    pub(crate) side: usize,
    pub(crate) tiles: Option<Tiles>,
}

impl Painter {
    /// Loads a model, merges LoRAs into it, in their order, and keeps others for the people that have them. Of each it
    /// says where every tensor went, of the merged ones first.
    ///
    /// # Errors
    ///
    /// If a part is broken or of an architecture that we don't know, or a LoRA doesn't fit.
    pub fn load(
        files: PainterFiles<'_>,
        loras: Loras<'_>,
    ) -> Result<(Self, Vec<Applied>), RenderError> {
        let scheduler = SchedulerConfig::parse(files.scheduler)?;
        let unet_config = UNetConfig::from_json(files.unet_config)?;
        let side = trained_side(files.unet_config, &unet_config);
        let vae_config = VaeConfig::from_json(files.vae_config)?;
        let latents = vae_config.latent_channels();
        // An inpainting model is also given a mask and the masked picture.
        let inpaints = unet_config.in_channels == 2 * latents + 1;
        if !inpaints {
            fits("latent channels", unet_config.in_channels, latents, usize::eq)?;
        }
        fits("latent channels", unet_config.out_channels, latents, usize::eq)?;
        fits("pixels a latent", PIXELS_PER_LATENT, vae_config.pixels_per_latent(), usize::eq)?;
        let tiles = tiles(files.options.tile)?;

        let files = files.kept_in_precision();
        let encoders: Vec<Weights> = files.texts.iter().map(|it| it.weights.clone()).collect();
        let (of_model, applied) = OfModel::new(loras, &files.unet, &encoders)?;
        let texts = Texts::load(
            files.index.kind,
            files.options.clip_skip,
            files.texts,
            of_model.texts,
            &files.embeddings,
        )?;
        fits("text width", unet_config.cross_attention_dim, texts.width(), usize::eq)?;
        let pooled = unet_config.addition.map_or(0, |addition| addition.pooled);
        fits("pooled text width", pooled, texts.pooled_width().unwrap_or(0), usize::eq)?;
        let of_unet = of_model.unet;
        let unet_weights =
            files.unet.with_adapters(of_unet.merged).with_bound(of_unet.bound).remembering();
        let painter = Self {
            scheduler,
            texts,
            zeros_for_empty_prompt: files.index.zeros_for_empty_prompt,
            inpaints,
            side,
            unet: Some(UNet::new(unet_config.clone(), &unet_weights)?),
            unet_config,
            unet_weights,
            bound: loras.bound.len(),
            vae: VaeDecoder::new(vae_config, &files.vae)?,
            vae_weights: files.vae,
            tiles,
        };
        Ok((painter, applied))
    }

    /// Paints a picture.
    ///
    /// # Errors
    ///
    /// If the job can't be done by this model, the numbers come to nothing, or the watcher stops it.
    pub fn paint(&self, job: &Job, watcher: &mut dyn Watcher) -> Result<Picture, RenderError> {
        let given = self.given_nothing(job)?;
        self.paint_given(job, &given, &Start::ChosenNoise, watcher)
    }

    pub(crate) fn latent_channels(&self) -> usize {
        self.vae.config().latent_channels()
    }

    /// The encoder of the autoencoder, which few pictures need.
    pub(crate) fn vae_encoder(&self) -> Result<VaeEncoder, RenderError> {
        Ok(VaeEncoder::new(self.vae.config().clone(), &self.vae_weights)?)
    }

    /// Paints with what is given of a picture, from where it starts.
    pub(crate) fn paint_given(
        &self,
        job: &Job,
        given: &Given,
        start: &Start,
        watcher: &mut dyn Watcher,
    ) -> Result<Picture, RenderError> {
        let sampling = job.settings.sampling;
        let steps = sampling.steps;
        let schedule = NoiseSchedule::new(&self.scheduler, sampling)?;
        let grid = latents_of(job.canvas);
        let mut source = NoiseSource::new(&job.noise, self.latent_channels(), grid, steps);
        let own = source.initial()?;
        // The steps that are taken are counted as those of the whole schedule.
        let first = match start {
            Start::Picture { steps: last, .. } => steps - last.clamp(&1, &steps),
            Start::ChosenNoise | Start::Noise => 0,
        };
        let taken = schedule.last(steps - first);
        let said = self.said(job, first)?;
        let trial = Trial { job, said: &said, schedule: &schedule, given };
        let noise = match start {
            Start::ChosenNoise => self.chosen_noise(trial, own, watcher)?,
            Start::Noise | Start::Picture { .. } => own,
        };
        let image = match start {
            Start::ChosenNoise => self.blobs(trial, watcher)?,
            Start::Noise => None,
            Start::Picture { image, .. } => Some(image.clone()),
        };
        let entering = match image {
            Some(image) => schedule.noised(&image, &noise, first)?,
            None => (&noise * schedule.initial_sigma())?,
        };
        let apart = match start {
            Start::ChosenNoise | Start::Noise => {
                self.apart(trial, (&entering, &noise), &mut source, watcher)?
            }
            Start::Picture { .. } => Apart::default(),
        };
        let mut denoiser = Denoiser::new(self, (job, &said), (&schedule, &noise), given)?;

        // The network is asked once a step, or twice, after the step is announced.
        let step_now = std::cell::Cell::new(0_usize);
        // The first step begins with noise alone, or with all of the picture.
        let kept = |latents: Tensor, step: usize| match given {
            Given::Kept(kept) if first < step => {
                kept.put_back(&latents, &schedule.noised(&kept.image, &noise, step)?)
            }
            Given::Kept(_) | Given::Beside(_) | Given::Nothing => Ok(latents),
        };
        let mut latents = entering;
        for (part, first) in apart.parts(taken, first) {
            latents = part.sample_from::<RenderError>(
                latents,
                Callbacks {
                    denoise: &mut |latents, timestep| {
                        denoiser.output(latents, timestep, step_now.get())
                    },
                    step_noise: &mut |step| source.step(first + step),
                    before_step: &mut |step, latents| {
                        let step = first + step;
                        step_now.set(step);
                        let latents = kept(apart.put(latents, step)?, step)?;
                        watcher.step(step, steps, &|| channels_first(&latents))?;
                        Ok(latents)
                    },
                },
            )?;
        }
        let latents = kept(apart.put(latents, steps)?, steps)?;
        finite(&latents, || format!("what is left after the last step of {steps}"))?;
        watcher.step(steps, steps, &|| channels_first(&latents))?;
        let picture = match self.tiles {
            Some(tiles) => self.vae.decode_tiled(&latents, tiles)?,
            None => self.vae.decode(&latents)?,
        };
        match blemish(&picture)? {
            Some(Blemish::NotFinite) => return Err(not_finite("the decoded picture".to_owned())),
            Some(Blemish::Flat) => return Err(RenderError::Flat),
            None => {}
        }
        Ok(Picture { rgb: bytes(&picture)?, canvas: job.canvas, notes: said.notes })
    }
}

/// One cell of the deepest attention map of a model, from its `unet/config.json` and `vae/config.json`.
///
/// # Errors
///
/// If a configuration isn't one that we know.
pub fn cell(unet_config: &str, vae_config: TextFile<'_>) -> Result<Cell, RenderError> {
    let halvings = UNetConfig::from_json(unet_config)?.levels.len().saturating_sub(1);
    let pixels = VaeConfig::from_json(vae_config)?.pixels_per_latent();
    let side = u32::try_from(pixels)
        .ok()
        .zip(u32::try_from(halvings).ok())
        .and_then(|(pixels, halvings)| pixels.checked_mul(1_u32.checked_shl(halvings)?))
        .unwrap_or(u32::MAX);
    Ok(Cell { width: side, height: side })
}

/// The sizes on which a model is at home, as far as its `unet/config.json` and `vae/config.json` tell; the first is the
/// squarest.
///
/// # Errors
///
/// If a configuration isn't one that we know.
pub fn canvases(unet_config: &str, vae_config: TextFile<'_>) -> Result<Vec<Canvas>, RenderError> {
    let xl = UNetConfig::from_json(unet_config)?.addition.is_some();
    let pixels = VaeConfig::from_json(vae_config)?.pixels_per_latent();
    let sizes = match UNetConfig::sample_size(unet_config) {
        None | Some(128) if xl => SDXL_CANVASES,
        sample_size => {
            let side = sample_size.map_or(512, |side| side.saturating_mul(pixels));
            let side = u32::try_from(side).unwrap_or(u32::MAX).clamp(64, 2048).next_multiple_of(8);
            let half = (side >> 1).next_multiple_of(8);
            let quarter = (side >> 2).next_multiple_of(8);
            [(side, side), (side + quarter, side), (side + half, side), (side, side + half)]
        }
    };
    Ok(sizes.into_iter().filter_map(|(width, height)| Canvas::new(width, height).ok()).collect())
}

/// The side of the latents on which a UNet was trained: what it says, or else that of its family.
fn trained_side(text: &str, config: &UNetConfig) -> usize {
    let of_family = if config.addition.is_some() { 128 } else { 64 };
    UNetConfig::sample_size(text).unwrap_or(of_family)
}

/// The tiles in which a picture is decoded; of 0 pixels, none.
fn tiles(pixels: usize) -> Result<Option<Tiles>, ModelError> {
    if pixels == 0 {
        return Ok(None);
    }
    let tiles = Tiles::of_pixels(pixels, PIXELS_PER_LATENT).ok_or_else(|| ModelError::Input {
        what: "side of a tile",
        wanted: "0 or a multiple of 32 pixels".to_owned(),
        found: pixels.to_string(),
    });
    tiles.map(Some)
}

/// Refuses numbers that are none where they first appear: after them nothing but NaN is computed,
/// and a picture of them is black.
pub(crate) fn finite(numbers: &Tensor, place: impl FnOnce() -> String) -> Result<(), RenderError> {
    let values: Vec<f32> = numbers.flatten_all()?.to_vec1()?;
    if values.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(not_finite(place())) }
}

fn not_finite(place: String) -> RenderError {
    RenderError::NotFinite { place }
}

pub(crate) fn fits(
    what: &str,
    wanted: usize,
    found: usize,
    holds: fn(&usize, &usize) -> bool,
) -> Result<(), RenderError> {
    if holds(&wanted, &found) {
        return Ok(());
    }
    Err(RenderError::Mismatch(format!("{what} are {found} in one part and {wanted} in another")))
}

pub(crate) fn latents_of(canvas: Canvas) -> TokenGrid {
    let side = |pixels: u32| usize::try_from(pixels.div_ceil(8)).unwrap_or(usize::MAX);
    TokenGrid { height: side(canvas.height()), width: side(canvas.width()) }
}

/// Shape `(1, height, width, channels)` → `(1, channels, height, width)`.
pub(crate) fn channels_first(latents: &Tensor) -> Result<Tensor4, RenderError> {
    let first = latents.permute((0, 3, 1, 2))?.contiguous()?;
    let (b, c, h, w) = first.dims4()?;
    Ok(Tensor4 { shape: [b, c, h, w], values: first.flatten_all()?.to_vec1()? })
}

/// From `[-1, 1]` to bytes, as diffusers rounds them.
///
/// Shape `(1, height, width, 3)` → `(height · width · 3,)`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
fn bytes(picture: &Tensor) -> Result<Vec<u8>, RenderError> {
    let values: Vec<f32> = picture.flatten_all()?.to_vec1()?;
    let byte = |value: f32| ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    Ok(values.into_iter().map(byte).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_at_home_on_the_sizes_of_its_family() {
        let sizes = |unet: &str| {
            let name = "vae/config.json";
            let vae = format!(
                r#"{{"block_out_channels": {:?}, "up_block_types": {:?}}}"#,
                [32; 4], ["UpDecoderBlock2D"; 4]
            );
            let canvases = canvases(unet, TextFile { name, bytes: vae.as_bytes() }).unwrap();
            canvases.iter().map(|it| (it.width(), it.height())).collect::<Vec<_>>()
        };
        let sd1 = [(512, 512), (640, 512), (768, 512), (512, 768)];
        assert_eq!(sizes("{}"), sd1);
        for size in ["64", "null", "0", "-1", "\"large\"", "[64, 96]"] {
            assert_eq!(sizes(&format!("{{\"sample_size\": {size}}}")), sd1, "{size}");
        }
        let sd2 = [(768, 768), (960, 768), (1152, 768), (768, 1152)];
        assert_eq!(sizes(r#"{"sample_size": 96}"#), sd2);
        assert_eq!(sizes(r#"{"sample_size": 1}"#)[0], (64, 64));
        assert_eq!(sizes(r#"{"sample_size": 65536}"#).len(), 4);
        let xl = r#"{"addition_embed_type": "text_time", "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816, "sample_size": "#;
        for size in ["128", "null"] {
            assert_eq!(sizes(&format!("{xl}{size}}}")), SDXL_CANVASES);
        }
        // One that was distilled on smaller pictures says so.
        assert_eq!(sizes(&format!("{xl}64}}")), sd1);
    }

    #[test]
    fn a_tile_is_as_large_as_it_is_asked_for() {
        let latents = |pixels| tiles(pixels).map(|tiles| tiles.map(Tiles::latents));
        assert_eq!([latents(0).unwrap(), latents(96).unwrap()], [None, Some(12)]);
        let error = latents(100).unwrap_err().to_string();
        assert_eq!(error, "the side of a tile is 100, and 0 or a multiple of 32 pixels was wanted");
    }
}
