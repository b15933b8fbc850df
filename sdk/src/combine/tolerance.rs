//! How many items of a batch may fail.

use crate::error::WorkflowError;

/// How many items of a batch may fail before the rest is cancelled.
///
/// ```
/// use everstep::{IntoTolerance, Tolerance};
///
/// assert_eq!(3.into_tolerance(), Tolerance::Items(3));
/// assert_eq!(0.1.into_tolerance(), Tolerance::Ratio(0.1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// All of them.
    All,
    /// So many.
    Items(usize),
    /// So many of all, from 0.0 to 1.0, rounded down.
    Ratio(f64),
}

/// So that 0.29 of 100 items is 29 of them, though their product in binary is a little less.
const ROUNDING: f64 = 1e-6;

impl Tolerance {
    pub(super) fn of(self, items: usize) -> Result<usize, WorkflowError> {
        match self {
            Self::All => Ok(usize::MAX),
            Self::Items(failures) => Ok(failures),
            Self::Ratio(ratio) if (0.0..=1.0).contains(&ratio) => Ok((ratio * items as f64 + ROUNDING) as usize),
            Self::Ratio(ratio) => Err(WorkflowError::invalid(format!(
                "a batch tolerates a ratio of failures from 0.0 to 1.0, and this one is {ratio}"
            ))),
        }
    }
}

/// What [`BatchFuture::tolerate`](crate::BatchFuture::tolerate) takes: a number of items, a ratio of all, or a [`Tolerance`].
///
/// ```
/// use everstep::{IntoTolerance, Tolerance};
///
/// assert_eq!(Tolerance::All.into_tolerance(), Tolerance::All);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how many items may fail",
    label = "write a number of items, or a ratio such as `0.1`"
)]
pub trait IntoTolerance {
    /// The tolerance.
    fn into_tolerance(self) -> Tolerance;
}

impl IntoTolerance for usize {
    fn into_tolerance(self) -> Tolerance {
        Tolerance::Items(self)
    }
}

impl IntoTolerance for f64 {
    fn into_tolerance(self) -> Tolerance {
        Tolerance::Ratio(self)
    }
}

impl IntoTolerance for Tolerance {
    fn into_tolerance(self) -> Tolerance {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_rounded_down_to_whole_items() {
        let check = |tolerance: Tolerance, items: usize, failures: usize| assert_eq!(tolerance.of(items).unwrap(), failures);
        check(Tolerance::Ratio(0.29), 100, 29);
        check(Tolerance::Ratio(0.1), 19, 1);
        check(Tolerance::Ratio(0.0), 100, 0);
        check(Tolerance::Ratio(1.0), 10_000, 10_000);
        check(Tolerance::Items(3), 1, 3);
        check(Tolerance::All, 7, usize::MAX);
        assert!(Tolerance::Ratio(f64::NAN).of(1).is_err());
    }
}
