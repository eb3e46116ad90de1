//! Shares as people write them, "25" or "12.5", and exact whole numbers behind them.

use serde::{Deserialize, Serialize};

/// Digits after the decimal point that a share may have.
const DECIMALS: i32 = 6;
/// What a share is counted in.
const UNIT: f64 = 1e6;
/// The largest share.
const MAXIMUM: f64 = 1e6;

/// The share of one value, relative to the other values of its axis.
///
/// Kept as a whole number of millionths, so that 0.1 + 0.2 is 0.3 and a tie is a tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(
    /// Invariant: at most a million million.
    u64,
);

/// Why a number is no share.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NotAShare {
    /// Negative, not a number, or too large.
    #[error("a share is a number from 0 to {MAXIMUM}, and this is {0}")]
    Range(f64),
    /// More decimals than are kept exactly.
    #[error("a share has at most {DECIMALS} decimals, and {0} has more")]
    Decimals(f64),
}

impl TryFrom<f64> for Share {
    type Error = NotAShare;

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0..=1e12")]
    fn try_from(share: f64) -> Result<Self, NotAShare> {
        if !(0.0..=MAXIMUM).contains(&share) {
            return Err(NotAShare::Range(share));
        }
        let millionths = (share * UNIT).round();
        // What `share` would be if it had been written with six decimals.
        if (millionths / UNIT - share).abs() > share * f64::EPSILON {
            return Err(NotAShare::Decimals(share));
        }
        Ok(Self(millionths as u64))
    }
}

impl From<Share> for f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 1e12")]
    fn from(share: Share) -> Self {
        share.0 as Self / UNIT
    }
}

impl Share {
    /// The share in millionths.
    pub fn millionths(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(share: f64, expected: Result<u64, NotAShare>) {
        assert_eq!(Share::try_from(share).map(Share::millionths), expected);
    }

    #[test]
    fn decimals_are_exact() {
        check(25.0, Ok(25_000_000));
        check(0.1, Ok(100_000));
        check(33.333_333, Ok(33_333_333));
        check(0.0, Ok(0));
        check(1e6, Ok(1_000_000_000_000));
    }

    #[test]
    fn nonsense_is_refused() {
        check(-1.0, Err(NotAShare::Range(-1.0)));
        check(2e6, Err(NotAShare::Range(2e6)));
        check(f64::INFINITY, Err(NotAShare::Range(f64::INFINITY)));
        check(1e-9, Err(NotAShare::Decimals(1e-9)));
        check(1.234_567_8, Err(NotAShare::Decimals(1.234_567_8)));
        assert!(Share::try_from(f64::NAN).is_err());
    }
}
