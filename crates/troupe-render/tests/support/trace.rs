//! A watcher that keeps latents.

use troupe_render::{RenderError, Tensor4, Watcher};

/// Keeps the latents that enter each step, and the final ones.
#[derive(Default)]
pub(crate) struct Trace(pub(crate) Vec<Vec<f32>>);

impl Watcher for Trace {
    fn step(
        &mut self,
        _step: usize,
        _steps: usize,
        latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError> {
        self.0.push(latents()?.values);
        Ok(())
    }
}
