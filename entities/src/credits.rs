//! Credits: the unit that customers prepay and jobs cost. 1,000 credits are 1 USD.
//!
//! Arithmetic is checked: a sum that does not fit is an error, never a wrong number.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A whole number of credits. May be negative only as a difference; balances never are.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    sea_orm::DeriveValueType,
)]
#[serde(transparent)]
pub struct Credits(pub i64);

/// A sum or product of credits that does not fit 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the amount of credits is out of range")]
pub struct OutOfRange;

impl Credits {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// # Errors
    /// When the sum does not fit.
    pub fn plus(self, other: Self) -> Result<Self, OutOfRange> {
        self.0.checked_add(other.0).map(Self).ok_or(OutOfRange)
    }

    /// # Errors
    /// When the difference does not fit.
    pub fn minus(self, other: Self) -> Result<Self, OutOfRange> {
        self.0.checked_sub(other.0).map(Self).ok_or(OutOfRange)
    }

    /// # Errors
    /// When the product does not fit.
    pub fn times(self, factor: i64) -> Result<Self, OutOfRange> {
        self.0.checked_mul(factor).map(Self).ok_or(OutOfRange)
    }

    /// `self × part / whole`, rounded down: a partial result is never charged more than its share.
    ///
    /// # Errors
    /// When `whole` is not positive or the result does not fit.
    pub fn share(self, part: u32, whole: u32) -> Result<Self, OutOfRange> {
        if whole == 0 {
            return Err(OutOfRange);
        }
        let exact = i128::from(self.0) * i128::from(part) / i128::from(whole);
        i64::try_from(exact).map(Self).map_err(|_| OutOfRange)
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_an_error() {
        assert_eq!(Credits(i64::MAX).plus(Credits(1)), Err(OutOfRange));
        assert_eq!(Credits(i64::MIN).minus(Credits(1)), Err(OutOfRange));
        assert_eq!(Credits(i64::MAX).times(2), Err(OutOfRange));
        assert_eq!(Credits(1).share(1, 0), Err(OutOfRange));
    }

    #[test]
    fn a_share_rounds_down() {
        assert_eq!(Credits(10).share(1, 3), Ok(Credits(3)));
        assert_eq!(Credits(10).share(3, 3), Ok(Credits(10)));
        assert_eq!(Credits(i64::MAX).share(3, 4), Ok(Credits(6_917_529_027_641_081_855)));
    }
}
