//! Latencies in buckets that grow exponentially.

use std::{collections::BTreeMap, time::Duration};

/// The largest relative error of a percentile.
const MAX_ERROR: f64 = 0.01;
/// The ratio of a bucket's upper bound to that of the bucket before. The value between the bounds of a
/// bucket that has the same relative distance from both is at most [`MAX_ERROR`] from each.
///
/// Source: C. Masson, J. Rim, H. Lee, "DDSketch" (2019).
const GROWTH: f64 = (1.0 + MAX_ERROR) / (1.0 - MAX_ERROR);

/// A weighted histogram of latencies, with percentiles that deviate by 1 % at most.
///
/// It has at most 2,220 buckets, since there are no more between a nanosecond and the longest
/// duration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// The weights by bucket.
    buckets: BTreeMap<u16, f64>,
    total: f64,
}

impl Latencies {
    pub(super) fn add(&mut self, latency: Duration, weight: f64) {
        let nanos = latency.as_nanos().max(1) as f64;
        let bucket = (nanos.ln() / GROWTH.ln()).ceil() as u16;
        *self.buckets.entry(bucket).or_default() += weight;
        self.total += weight;
    }

    /// The latency that this share of the requests, from 0 to 1, does not exceed; none without
    /// requests.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let rank = share * self.total;
        let mut cumulative = 0.0;
        let mut buckets = self.buckets.iter();
        let reached = buckets.find(|(_, weight)| {
            cumulative += **weight;
            cumulative >= rank
        });
        // Sums of fractions may end slightly below the total.
        let (bucket, _) = reached.or_else(|| self.buckets.last_key_value())?;
        let nanos = 2.0 * GROWTH.powi(i32::from(*bucket)) / (GROWTH + 1.0);
        Some(Duration::from_nanos(nanos.round() as u64))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_latencies_have_no_percentile() {
        assert_eq!(Latencies::default().percentile(0.5), None);
    }

    #[test]
    fn weights_count_as_repetitions() {
        let mut latencies = Latencies::default();
        latencies.add(Duration::from_millis(1), 10.0);
        latencies.add(Duration::from_secs(1), 1.0);
        let median = latencies.percentile(0.5).unwrap();
        assert!(median < Duration::from_millis(2), "{median:?}");
        let last = latencies.percentile(0.99).unwrap();
        assert!(last > Duration::from_millis(900), "{last:?}");
    }

    proptest! {
        #[test]
        fn percentiles_deviate_by_one_percent(
            mut nanos in prop::collection::vec(1_000_u64..10_000_000_000_000, 1..200),
            share in 0.0..=1.0_f64,
        ) {
            let mut latencies = Latencies::default();
            for one in &nanos {
                latencies.add(Duration::from_nanos(*one), 1.0);
            }
            nanos.sort_unstable();
            let rank = (share * nanos.len() as f64).ceil() as usize;
            let exact = nanos[rank.max(1) - 1] as f64;
            let found = latencies.percentile(share).unwrap().as_nanos() as f64;
            // Plus the rounding to a nanosecond.
            prop_assert!((found - exact).abs() <= 0.010_001 * exact + 0.5, "{found} {exact}");
        }
    }
}
