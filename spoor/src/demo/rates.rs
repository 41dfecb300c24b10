//! The measurement of one sampling rate: load, counts and verdict.

use std::{fmt, time::Duration};

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use spoor_lab::Lab;
use spoor_load::{BaseUrl, Load, drive};
use spoor_policy::{
    Namespace, Probability, ServiceName, Version,
    statistics::{Interval, Verdict, interval, judge},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::within;

/// The requests sent for each rate. Each causes one root decision.
pub(super) const DECISIONS: u64 = 50_000;
/// The confidence of the verdict: by chance, at most one tour in ten thousand fails at each rate.
const CONFIDENCE: f64 = 0.9999;
/// The service at which the tour's traces start.
const EDGE: &str = "service-a";
const CONNECTIONS: usize = 32;
/// The timeout of a request, and of each wait for what it causes.
const TIMEOUT: Duration = Duration::from_secs(10);
/// service-b neither waits nor computes, so that many requests can be sent in a short time.
const FAST_PATH: &str = "/?wait=0ms&calc=0";

/// The result for one rate.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateResult {
    /// The rate in the policy.
    pub policy_rate: String,
    /// The time from the publication to the last instance's acknowledgement.
    pub convergence_milliseconds: f64,
    /// The requests sent.
    pub requests: u64,
    /// The root decisions counted.
    pub started: u64,
    /// The root decisions that sampled the trace.
    pub sampled: u64,
    /// The traces that arrived and were kept.
    pub kept: u64,
    /// The observed share, from 0 to 1.
    pub rate: f64,
    /// The lower end of the exact confidence interval at 99.99 %.
    pub lower: f64,
    /// The upper end of the interval.
    pub upper: f64,
    /// The verdict on whether the observed rate matches the policy.
    pub verdict: String,
    /// Requests per second.
    pub requests_per_second: f64,
}

impl RateResult {
    /// True if the observed rate matches the policy and every sampled trace arrived.
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Consistent.to_string()
            && self.kept == self.sampled
            && self.started >= DECISIONS
    }
}

impl fmt::Display for RateResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |share: f64| format!("{:.3} %", share * 100.0);
        write!(
            f,
            "  {:>6}  {:>9.1} ms  {:>9}  {:>8}  {:>9}  {:>9} – {:<9}  {}",
            self.policy_rate,
            self.convergence_milliseconds,
            self.requests,
            self.kept,
            share(self.rate),
            share(self.lower),
            share(self.upper),
            self.verdict,
        )
    }
}

/// The headings for the lines that `RateResult` displays.
pub(super) const HEADINGS: &str =
    "    rate      in force   requests      kept   observed  99.99 % interval       verdict";

/// Sends requests, waits until their root decisions are counted under a version, and computes the
/// verdict.
pub(super) async fn observe(
    lab: &Lab,
    url: &BaseUrl,
    policy_rate: Probability,
    version: Version,
    convergence: Duration,
    show_bar: bool,
) -> anyhow::Result<RateResult> {
    // The store counts from its start, so the difference belongs to this rate.
    let kept_before = kept_traces(lab);
    let load = Load::closed_loop(url.clone(), FAST_PATH, DECISIONS, CONNECTIONS, TIMEOUT);
    let bar = bar(show_bar, policy_rate);
    let never = CancellationToken::new();
    let summary = drive(&load, |done| bar.set_position(done), never).await;
    let summary = summary.context("cannot send load")?;
    bar.finish_and_clear();
    let (failed, requests) = (summary.all.failed, summary.all.requests);
    ensure!(failed == 0, "{failed} of {requests} requests failed");
    let (started, sampled) = root_decisions(lab, version, requests).await?;
    let kept = wait_for_kept(lab, kept_before, sampled).await;
    let Interval { lower, upper } = interval(sampled, started, CONFIDENCE);
    Ok(RateResult {
        policy_rate: policy_rate.to_string(),
        convergence_milliseconds: convergence.as_secs_f64() * 1e3,
        requests,
        started,
        sampled,
        kept,
        rate: sampled as f64 / started.max(1) as f64,
        lower,
        upper,
        verdict: judge(sampled, started, policy_rate, CONFIDENCE).to_string(),
        requests_per_second: summary.requests_per_second,
    })
}

/// Waits until service-a has reported as many root decisions under a version as expected, and
/// returns the numbers started and sampled.
async fn root_decisions(lab: &Lab, version: Version, expected: u64) -> anyhow::Result<(u64, u64)> {
    let (namespace, service) = (Namespace::default(), ServiceName::new(EDGE)?);
    // Subscribed before the first read, so that no report is missed in between.
    let mut changed = lab.control().changed();
    let all_reported = async {
        loop {
            let counts = lab.control().counts(&namespace, &service, Some(version));
            // More than expected is possible: the user may also send requests to the printed URL.
            if counts.started >= expected || changed.changed().await.is_err() {
                return (counts.started, counts.sampled);
            }
        }
    };
    let what = format!("{expected} root decisions to be reported");
    within(TIMEOUT, what, all_reported).await
}

/// Waits until the pipeline has kept as many new traces as were sampled, or until the timeout, and
/// returns their number.
async fn wait_for_kept(lab: &Lab, before: u64, sampled: u64) -> u64 {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let kept = kept_traces(lab).saturating_sub(before);
        if kept >= sampled || Instant::now() >= deadline {
            return kept;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The number of traces stored so far, including evicted ones.
pub(super) fn kept_traces(lab: &Lab) -> u64 {
    let occupancy = lab.pipeline().store().occupancy();
    // Evicted traces arrived as well: at 100 % the store may be smaller than the tour.
    occupancy.traces as u64 + occupancy.evicted.traces
}

fn bar(visible: bool, policy_rate: Probability) -> ProgressBar {
    if !visible {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(DECISIONS);
    let style = "  {msg:>6}  {wide_bar:.cyan/blue} {pos}/{len} requests, {per_sec}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(policy_rate.to_string());
    bar
}
