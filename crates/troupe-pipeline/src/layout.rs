//! Plans to layouts, for the model that will paint them.

use std::str::FromStr;

use troupe_core::layout::{Canvas, Layout};
use troupe_core::plan::ScenePlan;
use troupe_layout::{MinimumBox, Options, arrange};
use troupe_plan::refresh::refresh;

use crate::config::CanvasChoice;
use crate::paint::ModelFolder;
use crate::{PipelineError, Studio};

/// One value that a person is to have instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The subject's id.
    pub subject: String,
    /// The axis.
    pub axis: String,
    /// The value.
    pub value: String,
}

impl FromStr for Change {
    type Err = PipelineError;

    /// Reads `SUBJECT.AXIS=VALUE`.
    fn from_str(text: &str) -> Result<Self, PipelineError> {
        let parts = text.split_once('=').and_then(|(whose, value)| {
            let (subject, axis) = whose.split_once('.')?;
            Some([subject.trim(), axis.trim(), value.trim()])
        });
        match parts.filter(|parts| parts.iter().all(|part| !part.is_empty())) {
            Some([subject, axis, value]) => Ok(Self {
                subject: subject.to_owned(),
                axis: axis.to_owned(),
                value: value.to_owned(),
            }),
            None => Err(PipelineError::Usage(format!(
                "wanted SUBJECT.AXIS=VALUE, such as `s2.age=older`, and it is `{text}`"
            ))),
        }
    }
}

/// The same boxes with people who have other values, and the prompts that say so.
///
/// # Errors
///
/// If a subject, axis or value isn't there, or a person's prompt was written by hand and says what it says.
pub fn changed(layout: &Layout, changes: &[Change]) -> Result<Layout, PipelineError> {
    let mut changed = layout.clone();
    for Change { subject, axis, value } in changes {
        changed.plan.assign(subject, axis, value)?;
    }
    refresh(&mut changed.plan);
    let people = layout.plan.subjects.iter().zip(&changed.plan.subjects);
    for (placement, (before, after)) in changed.subjects.iter_mut().zip(people) {
        if !changes.iter().any(|change| change.subject == placement.id) {
            continue;
        }
        if before.edited || placement.sub_prompt != before.sub_prompt {
            return Err(PipelineError::Usage(format!(
                "the prompt of `{}` was written by hand and stays as it is: `{}`",
                placement.id, placement.sub_prompt
            )));
        }
        placement.sub_prompt.clone_from(&after.sub_prompt);
    }
    Ok(changed)
}

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
            narrow: model.narrow(),
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
