//! Plans to layouts, for the model that will paint them.

use troupe_core::layout::{Canvas, Layout};
use troupe_core::plan::ScenePlan;
use troupe_layout::{MinimumBox, Options, arrange};
use troupe_plan::refresh::refresh;

use crate::config::CanvasChoice;
use crate::paint::ModelFolder;
use crate::{PipelineError, Studio};

/// How a model wants its pictures laid out.
#[derive(Clone, Debug)]
pub struct Room(Options);

impl Room {
    /// Reads what the configuration and the painter's configuration say; no weights are loaded.
    ///
    /// # Errors
    ///
    /// If the painter is missing or not one that we know.
    pub fn new(studio: &Studio, model: &ModelFolder) -> Result<Self, PipelineError> {
        let cell = model.cell()?;
        let canvases = match &studio.config.layout.canvas {
            CanvasChoice::Fixed(canvas) => vec![*canvas],
            CanvasChoice::Auto => model.canvases()?,
        };
        Ok(Self(Options {
            formation: studio.config.layout.formation,
            canvases,
            minimum: MinimumBox { width: cell.width, height: cell.height },
        }))
    }

    /// The first canvas: what a picture without a layout is painted on.
    pub fn canvas(&self) -> Option<Canvas> {
        self.0.canvases.first().copied()
    }

    /// Takes up what a person changed in a plan, and gives everybody a box.
    ///
    /// # Errors
    ///
    /// If there is no room.
    pub fn lay_out(&self, plan: &ScenePlan) -> Result<Layout, PipelineError> {
        let mut plan = plan.clone();
        refresh(&mut plan);
        Ok(arrange(&plan, &self.0)?)
    }
}
