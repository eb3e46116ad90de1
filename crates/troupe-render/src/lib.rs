//! Layout to picture: conditioning, guidance, denoising, decoding.
//!
//! A [`Painter`] is a loaded model. [`Painter::paint`] takes a [`Job`], which says everything that the picture is a
//! function of, its noise included; how the job came about is not known here.

mod error;
mod job;
mod noise;
mod painter;

pub use error::RenderError;
pub use job::{Cell, Job, Noise, Person, Picture, Scene, Settings, Tensor4, Watcher};
pub use painter::{Painter, PainterFiles, cell};
pub use troupe_models::lora::{Adapter, Applied, Inspection, Scaled};
