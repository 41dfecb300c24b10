//! The numbers of a status: clients and the observed rate.

use std::time::Duration;

use spoor_api::status as api;
use spoor_control::{ClientCounts, CountSource, Evidence, MIN_EXPECTED_DECISIONS, ObservedRate};
use spoor_policy::{Policy, Probability, Strategy, statistics::Verdict};

/// The text of [`Verdict::Unknown`].
pub(crate) const UNKNOWN: &str = "Unknown";

/// The explanation of [`UNKNOWN`] where there are few counts.
const TOO_FEW: &str = "too few traces";

/// The explanation of [`UNKNOWN`] where counts have not been judged yet.
const NOT_YET: &str = "no verdict yet";

/// The explanation of [`Verdict::TooLow`] for a rate limit.
const UNUSED_SHARES: &str = "below the limit; this can happen if bursts of traces exceed the share of an instance, if polling clients do not need their equal shares, and for a few seconds after a change in demand";

/// The explanation of counts that are not judged.
const UNVERIFIED: &str = "from metrics, which get no verdict because anyone can send them";

/// The text for clients of a policy with tail rules only, which a Collector or the lab applies.
pub(crate) const NO_CLIENTS: &str = "none needed";

/// The clients by state.
pub(crate) fn clients(evidence: &Evidence) -> api::Clients {
    let clients = &evidence.clients;
    api::Clients {
        expected: count(clients.expected),
        current: count(clients.current),
        refused: count(clients.refused),
        polling: count(clients.polling),
        silent: count(clients.silent),
        never_asked: count(clients.never_asked),
        slowest_milliseconds: evidence.slowest.map(whole_milliseconds),
    }
}

/// The clients that apply the policy out of those that can acknowledge it, and those that cannot:
/// `3/3`, `1 polling`, `3/3, 1 polling`.
pub(crate) fn clients_summary(clients: &api::Clients) -> String {
    let confirming = clients.expected.saturating_sub(clients.polling);
    let current = format!("{}/{confirming}", clients.current);
    match (confirming, clients.polling) {
        (_, 0) => current,
        (0, polling) => format!("{polling} polling"),
        (_, polling) => format!("{current}, {polling} polling"),
    }
}

/// The observed rate of the policy's head.
pub(crate) fn observed(policy: &Policy, evidence: &Evidence) -> api::Observed {
    match &evidence.observed {
        Some(observed) => with_rate(observed, policy.head),
        None => {
            let (_, message) = absence(&evidence.clients);
            api::Observed {
                verdict: UNKNOWN.to_owned(),
                message: Some(message.to_owned()),
                ..api::Observed::default()
            }
        }
    }
}

/// The observed rate with its verdict, or the reason for its absence: `0.98% Consistent`,
/// `1% (too few traces)`, `1% (no verdict yet)`, `no recent requests`.
pub(crate) fn observed_summary(observed: &api::Observed, clients: &ClientCounts) -> String {
    let verdict = &observed.verdict;
    match (observed.source, &observed.rate) {
        (api::ObservedSource::Reported, Some(rate)) => format!("{rate} Reported"),
        (_, Some(rate)) if verdict == UNKNOWN => {
            let message = observed.message.as_deref().unwrap_or_default();
            let is_few = message.starts_with(TOO_FEW);
            format!("{rate} ({})", if is_few { TOO_FEW } else { NOT_YET })
        }
        (_, Some(rate)) => format!("{rate} {verdict}"),
        (_, None) => {
            let (summary, _) = absence(clients);
            summary.to_owned()
        }
    }
}

fn with_rate(observed: &ObservedRate, strategy: Option<Strategy>) -> api::Observed {
    let (source, message) = match observed.source {
        CountSource::Clients => (api::ObservedSource::Clients, None),
        CountSource::Reported => (api::ObservedSource::Reported, Some(UNVERIFIED.to_owned())),
    };
    api::Observed {
        source,
        window_seconds: u32::try_from(observed.window.as_secs()).unwrap_or(u32::MAX),
        started: observed.started,
        sampled: observed.sampled,
        rate: Some(percentage(observed.rate)),
        lower: Some(percentage(observed.interval.lower)),
        upper: Some(percentage(observed.interval.upper)),
        message: message.or_else(|| match (observed.verdict, strategy) {
            (Verdict::Unknown, _) => Some(no_verdict_message(observed, strategy)),
            // A limit is a maximum, so a lower rate is explained rather than reported as an error.
            (Verdict::TooLow, Some(Strategy::RateLimit(_))) => Some(UNUSED_SHARES.to_owned()),
            _ => None,
        }),
        verdict: observed.verdict.to_string(),
    }
}

/// The reason why there is no verdict. Counts are judged when there are enough, but not before a
/// sixth of the window has passed, and otherwise at its end.
fn no_verdict_message(observed: &ObservedRate, strategy: Option<Strategy>) -> String {
    // As in a tally, a verdict needs enough sampled decisions, except at 0 %, and enough unsampled
    // ones, except at 100 %.
    let is_few = |share: Probability| {
        share > Probability::NEVER
            && observed.started as f64 * share.as_f64() < MIN_EXPECTED_DECISIONS
    };
    if let Some(Strategy::Probability(share)) = strategy
        && (is_few(share) || is_few(share.complement()))
    {
        format!("{TOO_FEW} for a verdict yet; wait up to a minute")
    } else {
        format!("{NOT_YET}; it takes ten seconds, or thirty after the rate has changed")
    }
}

/// The reason why there is no observed rate, as a summary and as a message.
fn absence(clients: &ClientCounts) -> (&'static str, &'static str) {
    // First, since all other counts are also 0 then.
    if clients.expected == 0 {
        ("no instances", "no instance exists to count traces")
    } else if clients.polling == clients.expected {
        (
            "not reported",
            "all clients only poll, and no Collector has forwarded the metric otel.sdk.span.started of a service where only this policy decides",
        )
    } else if clients.never_asked == clients.expected {
        ("no client yet", "no client has requested a strategy")
    } else if clients.silent + clients.never_asked == clients.expected {
        ("silent", "no client is sending messages")
    } else {
        // Counts are kept for a window only, so there may have been earlier requests.
        (
            "no recent requests",
            "no trace has started under the policy recently",
        )
    }
}

/// Milliseconds, rounded up, so that a short duration does not become 0.
fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// A percentage with three significant digits, or five decimal places below 0.1 %: `0.989%`, `12.3%`,
/// `100%`.
pub(crate) fn percentage(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = match percent {
        // The bounds are the values at which rounding adds a digit before the decimal point.
        p if p >= 99.95 => 0,
        p if p >= 9.995 => 1,
        p if p >= 0.9995 => 2,
        p if p >= 0.09995 => 3,
        // The smallest step of a policy, 0.0001 %, and one more digit.
        _ => 5,
    };
    let text = format!("{percent:.decimals$}");
    let trimmed = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{trimmed}%")
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case(0.0, "0%")]
    #[case(1.0, "100%")]
    #[case(0.009893, "0.989%")]
    #[case(0.0098, "0.98%")]
    #[case(0.01043, "1.04%")]
    #[case(0.1, "10%")]
    #[case(0.000987, "0.0987%")]
    #[case(0.999999, "100%")]
    fn percentages_have_three_digits(#[case] share: f64, #[case] expected: &str) {
        assert_eq!(percentage(share), expected);
    }

    #[rstest::rstest]
    #[case(0, 0, 0, "no instances", "no instance exists to count traces")]
    #[case(2, 2, 0, "not reported", "all clients only poll")]
    #[case(2, 0, 2, "silent", "no client is sending messages")]
    #[case(
        2,
        1,
        0,
        "no recent requests",
        "no trace has started under the policy recently"
    )]
    #[case(1, 1, 0, "not reported", "all clients only poll")]
    fn explains_absence_of_a_rate(
        #[case] expected: usize,
        #[case] polling: usize,
        #[case] silent: usize,
        #[case] summary: &str,
        #[case] message: &str,
    ) {
        let clients = ClientCounts {
            expected,
            polling,
            silent,
            ..ClientCounts::default()
        };
        let (_, absence) = absence(&clients);
        let without_rate = api::Observed::default();
        assert_eq!(observed_summary(&without_rate, &clients), summary);
        assert!(absence.starts_with(message));
    }

    #[rstest::rstest]
    #[case("90%", 100, TOO_FEW)]
    #[case("90%", 1_000, NOT_YET)]
    #[case("100%", 100, NOT_YET)]
    #[case("0%", 100, NOT_YET)]
    fn explains_a_missing_verdict(
        #[case] policy: &str,
        #[case] started: u64,
        #[case] explanation: &str,
    ) {
        let observed = ObservedRate {
            source: CountSource::Clients,
            window: Duration::from_secs(5),
            started,
            sampled: 0,
            rate: 0.0,
            interval: spoor_policy::statistics::interval(0, started, 0.95),
            verdict: Verdict::Unknown,
        };
        let strategy = Strategy::Probability(policy.parse().unwrap());
        let message = no_verdict_message(&observed, Some(strategy));
        assert!(message.starts_with(explanation), "{message}");
    }

    #[rstest::rstest]
    #[case(3, 3, 0, "3/3")]
    #[case(3, 1, 0, "1/3")]
    #[case(0, 0, 0, "0/0")]
    #[case(2, 0, 2, "2 polling")]
    #[case(3, 2, 1, "2/2, 1 polling")]
    fn polling_clients_are_shown_separately(
        #[case] expected: u32,
        #[case] current: u32,
        #[case] polling: u32,
        #[case] summary: &str,
    ) {
        let clients = api::Clients {
            expected,
            current,
            polling,
            ..api::Clients::default()
        };
        assert_eq!(clients_summary(&clients), summary);
    }

    #[rstest::rstest]
    #[case(CountSource::Clients, Verdict::Consistent, 100, "1% Consistent")]
    #[case(CountSource::Clients, Verdict::Unknown, 100, "1% (too few traces)")]
    #[case(CountSource::Clients, Verdict::Unknown, 10_000, "1% (no verdict yet)")]
    #[case(CountSource::Reported, Verdict::Unknown, 100, "1% Reported")]
    fn rate_is_shown_with_its_verdict(
        #[case] source: CountSource,
        #[case] verdict: Verdict,
        #[case] started: u64,
        #[case] summary: &str,
    ) {
        let strategy = Strategy::Probability("1%".parse().unwrap());
        let sampled = started / 100;
        let observed = ObservedRate {
            source,
            window: Duration::from_secs(60),
            started,
            sampled,
            rate: 0.01,
            interval: spoor_policy::statistics::interval(sampled, started, 0.95),
            verdict,
        };
        assert_eq!(
            observed_summary(
                &with_rate(&observed, Some(strategy)),
                &ClientCounts::default()
            ),
            summary
        );
    }
}
