//! `heavy_calc`: CPU-bound work, and the threads on which it runs.

use std::{str::FromStr, sync::Arc, thread};

use tokio::{sync::Semaphore, task};
use tracing::Instrument;

/// Rounds of `heavy_calc`, each of about a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, derive_more::Display)]
pub struct Rounds(u32);

/// The error for an invalid number of rounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRounds {
    /// The text is not a number.
    #[error("must be a number from 0 to {max}, not {0:?}", max = Rounds::MAX.0)]
    Number(String),
    /// The number is above [`Rounds::MAX`].
    #[error("must be at most {max}, not {0}", max = Rounds::MAX.0)]
    TooMany(u32),
}

impl Rounds {
    /// About 5 ms in a release build.
    pub const DEFAULT: Self = Self(5_000);
    /// About 2 s in a release build. More would only occupy a CPU.
    pub const MAX: Self = Self(2_000_000);
    /// The most rounds that run on the current thread: they take less time than handing the work to
    /// another thread.
    const MAX_INLINE: Self = Self(20);

    /// Validates a number of rounds.
    ///
    /// # Errors
    /// [`InvalidRounds::TooMany`] above [`Rounds::MAX`].
    pub fn new(rounds: u32) -> Result<Self, InvalidRounds> {
        if rounds <= Self::MAX.0 {
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

/// Runs `heavy_calc`, unless it is short, on threads other than those that serve requests, at most
/// one per CPU: further requests wait instead of slowing each other down.
#[derive(Clone, Debug)]
pub(super) struct Calculator(Arc<Semaphore>);

impl Calculator {
    pub(super) fn new() -> Self {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(cpus)))
    }

    /// Computes the rounds in a span of their own. Zero rounds make no span. Fails if the computation
    /// panics, or if the runtime shuts down before it starts.
    pub(super) async fn run(&self, rounds: Rounds) -> Result<u64, task::JoinError> {
        if rounds == Rounds(0) {
            return Ok(heavy_calc(rounds));
        }
        let span = tracing::info_span!("heavy_calc", spoor.calc.rounds = rounds.0);
        if rounds <= Rounds::MAX_INLINE {
            return Ok(span.in_scope(|| heavy_calc(rounds)));
        }
        // The semaphore is never closed, so acquiring does not fail.
        let waiting = Arc::clone(&self.0).acquire_owned().instrument(span.clone());
        let slot = waiting.await.ok();
        let work = move || {
            // Occupied until the computation ends, even if the request is cancelled earlier.
            let _slot = slot;
            // `spawn_blocking` does not carry the current span to its thread.
            span.in_scope(|| heavy_calc(rounds))
        };
        task::spawn_blocking(work).await
    }
}

/// Iterates SplitMix64, which uses no memory and cannot be shortened by the compiler.
///
/// Source: Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014.
fn heavy_calc(rounds: Rounds) -> u64 {
    const STEPS_PER_ROUND: u64 = 250;
    (0..u64::from(rounds.0) * STEPS_PER_ROUND).fold(0, |state: u64, step| {
        let mut mixed = state.wrapping_add(step).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

impl FromStr for Rounds {
    type Err = InvalidRounds;

    fn from_str(text: &str) -> Result<Self, InvalidRounds> {
        let rounds = text.parse();
        Self::new(rounds.map_err(|_| InvalidRounds::Number(text.to_owned()))?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn the_result_does_not_depend_on_the_thread() {
        let calculator = Calculator::new();
        for rounds in [0, 1, Rounds::MAX_INLINE.0, Rounds::MAX_INLINE.0 + 1] {
            let rounds = Rounds(rounds);
            assert_eq!(calculator.run(rounds).await.unwrap(), heavy_calc(rounds));
        }
    }

    #[test]
    fn each_round_changes_the_result() {
        assert_ne!(heavy_calc(Rounds(1)), heavy_calc(Rounds(2)));
    }

    #[rstest::rstest]
    #[case("0", true)]
    #[case("2000000", true)]
    #[case("2000001", false)]
    #[case("-1", false)]
    #[case("many", false)]
    fn rounds_are_bounded(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<Rounds>().is_ok(), valid);
    }
}
