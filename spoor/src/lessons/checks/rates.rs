//! Lesson 7: the rates 1 % and 0.1 %, and their confidence intervals.

use spoor_policy::{
    Probability,
    statistics::{Interval, interval, p_value},
};

use super::in_force::check_no_tail;
use crate::{
    lessons::{
        answers::{Answers, interval as parse_interval, number},
        context::Context,
        report::Report,
        threshold::sampled_at,
    },
    traces::FoundTrace,
};

/// The name of the sample policy and of the service it targets.
const POLICY: &str = "service-a";
const RATES: [&str; 2] = ["1%", "0.1%"];
/// The fewest requests at each rate, as the lesson asks. With far fewer, the lower rate often keeps
/// none.
const MIN_REQUESTS: u64 = 10_000;
const CONFIDENCE: f64 = 0.95;
/// The p-value below which chance does not explain a count.
const MIN_P_VALUE: f64 = 1e-6;
/// The tolerated error of an interval's bounds, as a share of its width. It admits formulas other
/// than the exact one.
const TOLERANCE: f64 = 0.2;
/// The accepted half widths of the interval for `needed`, as a share of the rate: about a tenth.
const HALF_WIDTH: std::ops::RangeInclusive<f64> = 0.085..=0.115;
/// The fix for the usual reason why the counts of the check and of the learner differ.
const EARLIER_LOAD: &str = "leave out earlier load at this rate with --lookback, such as 5m";

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let found = context.traces_of(POLICY).await?;
    let traces = format!("{} traces of {POLICY}", found.len());
    report.add_source(format!("the tracestate of {traces}, and its policy"));
    match context.answers.named("requests").and_then(number) {
        Some(requests) => {
            check_requests(&mut report, requests);
            for rate in RATES {
                check_rate(&mut report, &context.answers, &found, rate, requests)?;
            }
        }
        None => report.unanswered(
            "the number of requests that you sent at each rate",
            "--answer requests=10000",
        ),
    }
    check_no_tail(&mut report, &context.policies.all().await?, POLICY);
    check_needed(&mut report, context);
    check_policy(&mut report, context).await?;
    Ok(report)
}

/// Reports requests that are too few for the comparison of the rates.
fn check_requests(report: &mut Report, requests: u64) {
    if requests < MIN_REQUESTS {
        let seen = format!("{requests} are too few; send {MIN_REQUESTS} or more");
        report.wrong("enough requests at each rate", seen);
    }
}

fn check_rate(
    report: &mut Report,
    answers: &Answers,
    found: &[FoundTrace],
    rate: &str,
    requests: u64,
) -> anyhow::Result<()> {
    let probability: Probability = rate.parse()?;
    let is_sampled_at_rate = |it: &&FoundTrace| sampled_at(&it.tree, probability);
    let kept = found.iter().filter(is_sampled_at_rate).count();
    let kept = u64::try_from(kept)?;
    let what = format!("traces that were sampled at {rate}");
    let seen = format!("{kept} of {requests} requests");
    if kept == 0 {
        let seen = if found.is_empty() {
            "there is no trace of service-a at all; is --traces-url right?"
        } else {
            "there are none"
        };
        report.missing(&what, seen);
        return Ok(());
    }
    if kept > requests || p_value(kept, requests, probability) < MIN_P_VALUE {
        let why = "chance does not explain that; check the number of requests";
        let seen = format!("{seen}; {why}, and {EARLIER_LOAD}");
        // Too few may become enough, since traces are still arriving; too many stay too many.
        match interval(kept, requests, CONFIDENCE).lower > probability.as_f64() {
            true => report.wrong(&what, seen),
            false => report.missing(&what, seen),
        }
        return Ok(());
    }
    report.passed(&what, seen);

    let what = format!("the confidence interval for {rate}");
    let exact = interval(kept, requests, CONFIDENCE);
    match answers.named(rate).and_then(parse_interval) {
        None => {
            let seen = format!("--answer {rate}=LOWER..UPPER, as percentages");
            report.unanswered(&what, seen);
        }
        Some(answered) => judge(report, &what, answered, exact),
    }
    Ok(())
}

fn judge(report: &mut Report, what: &str, answered: Interval, exact: Interval) {
    let (width, exact_width) = (answered.upper - answered.lower, exact.upper - exact.lower);
    let near = |one: f64, other: f64| (one - other).abs() <= TOLERANCE * exact_width;
    let seen = shown(answered);
    if near(answered.lower, exact.lower) && near(answered.upper, exact.upper) {
        let seen = format!("{seen}; the exact interval is {}", shown(exact));
        report.passed(what, seen);
    } else if answered.upper < exact.lower || exact.upper < answered.lower {
        let why = "does not contain the observed rate; is it the interval of another run?";
        report.wrong(what, format!("{seen} {why}"));
    } else if width < exact_width * (1.0 - TOLERANCE) {
        let why = "is narrower than so few traces allow at 95 %";
        report.wrong(what, format!("{seen} {why}"));
    } else if width > exact_width * (1.0 + TOLERANCE) {
        report.wrong(what, format!("{seen} is wider than it needs to be at 95 %"));
    } else {
        let why = "has the right width, but is not centred on the observed rate";
        report.wrong(what, format!("{seen} {why}; {EARLIER_LOAD}"));
    }
}

/// Checks the number of requests in the answer by the interval that it would give.
fn check_needed(report: &mut Report, context: &Context) {
    let what = "the number of requests that narrows the interval at 0.1 % to ± a tenth of the rate";
    let Some(needed) = context.answers.named("needed").and_then(number) else {
        report.unanswered(what, "--answer needed=NUMBER");
        return;
    };
    // On average, one in a thousand is kept.
    let would_be = interval(needed / 1000, needed, CONFIDENCE);
    let half = (would_be.upper - would_be.lower) / 2.0 / 0.001;
    let seen = format!(
        "{needed} would give {}, which is ± {:.0} % of the rate",
        shown(would_be),
        half * 100.0
    );
    if HALF_WIDTH.contains(&half) {
        report.passed(what, format!("{seen}: about a tenth"));
    } else {
        let side = match half < *HALF_WIDTH.start() {
            true => "more than needed",
            false => "too few",
        };
        report.wrong(what, format!("{seen}: {side}"));
    }
}

async fn check_policy(report: &mut Report, context: &Context) -> anyhow::Result<()> {
    let what = "every instance has the policy, and the observed rate does not contradict it";
    let policy = context.policies.named(POLICY).await?;
    let Some(status) = policy.and_then(|it| it.status) else {
        let seen = "there is no policy service-a, or it has no status yet";
        report.missing(what, seen);
        return Ok(());
    };
    let clients = status.clients.unwrap_or_default();
    let (expected, current) = (clients.expected, clients.current);
    let verdict = status.observed.map(|it| it.verdict).unwrap_or_default();
    let contradicts = verdict == "TooHigh" || verdict == "TooLow";
    // Ten thousand requests are few at 0.1 %, so the lesson cannot ask for more than this.
    let verdict = match verdict.as_str() {
        "" | "Unknown" => "no verdict yet",
        known => known,
    };
    let holds = expected > 0 && current == expected && !contradicts;
    let seen = format!("{current} of {expected} instances have it; {verdict}");
    report.expect(holds, what, seen);
    Ok(())
}

fn shown(Interval { lower, upper }: Interval) -> String {
    format!("{:.3}%..{:.3}%", lower * 100.0, upper * 100.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_traces::tree::Tree;

    use super::*;
    use crate::{lessons::lesson::Lesson, traces::spans::span};

    #[rstest::rstest]
    #[case(2_000, "2000 are too few; send 10000 or more")]
    #[case(9_999, "9999 are too few; send 10000 or more")]
    #[case(10_000, "")]
    fn requires_the_lessons_requests(#[case] requests: u64, #[case] seen: &str) {
        let mut report = Report::default();
        check_requests(&mut report, requests);
        let report = report.to_string();
        assert_eq!(report.is_empty(), seen.is_empty(), "{report}");
        assert!(report.contains(seen), "{report}");
    }

    #[rstest::rstest]
    #[case(130, 10_000, true)]
    #[case(130, 1, false)]
    #[case(2, 1, false)]
    fn rejects_more_traces_than_requests(
        #[case] kept: usize,
        #[case] requests: u64,
        #[case] passes: bool,
    ) {
        let mut batch = span(POLICY, "GET /", 1, 0, 0, 5);
        batch.scope_spans[0].spans[0].trace_state = "ot=th:fd70a".to_owned();
        let trace = FoundTrace {
            id: "07".repeat(16),
            tree: Tree::new(vec![batch]),
        };
        let found = vec![trace; kept];
        let given = vec!["1%=1.10%..1.54%".to_owned()];
        let answers = Answers::new("7", Lesson::Rates.facts().answers, given).unwrap();
        let mut report = Report::default();
        check_rate(&mut report, &answers, &found, "1%", requests).unwrap();
        assert_eq!(report.is_passed(), passes, "{report}");
        let why = "chance does not explain that";
        assert_eq!(report.to_string().contains(why), !passes, "{report}");
    }

    fn report_on(answered: &str) -> String {
        let mut report = Report::default();
        let exact = interval(100, 10_000, CONFIDENCE);
        judge(&mut report, "it", parse_interval(answered).unwrap(), exact);
        report.to_string()
    }

    #[test]
    fn accepts_intervals_of_other_formulas() {
        // The exact interval, Wilson's, and that of the normal approximation.
        for near in ["0.814%..1.215%", "0.82%..1.22%", "0.805%..1.195%"] {
            assert!(report_on(near).contains("ok"), "{near}");
        }
        assert!(report_on("0.99%..1.01%").contains("narrower"));
        assert!(report_on("0%..5%").contains("wider"));
        assert!(report_on("1.1%..1.5%").contains("not centred"));
        // The interval for a tenth of the rate, as if the two answers were swapped.
        assert!(report_on("0.069%..0.222%").contains("does not contain"));
    }

    #[test]
    fn judges_the_number_by_its_interval() {
        let half = |needed: u64| {
            let it = interval(needed / 1000, needed, CONFIDENCE);
            (it.upper - it.lower) / 2.0 / 0.001
        };
        assert!(HALF_WIDTH.contains(&half(400_000)));
        assert!(!HALF_WIDTH.contains(&half(100_000)));
        assert!(!HALF_WIDTH.contains(&half(4_000_000)));
    }
}
