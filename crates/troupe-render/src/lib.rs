//! Layout to picture: conditioning, guidance, denoising, decoding.
//!
//! A [`Painter`] is a loaded model. [`Painter::paint`] takes a [`Job`], which says everything that the picture is a
//! function of, its noise included; how the job came about is not known here.

mod alone;
mod blend;
mod blobs;
mod choice;
mod composition;
mod conditioning;
mod denoiser;
mod error;
mod files;
mod job;
mod loras;
mod noise;
mod outline;
mod painter;
mod repaint;
mod text;

pub use error::RenderError;
pub use files::{Loras, Options, PainterFiles, TextFiles, TokenizerFiles};
pub use job::{
    Cell, Job, Noise, Person, Picture, Ramp, RegionSettings, Scene, Settings, Tensor4, Watcher,
};
pub use painter::{Painter, canvases, cell};
pub use repaint::Repaint;
pub use troupe_models::lora::{Adapter, Applied, Inspection, Scaled, Scales, Tolerance};
pub use troupe_models::unet::Mixing;
pub use troupe_models::weights::Precision;
