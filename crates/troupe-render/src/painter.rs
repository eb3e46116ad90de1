//! A loaded model, and the way from a job to a picture.

use candle_core::Tensor;
use troupe_core::layout::Canvas;
use troupe_core::region::{Placed, Regions, TokenGrid};
use troupe_models::checkpoint::ModelIndex;
use troupe_models::clip::{ClipConfig, ClipLayer, ClipTextEncoder};
use troupe_models::config::TextFile;
use troupe_models::lora::{Applied, Scaled, attach};
use troupe_models::tokenizer::{Tokenizer, TokenizerConfig};
use troupe_models::unet::{Conditioning, Isolation, PreparedContext, UNet, UNetConfig};
use troupe_models::vae::{Blemish, VaeConfig, VaeDecoder, blemish};
use troupe_models::weights::Weights;
use troupe_sampler::{Callbacks, NoiseSchedule, SchedulerConfig, rescale_guidance};

use crate::noise::NoiseSource;
use crate::{Cell, Job, Picture, RenderError, Scene, Settings, Tensor4, Watcher};

/// The parts of a diffusers folder. Texts are whole files; names are for messages.
#[derive(Debug)]
pub struct PainterFiles<'a> {
    /// What the model is called.
    pub name: &'a str,
    /// `model_index.json`.
    pub index: &'a str,
    /// `scheduler/scheduler_config.json`.
    pub scheduler: &'a str,
    /// `tokenizer/tokenizer_config.json`, if there is one.
    pub tokenizer_config: Option<TextFile<'a>>,
    /// `tokenizer/tokenizer.json`, or `vocab.json` and `merges.txt`.
    pub tokenizer: (TextFile<'a>, Option<TextFile<'a>>),
    /// `text_encoder/config.json`.
    pub text_encoder_config: TextFile<'a>,
    /// The weights of the text encoder.
    pub text_encoder: Weights,
    /// `unet/config.json`.
    pub unet_config: &'a str,
    /// The weights of the UNet.
    pub unet: Weights,
    /// `vae/config.json`.
    pub vae_config: TextFile<'a>,
    /// The weights of the autoencoder.
    pub vae: Weights,
}

/// A loaded model with its LoRAs merged in.
#[derive(Debug)]
pub struct Painter {
    scheduler: SchedulerConfig,
    tokenizer: Tokenizer,
    text_encoder: ClipTextEncoder,
    unet: UNet,
    vae: VaeDecoder,
}

/// An encoded prompt, and what a person should know of it.
struct Encoded<'a> {
    painter: &'a Painter,
    notes: Vec<String>,
}

impl Painter {
    /// Loads a model, and merges LoRAs into it, in their order. Of each it says where every tensor went.
    ///
    /// # Errors
    ///
    /// If a part is broken or of an architecture that we don't know, or a LoRA doesn't fit.
    pub fn load(
        files: PainterFiles<'_>,
        loras: &[Scaled],
    ) -> Result<(Self, Vec<Applied>), RenderError> {
        ModelIndex::parse(files.name, files.index)?;
        let scheduler = SchedulerConfig::parse(files.scheduler)?;
        let unet_config = UNetConfig::from_json(files.unet_config)?;
        if unet_config.addition.is_some() {
            return Err(RenderError::Mismatch(
                "the UNet wants a pooled text, which a pipeline with one text encoder hasn't"
                    .to_owned(),
            ));
        }
        let clip_config = ClipConfig::from_json(files.text_encoder_config)?;
        let vae_config = VaeConfig::from_json(files.vae_config)?;
        let tokenizer_config = match files.tokenizer_config {
            Some(file) => TokenizerConfig::from_json(file)?,
            None => TokenizerConfig::default(),
        };
        let tokenizer = match files.tokenizer {
            (whole, None) => Tokenizer::from_json(whole, &tokenizer_config)?,
            (vocabulary, Some(merges)) => {
                Tokenizer::from_vocab_and_merges(vocabulary, merges, &tokenizer_config)?
            }
        };
        fits("text tokens", clip_config.vocabulary(), tokenizer.vocabulary_size(), usize::ge)?;
        fits("text positions", clip_config.positions(), tokenizer.length(), usize::ge)?;
        fits("text width", unet_config.cross_attention_dim, clip_config.width(), usize::eq)?;
        fits("latent channels", unet_config.in_channels, vae_config.latent_channels(), usize::eq)?;
        fits("latent channels", unet_config.out_channels, vae_config.latent_channels(), usize::eq)?;
        fits("pixels a latent", 8, vae_config.pixels_per_latent(), usize::eq)?;

        let attached = attach(loras, &files.unet, &files.text_encoder)?;
        let painter = Self {
            scheduler,
            tokenizer,
            text_encoder: ClipTextEncoder::new(
                clip_config,
                &files.text_encoder.with_adapters(attached.text_encoder),
            )?,
            unet: UNet::new(unet_config, &files.unet.with_adapters(attached.unet))?,
            vae: VaeDecoder::new(vae_config, &files.vae)?,
        };
        Ok((painter, attached.applied))
    }

    /// Paints a picture.
    ///
    /// # Errors
    ///
    /// If the job can't be done by this model, the numbers come to nothing, or the watcher stops it.
    pub fn paint(&self, job: &Job, watcher: &mut dyn Watcher) -> Result<Picture, RenderError> {
        let Settings { sampling, guidance, guidance_rescale, .. } = job.settings;
        let steps = sampling.steps;
        let schedule = NoiseSchedule::new(&self.scheduler, sampling)?;
        let grid = latents_of(job.canvas);
        let channels = self.unet.config().in_channels;
        let (context, notes) = self.context(job, grid)?;
        let isolated = isolated_steps(job.settings);
        let mut source = NoiseSource::new(&job.noise, channels, grid, steps);
        let noise = source.initial()?;

        let guided = 1.0 < guidance;
        // The network is asked once a step, or twice, after the step is announced.
        let step_now = std::cell::Cell::new(0_usize);
        let latents = schedule.sample::<RenderError>(
            &noise,
            Callbacks {
                denoise: &mut |latents, timestep| {
                    let isolation = if step_now.get() < isolated {
                        Isolation::Isolated
                    } else {
                        Isolation::Free
                    };
                    if !guided {
                        return Ok(self.unet.forward(latents, timestep, &context, isolation)?);
                    }
                    let both = Tensor::cat(&[latents, latents], 0)?;
                    let both = self.unet.forward(&both, timestep, &context, isolation)?;
                    let (without, with) = (both.narrow(0, 0, 1)?, both.narrow(0, 1, 1)?);
                    let guided = (&without + ((&with - &without)? * guidance)?)?;
                    Ok(rescale_guidance(&guided, &with, guidance_rescale)?)
                },
                step_noise: &mut |step| source.step(step),
                before_step: &mut |step, latents| {
                    step_now.set(step);
                    watcher.step(step, steps, &|| channels_first(latents))
                },
            },
        )?;
        watcher.step(steps, steps, &|| channels_first(&latents))?;
        let picture = self.vae.decode(&latents)?;
        match blemish(&picture)? {
            Some(Blemish::NotFinite) => return Err(RenderError::Blemish("not made of numbers")),
            Some(Blemish::Flat) => return Err(RenderError::Blemish("of one colour all over")),
            None => {}
        }
        Ok(Picture { rgb: bytes(&picture)?, canvas: job.canvas, notes })
    }

    /// Encodes all prompts of a job: the negative one first, if there is guidance.
    fn context(
        &self,
        job: &Job,
        grid: TokenGrid,
    ) -> Result<(PreparedContext, Vec<String>), RenderError> {
        let mut encoder = Encoded { painter: self, notes: Vec::new() };
        let mut rows = Vec::new();
        if 1.0 < job.settings.guidance {
            rows.push(Conditioning::Plain(encoder.encode(&job.negative)?));
        }
        let regions = match &job.scene {
            Scene::Plain(prompt) => {
                rows.push(Conditioning::Plain(encoder.encode(prompt)?));
                None
            }
            Scene::Group { base, people } => {
                let base = encoder.encode(base)?;
                let regions = people
                    .iter()
                    .map(|person| encoder.encode(&person.prompt))
                    .collect::<Result<_, _>>()?;
                rows.push(Conditioning::Regional { base, regions });
                let placed = people
                    .iter()
                    .map(|person| Placed { bounds: person.bounds, depth: person.depth })
                    .collect();
                Some(Regions::new(placed, job.settings.base_ratio))
            }
        };
        let context = self.unet.prepare(&rows, &[], regions.as_ref(), grid)?;
        Ok((context, encoder.notes))
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

impl Encoded<'_> {
    /// Shape `(tokens, width)`.
    fn encode(&mut self, prompt: &str) -> Result<Tensor, RenderError> {
        let tokens = self.painter.tokenizer.encode(prompt)?;
        if 0 < tokens.dropped {
            self.notes.push(format!(
                "a prompt has {} tokens too many for the text encoder, which doesn't read `{}`",
                tokens.dropped, tokens.dropped_text
            ));
        }
        let layer = ClipLayer { skipped: 0, normed: true };
        Ok(self.painter.text_encoder.encode(&tokens.ids, &[], layer)?.hidden)
    }
}

/// In how many steps people don't see one another: `ceil(isolate · steps)`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "from 0 to the number of steps"
)]
fn isolated_steps(settings: Settings) -> usize {
    // A share such as 0.3 is a little more than three tenths; of ten steps it still means three.
    ((settings.isolate * settings.sampling.steps as f64) - 1e-9).ceil().max(0.0) as usize
}

fn fits(
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

fn latents_of(canvas: Canvas) -> TokenGrid {
    let side = |pixels: u32| usize::try_from(pixels.div_ceil(8)).unwrap_or(usize::MAX);
    TokenGrid { height: side(canvas.height()), width: side(canvas.width()) }
}

/// Shape `(1, height, width, channels)` → `(1, channels, height, width)`.
fn channels_first(latents: &Tensor) -> Result<Tensor4, RenderError> {
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
    use troupe_sampler::{Sampler, SamplingOptions, Schedule};

    use super::*;

    #[test]
    fn isolation_holds_in_the_first_share_of_the_steps_rounded_up() {
        let of = |isolate: f64, steps: usize| {
            isolated_steps(Settings {
                sampling: SamplingOptions::new(Sampler::Ddim, Schedule::Uniform, steps),
                guidance: 1.0,
                guidance_rescale: 0.0,
                base_ratio: 0.0,
                isolate,
            })
        };
        assert_eq!([of(0.0, 20), of(0.5, 20), of(0.5, 5), of(1.0, 20)], [0, 10, 3, 20]);
        assert_eq!(of(0.3, 10), 3);
    }
}
