//! One sampling rate: applied, loaded, counted, judged.

use std::{fmt, time::Duration};

use http::Uri;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use spoor_policy::{
    Namespace, Probability, ServiceName, Version,
    statistics::{Interval, Verdict, interval, judge},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::DemoError;
use crate::{
    lab::Lab,
    load::{Load, drive},
};

/// Root decisions on which each rate is judged.
pub(super) const DECISIONS: u64 = 50_000;
/// How sure the verdict is: one tour in ten thousand fails by chance at each rate.
const CONFIDENCE: f64 = 0.9999;
/// Where the tour's traces start.
const EDGE: &str = "service-a";
const CONNECTIONS: usize = 32;
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
/// B neither waits nor computes, so that the load is requests and not their waiting.
const FAST_PATH: &str = "/?wait=0ms&calc=0";

/// What became of one rate.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateResult {
    /// What was asked for.
    pub asked: String,
    /// From the publication to the last instance's acknowledgement.
    pub everywhere_milliseconds: f64,
    /// Requests sent under it.
    pub requests: u64,
    /// Root decisions counted under it.
    pub started: u64,
    /// Those that keep the trace.
    pub sampled: u64,
    /// Traces that arrived and were kept.
    pub kept: u64,
    /// The observed share, from 0 to 1.
    pub rate: f64,
    /// The lower end of its exact interval at 99.99 %.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// Whether it is what was asked for.
    pub verdict: &'static str,
    /// Requests a second.
    pub requests_per_second: f64,
}

impl RateResult {
    /// Whether the rate is as asked and every sampled trace arrived.
    pub fn passed(&self) -> bool {
        self.verdict == name(Verdict::Consistent)
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
            self.asked,
            self.everywhere_milliseconds,
            self.requests,
            self.kept,
            share(self.rate),
            share(self.lower),
            share(self.upper),
            self.verdict,
        )
    }
}

/// The headings of the lines above.
pub(super) const HEADINGS: &str =
    "   asked    everywhere   requests      kept   observed  99.99 % interval       verdict";

/// Sends requests until enough root decisions are counted under a version, and judges them.
pub(super) async fn observe(
    lab: &Lab,
    url: &Uri,
    asked: Probability,
    version: Version,
    everywhere: Duration,
    output_bar: bool,
) -> Result<RateResult, DemoError> {
    let kept_before = kept_traces(lab);
    let load = Load::as_answered(
        url.clone(),
        FAST_PATH,
        DECISIONS,
        CONNECTIONS,
        ANSWERED_WITHIN,
    );
    let bar = bar(output_bar, asked);
    let summary = drive(
        &load,
        |done| bar.set_position(done),
        CancellationToken::new(),
    )
    .await?;
    bar.finish_and_clear();
    if summary.all.failed > 0 {
        let (failed, requests) = (summary.all.failed, summary.all.requests);
        return Err(DemoError::RequestsFailed { failed, requests });
    }
    let (started, sampled) = counted(lab, version, summary.all.requests).await?;
    let kept = arrived(lab, kept_before, sampled).await;
    let Interval { lower, upper } = interval(sampled, started, CONFIDENCE);
    Ok(RateResult {
        asked: asked.to_string(),
        everywhere_milliseconds: everywhere.as_secs_f64() * 1e3,
        requests: summary.all.requests,
        started,
        sampled,
        kept,
        rate: share(sampled, started),
        lower,
        upper,
        verdict: name(judge(sampled, started, asked, CONFIDENCE)),
        requests_per_second: summary.requests_per_second,
    })
}

/// The root decisions of service-a under a version, once as many are reported as were caused.
async fn counted(lab: &Lab, version: Version, expected: u64) -> Result<(u64, u64), DemoError> {
    let (namespace, service) = (Namespace::default(), ServiceName::new(EDGE)?);
    let mut changed = lab.control().changed();
    let all_reported = async {
        loop {
            let counts = lab.control().counts(&namespace, &service, Some(version));
            if counts.started >= expected || changed.changed().await.is_err() {
                return (counts.started, counts.sampled);
            }
        }
    };
    tokio::time::timeout(SETTLED_WITHIN, all_reported)
        .await
        .map_err(|_| DemoError::TimedOut {
            what: format!("{expected} root decisions to be reported"),
            seconds: SETTLED_WITHIN.as_secs(),
        })
}

/// How many traces the pipeline kept since, once as many as were sampled or the time is over.
async fn arrived(lab: &Lab, before: u64, sampled: u64) -> u64 {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let kept = kept_traces(lab).saturating_sub(before);
        if kept >= sampled || Instant::now() >= deadline {
            return kept;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Traces that ever came into the store.
pub(super) fn kept_traces(lab: &Lab) -> u64 {
    let occupancy = lab.pipeline().store().occupancy();
    u64::try_from(occupancy.traces)
        .unwrap_or(u64::MAX)
        .saturating_add(occupancy.evicted.traces)
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Consistent => "Consistent",
        Verdict::TooHigh => "TooHigh",
        Verdict::TooLow => "TooLow",
        Verdict::Unknown => "Unknown",
    }
}

fn bar(visible: bool, asked: Probability) -> ProgressBar {
    if !visible {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(DECISIONS);
    let style = "  {msg:>6}  {wide_bar:.cyan/blue} {pos}/{len} requests, {per_sec}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(asked.to_string());
    bar
}

#[expect(clippy::cast_precision_loss, reason = "far under 2^53")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
