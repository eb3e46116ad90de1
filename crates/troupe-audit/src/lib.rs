//! Image and layout to measured attributes: who stands in each box.
//!
//! A [`TrainedJudge`] is a network that was trained on the drawings of the starter style
//! (`models/starter/train/judge`). For the window of a box it says whether nobody, one person or
//! more are there, and for each attribute a value, that the drawing hides it, or that it isn't
//! sure. It knows neither what was planned nor how the picture was painted. A [`ZeroShotJudge`] is for all other
//! pictures: CLIP or SigLIP, asked which of the plan's own phrases a box shows, without hearing which of them was planned of whom.
//! [`audit`] holds what a judge says against the plan, and [`Tallies`] sum audits up.

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
mod trained;
mod zero_shot;

pub use audit::audit;
pub use config::{Architecture, Head, JudgeConfig};
pub use crop::{CHANNELS, HEIGHT, WIDTH, crop};
pub use error::AuditError;
pub use judge::{Answer, Finding, Judge, Judgement, Picture};
pub use measured::{
    AxisMeasured, Boxes, Confusion, Measured, PairCell, PairMeasured, ValueMeasured, Verdicts,
};
pub use tallies::Tallies;
pub use trained::TrainedJudge;
pub use zero_shot::{TextTokenizer, ZeroShotFiles, ZeroShotJudge};
