//! What is told of a painting while it goes on.

use std::cell::RefCell;

use troupe_render::{RenderError, Tensor4, Watcher};

use super::{Exchange, Place};
use crate::{PipelineError, Progress, Talk, tensors};

/// Hands progress on, keeps latents, and stops.
pub(super) struct Watch<'a> {
    exchange: &'a Exchange,
    place: Place,
    talk: &'a mut dyn Talk,
    failure: RefCell<Option<PipelineError>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(exchange: &'a Exchange, place: Place, talk: &'a mut dyn Talk) -> Self {
        Self { exchange, place, talk, failure: RefCell::new(None) }
    }

    /// Stops when the user wants it.
    fn go_on(&mut self) -> Result<(), RenderError> {
        if self.talk.stopped() {
            self.failure.replace(Some(PipelineError::Stopped));
            return Err(RenderError::Stopped("by the user".to_owned()));
        }
        Ok(())
    }

    /// What was painted, or why it was stopped.
    pub(super) fn outcome<T>(self, painted: Result<T, RenderError>) -> Result<T, PipelineError> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(painted?),
        }
    }
}

impl Watcher for Watch<'_> {
    fn step(
        &mut self,
        step: usize,
        steps: usize,
        latents: &dyn Fn() -> Result<Tensor4, RenderError>,
    ) -> Result<(), RenderError> {
        let Place { picture, of } = self.place;
        self.talk.progress(Progress::Painting { picture, of, step, steps });
        if let Some(folder) = &self.exchange.save_latents {
            let name = if step == steps {
                "final.safetensors".to_owned()
            } else {
                format!("step_{step:03}.safetensors")
            };
            if let Err(error) = tensors::write_latents(&folder.join(name), &latents()?) {
                let text = error.to_string();
                self.failure.replace(Some(error));
                return Err(RenderError::Stopped(text));
            }
        }
        self.go_on()
    }

    fn trial(&mut self) -> Result<(), RenderError> {
        self.go_on()
    }
}
