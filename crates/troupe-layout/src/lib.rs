//! Scene plan to boxes.
