//! Image and layout to measured attributes: who stands in each box, judged by a small classifier.
//!
//! A [`Judge`] is a network that was trained on the drawings of the starter style
//! (`models/starter/train/judge`). For the window of a box it says whether nobody, one person or
//! more are there, and for each attribute a value, that the drawing hides it, or that it isn't
//! sure. It knows neither what was planned nor how the picture was painted. [`audit`] holds what it says against
//! the plan, and [`Tallies`] sum audits up.

mod audit;
mod config;
mod crop;
mod error;
mod judge;
mod measured;
mod network;
mod reading;
mod statistics;
mod tallies;

pub use audit::audit;
pub use config::{Architecture, Head, JudgeConfig};
pub use crop::{CHANNELS, HEIGHT, WIDTH, crop};
pub use error::AuditError;
pub use judge::{Answer, Finding, Judge, Judgement, Picture};
pub use measured::{
    AxisMeasured, Boxes, Confusion, Measured, PairCell, PairMeasured, ValueMeasured, Verdicts,
};
pub use tallies::Tallies;
