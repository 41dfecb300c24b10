//! The numbers of a status: who has taken a policy, and what is observed of it.

use std::time::Duration;

use spoor_api::status as api;
use spoor_control::{Clients, Evidence, Observed, Source};
use spoor_policy::Outcome;

use crate::conditions;

pub(crate) fn clients(evidence: &Evidence) -> api::Clients {
    let clients = &evidence.clients;
    api::Clients {
        expected: count(clients.expected),
        current: count(clients.current),
        refused: count(clients.refused),
        polling: count(clients.polling),
        silent: count(clients.silent),
        slowest_milliseconds: evidence.slowest.map(whole_milliseconds),
    }
}

/// Those that have it, of those that should: `3/3`.
pub(crate) fn clients_in_words(clients: &api::Clients) -> String {
    format!("{}/{}", clients.current, clients.expected)
}

/// None where the policy decides no head: what was sampled tells nothing about it.
pub(crate) fn observed(outcome: &Outcome, evidence: &Evidence) -> Option<api::Observed> {
    if !conditions::decides_head(outcome) {
        return None;
    }
    Some(match &evidence.observed {
        Some(observed) => seen(observed),
        None => nothing(nothing_to_see(&evidence.clients)),
    })
}

/// The observed rate and what to think of it, such as `0.98% Consistent`.
pub(crate) fn observed_in_words(observed: &api::Observed) -> String {
    let thought = match observed.source {
        api::Source::Reported => "Reported",
        api::Source::Clients | api::Source::Nothing => &observed.verdict,
    };
    match &observed.rate {
        Some(rate) => format!("{rate} {thought}"),
        None => thought.to_owned(),
    }
}

fn seen(observed: &Observed) -> api::Observed {
    let (source, message) = match observed.source {
        Source::Clients => (api::Source::Clients, None),
        Source::Reported => (
            api::Source::Reported,
            Some("from metrics, which anyone can send: no verdict rests on them".to_owned()),
        ),
    };
    api::Observed {
        source,
        window_seconds: u32::try_from(observed.window.as_secs()).unwrap_or(u32::MAX),
        started: observed.started,
        sampled: observed.sampled,
        rate: Some(percentage(observed.rate)),
        lower: Some(percentage(observed.interval.lower)),
        upper: Some(percentage(observed.interval.upper)),
        verdict: observed.verdict.to_string(),
        message,
    }
}

fn nothing(message: &str) -> api::Observed {
    api::Observed {
        source: api::Source::Nothing,
        window_seconds: 0,
        started: 0,
        sampled: 0,
        rate: None,
        lower: None,
        upper: None,
        verdict: "Unknown".to_owned(),
        message: Some(message.to_owned()),
    }
}

fn nothing_to_see(clients: &Clients) -> &'static str {
    let only_poll = clients.polling > 0 && clients.polling == clients.expected;
    if clients.expected == 0 {
        "no instance is there to count traces"
    } else if only_poll {
        "its clients only poll, and no metric otel.sdk.span.started that is of this policy alone came through the Collector"
    } else if clients.silent == clients.expected {
        "nothing is heard of its clients"
    } else {
        "no trace has started under it lately"
    }
}

/// Begun milliseconds count, so that nothing takes none.
fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// Three digits that count: `0.989%`, `12.3%`, `100%`.
fn percentage(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = match percent {
        p if p >= 99.95 => 0,
        p if p >= 9.995 => 1,
        p if p >= 0.9995 => 2,
        p if p >= 0.09995 => 3,
        _ => 5,
    };
    let text = format!("{percent:.decimals$}");
    let trimmed = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{trimmed}%")
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
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
    fn percentages(#[case] share: f64, #[case] shown: &str) {
        assert_eq!(percentage(share), shown);
    }

    #[rstest::rstest]
    #[case(0, 0, 0, "no instance is there to count traces")]
    #[case(2, 2, 0, "its clients only poll")]
    #[case(2, 0, 2, "nothing is heard of its clients")]
    #[case(2, 1, 0, "no trace has started under it lately")]
    fn says_why_there_is_nothing_to_see(
        #[case] expected: usize,
        #[case] polling: usize,
        #[case] silent: usize,
        #[case] why: &str,
    ) {
        let clients = Clients {
            expected,
            polling,
            silent,
            ..Clients::default()
        };
        assert!(nothing_to_see(&clients).starts_with(why));
    }
}
