//! The vocabulary: prompt, axis, share, brief, cast, plan, layout, box, region weights, seed.
//!
//! Everything here is a plain value. Nothing knows of files, clocks, devices, tensors or models;
//! what can be wrong with a value is checked where the value is made.

pub mod audit;
pub mod axis;
pub mod brief;
pub mod document;
pub mod layout;
pub mod plan;
pub mod region;
pub mod seed;
pub mod share;
