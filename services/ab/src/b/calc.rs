//! `heavy_calc`: honest work for a processor, and where it runs.

use std::{fmt, num::ParseIntError, str::FromStr, sync::Arc, thread};

use tokio::{sync::Semaphore, task};
use tracing::{Instrument, Span};

/// Rounds of `heavy_calc`, each of about a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rounds(u32);

/// Why a number or text is no [`Rounds`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRounds {
    /// No number.
    #[error("must be a number from 0 to {max}: {0}", max = Rounds::MOST.0)]
    Number(#[from] ParseIntError),
    /// More than a request may take.
    #[error("must be at most {max}, not {0}", max = Rounds::MOST.0)]
    TooMany(u32),
}

impl Rounds {
    /// Some 5 ms in a release build.
    pub const DEFAULT: Self = Self(5_000);
    /// Some 2 s: more would only hold a processor.
    pub const MOST: Self = Self(2_000_000);
    /// Up to here the work takes less time than handing it to another thread would.
    const INLINE: Self = Self(20);

    /// Checks the number.
    ///
    /// # Errors
    /// [`InvalidRounds::TooMany`] over [`Rounds::MOST`].
    pub fn new(rounds: u32) -> Result<Self, InvalidRounds> {
        if rounds <= Self::MOST.0 {
            Ok(Self(rounds))
        } else {
            Err(InvalidRounds::TooMany(rounds))
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Runs `heavy_calc` beside the threads that serve requests: at most one on each processor, so
/// that more requests wait their turn instead of slowing each other down.
#[derive(Clone, Debug)]
pub(super) struct Calculator {
    turns: Arc<Semaphore>,
}

/// The thread that computed is gone.
#[derive(Debug, thiserror::Error)]
#[error("heavy_calc did not come to an end")]
pub(super) struct CalcError(#[from] task::JoinError);

impl Calculator {
    pub(super) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(processors)),
        }
    }

    /// What the rounds come to, under a span of its own. No rounds leave no span.
    pub(super) async fn run(&self, rounds: Rounds) -> Result<u64, CalcError> {
        if rounds == Rounds(0) {
            return Ok(heavy_calc(rounds));
        }
        let span = tracing::info_span!("heavy_calc", spoor.calc.rounds = rounds.0);
        if rounds <= Rounds::INLINE {
            return Ok(span.in_scope(|| heavy_calc(rounds)));
        }
        self.elsewhere(rounds).instrument(span).await
    }

    async fn elsewhere(&self, rounds: Rounds) -> Result<u64, CalcError> {
        // Never closed; and without a turn the work would only be less orderly.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        let span = Span::current();
        let work = move || {
            let _turn = turn;
            span.in_scope(|| heavy_calc(rounds))
        };
        Ok(task::spawn_blocking(work).await?)
    }
}

/// SplitMix64 over and over: nothing to be had from memory, nothing to be skipped.
///
/// Source: Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014.
fn heavy_calc(rounds: Rounds) -> u64 {
    const STEPS: u64 = 250;
    (0..u64::from(rounds.0) * STEPS).fold(0, |state: u64, step| {
        let mut mixed = state.wrapping_add(step).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

impl FromStr for Rounds {
    type Err = InvalidRounds;

    fn from_str(text: &str) -> Result<Self, InvalidRounds> {
        Self::new(text.parse()?)
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn the_result_does_not_depend_on_the_thread() {
        let calculator = Calculator::new();
        for rounds in [0, 1, Rounds::INLINE.0, Rounds::INLINE.0 + 1] {
            let rounds = Rounds(rounds);
            assert_eq!(calculator.run(rounds).await.unwrap(), heavy_calc(rounds));
        }
    }

    #[test]
    fn each_round_counts() {
        assert_ne!(heavy_calc(Rounds(1)), heavy_calc(Rounds(2)));
    }

    #[rstest::rstest]
    #[case("0", true)]
    #[case("2000000", true)]
    #[case("2000001", false)]
    #[case("-1", false)]
    #[case("many", false)]
    fn rounds(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<Rounds>().is_ok(), valid);
    }
}
