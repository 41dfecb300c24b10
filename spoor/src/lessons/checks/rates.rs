//! Lesson 7: 1 % and 0.1 %, and how sure one can be of each.

use spoor_policy::{
    Probability,
    statistics::{Interval, interval, p_value},
};

use crate::{
    lessons::{place::Place, report::Report, threshold::sampled_at},
    traces::Found,
};

/// The policy of the samples, and where its traces start.
const POLICY: &str = "service-a";
const RATES: [&str; 2] = ["1%", "0.1%"];
const CONFIDENCE: f64 = 0.95;
/// So improbable a count has another cause than chance.
const IMPROBABLE: f64 = 1e-6;
/// How far an end may be off, as a part of the interval: other formulas are welcome.
const TOLERANCE: f64 = 0.2;
/// The half width that `needed` is to reach, as a part of the rate, and what is near enough.
const HALF_WIDTH: std::ops::RangeInclusive<f64> = 0.085..=0.115;
/// More requests than anybody sends in a lesson.
const MOST: u64 = 1_000_000_000;

pub(crate) async fn check(place: &Place) -> anyhow::Result<Report> {
    let mut report = Report::new();
    let found = place.traces_of(POLICY).await?;
    report.looked_at(format!(
        "the tracestate of {} traces of {POLICY}, and its policy",
        found.len()
    ));
    let requests = place.answers.named("requests");
    let requests: Option<u64> = requests.and_then(|it| it.parse().ok());
    match requests.filter(|requests| (1..=MOST).contains(requests)) {
        Some(requests) => {
            for rate in RATES {
                of_rate(&mut report, place, &found, rate, requests)?;
            }
        }
        None => report.wrong(
            "the number of requests that you sent at each rate",
            "--answer requests=10000",
        ),
    }
    of_the_number_needed(&mut report, place)?;
    of_policy(&mut report, place).await?;
    Ok(report)
}

fn of_rate(
    report: &mut Report,
    place: &Place,
    found: &[Found],
    rate: &str,
    requests: u64,
) -> anyhow::Result<()> {
    let probability: Probability = rate.parse()?;
    let is_sampled_so = |it: &&Found| sampled_at(&it.tree, probability);
    let kept = found.iter().filter(is_sampled_so).count();
    let kept = u64::try_from(kept)?;
    let what = format!("traces that were sampled at {rate}");
    let seen = format!("{kept} of {requests} requests");
    if kept == 0 {
        report.missing(&what, "there is none");
        return Ok(());
    }
    if p_value(kept, requests, probability) < IMPROBABLE {
        let why = "chance does not explain that: was it another number of requests?";
        report.missing(&what, format!("{seen}; {why}"));
        return Ok(());
    }
    report.passed(&what, seen);

    let what = format!("how sure you are of {rate}");
    let exact = interval(kept, requests, CONFIDENCE);
    match place.answers.named(rate).map(range) {
        None => {
            let seen = format!("--answer {rate}=LOWER..UPPER, as percentages");
            report.wrong(&what, seen);
        }
        Some(None) => {
            let seen = format!("an interval is written as {rate}=0.05%..1.2%");
            report.wrong(&what, seen);
        }
        Some(Some(answered)) => judge(report, &what, answered, exact),
    }
    Ok(())
}

fn judge(report: &mut Report, what: &str, answered: Interval, exact: Interval) {
    let (width, exact_width) = (answered.upper - answered.lower, exact.upper - exact.lower);
    let near = |one: f64, other: f64| (one - other).abs() <= TOLERANCE * exact_width;
    let seen = shown(answered);
    if near(answered.lower, exact.lower) && near(answered.upper, exact.upper) {
        report.passed(what, format!("{seen}; exactly {}", shown(exact)));
    } else if width < exact_width * (1.0 - TOLERANCE) {
        let why = "is narrower than so few traces allow at 95 %";
        report.wrong(what, format!("{seen} {why}"));
    } else if width > exact_width * (1.0 + TOLERANCE) {
        report.wrong(what, format!("{seen} is wider than it needs to be at 95 %"));
    } else {
        let why = "has the right width, but lies beside what was observed";
        report.wrong(what, format!("{seen} {why}"));
    }
}

/// The learner's number is put to the test: the interval that it would give.
fn of_the_number_needed(report: &mut Report, place: &Place) -> anyhow::Result<()> {
    let what = "how many requests it takes to know 0.1 % to a tenth of itself";
    let needed = place.answers.named("needed");
    let needed: Option<u64> = needed.and_then(|it| it.parse().ok());
    let Some(needed) = needed.filter(|needed| (1..=MOST).contains(needed)) else {
        report.wrong(what, "--answer needed=NUMBER");
        return Ok(());
    };
    // On average one in a thousand of them is kept.
    let would_be = interval(needed / 1000, needed, CONFIDENCE);
    let half = (would_be.upper - would_be.lower) / 2.0 / 0.001;
    let seen = format!(
        "{needed} would leave {}, ± {:.0} % of it",
        shown(would_be),
        half * 100.0
    );
    if HALF_WIDTH.contains(&half) {
        report.passed(what, seen);
    } else {
        report.wrong(what, seen);
    }
    Ok(())
}

async fn of_policy(report: &mut Report, place: &Place) -> anyhow::Result<()> {
    let what = "every instance has the policy, and what it counts agrees";
    let policy = place.policies.named(POLICY).await?;
    let Some(status) = policy.and_then(|it| it.status) else {
        report.missing(
            what,
            "there is no policy service-a, or nothing is known of it",
        );
        return Ok(());
    };
    let (expected, current) = status
        .clients
        .map_or((0, 0), |clients| (clients.expected, clients.current));
    let verdict = status.observed.map(|it| it.verdict).unwrap_or_default();
    let agrees = verdict != "TooHigh" && verdict != "TooLow";
    report.expect(
        expected > 0 && current == expected && agrees,
        what,
        format!("{current} of {expected}, verdict {verdict}"),
    );
    Ok(())
}

/// `0.8%..1.2%`; the first percent sign may be left out.
fn range(text: &str) -> Option<Interval> {
    let (lower, upper) = text.split_once("..")?;
    let share = |end: &str| -> Option<f64> {
        let percent: f64 = end.trim().trim_end_matches('%').trim().parse().ok()?;
        let share = percent / 100.0;
        (0.0..=1.0).contains(&share).then_some(share)
    };
    let (lower, upper) = (share(lower)?, share(upper)?);
    (lower <= upper).then_some(Interval { lower, upper })
}

fn shown(Interval { lower, upper }: Interval) -> String {
    format!("{:.3}%..{:.3}%", lower * 100.0, upper * 100.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("0.8%..1.2%", Some((0.008, 0.012)))]
    #[case("0.8..1.2%", Some((0.008, 0.012)))]
    #[case(" 0 % .. 100 % ", Some((0.0, 1.0)))]
    #[case("1.2%..0.8%", None)]
    #[case("1%", None)]
    #[case("NaN%..1%", None)]
    #[case("0%..101%", None)]
    fn reads_intervals(#[case] text: &str, #[case] ends: Option<(f64, f64)>) {
        let read = range(text);
        assert_eq!(read.is_some(), ends.is_some());
        if let (Some(read), Some((lower, upper))) = (read, ends) {
            assert!((read.lower - lower).abs() < 1e-12 && (read.upper - upper).abs() < 1e-12);
        }
    }

    fn judged(answered: &str) -> String {
        let mut report = Report::new();
        let exact = interval(100, 10_000, CONFIDENCE);
        judge(&mut report, "it", range(answered).unwrap(), exact);
        report.to_string()
    }

    #[test]
    fn an_interval_may_come_from_another_formula_but_not_from_the_air() {
        // Exactly 0.814 % to 1.215 %; Wilson's, the normal approximation's.
        for near in ["0.814%..1.215%", "0.82%..1.22%", "0.805%..1.195%"] {
            assert!(judged(near).contains("ok"), "{near}");
        }
        assert!(judged("0.99%..1.01%").contains("narrower"));
        assert!(judged("0%..5%").contains("wider"));
        assert!(judged("1.1%..1.5%").contains("beside"));
    }

    #[test]
    fn the_number_of_traces_decides() {
        let half = |needed: u64| {
            let it = interval(needed / 1000, needed, CONFIDENCE);
            (it.upper - it.lower) / 2.0 / 0.001
        };
        assert!(HALF_WIDTH.contains(&half(400_000)));
        assert!(!HALF_WIDTH.contains(&half(100_000)));
        assert!(!HALF_WIDTH.contains(&half(4_000_000)));
    }
}
