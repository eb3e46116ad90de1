//! Casts: bounds and proofs, and groups of several kinds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "numbers of people, small and exact"
)]
#![expect(
    clippy::unnecessary_wraps,
    reason = "a picture without a brief is `None` in the same list"
)]

mod bounds;
mod kinds;
mod support;
