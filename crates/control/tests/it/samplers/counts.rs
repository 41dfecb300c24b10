//! The counts that samplers report.

use std::{
    slice,
    time::{Duration, Instant},
};

use rstest::rstest;
use spoor_control::{ControlSettings, TailCounts, TailDecisions};
use spoor_policy::{Namespace, statistics::Verdict};
use spoor_proto::spoor::control::v1::{self as proto, TailCount, sampler_message::Message};

use crate::support::{
    TestServer, eventually, key, percent, resolved,
    sampler::{head, hello, tail, tail_count},
};

fn counts(server: &TestServer, policy: &str) -> Option<TailCounts> {
    server.control.tail_counts(&key(policy))
}

/// All decisions by the policy: decided, kept, unmatched, unmatched and kept.
fn total(server: &TestServer, policy: &str) -> [u64; 4] {
    let total = counts(server, policy).unwrap().total;
    let (decided, kept) = (total.decided(), total.kept());
    [decided, kept, total.unmatched, total.unmatched_kept]
}

#[tokio::test]
async fn counts_are_summed_over_samplers() {
    let server = TestServer::with(&[tail("one", "a", "10%"), tail("two", "b", "10%")]).await;
    assert_eq!(counts(&server, "one"), None);
    let mut first = server.sampler("sampler-0").await;
    let mut second = server.sampler("sampler-1").await;
    let rules = first.accept_rules().await;
    second.accept_rules().await;
    assert_eq!(total(&server, "one"), [0; 4]);
    assert_eq!(counts(&server, "unknown"), None);

    let of_one = |errors, unmatched| tail_count(&rules, "one", errors, unmatched);
    first.report(vec![of_one(5, (100, 10))]).await;
    second
        .report(vec![
            of_one(1, (50, 5)),
            tail_count(&rules, "two", 3, (0, 0)),
        ])
        .await;
    first.report(vec![of_one(6, (200, 21))]).await;
    eventually("all counts", || total(&server, "one")[0] == 257).await;
    assert_eq!(total(&server, "one"), [257, 33, 250, 26]);
    let seen = counts(&server, "one").unwrap();
    let by_rule = seen.total.by_rule.iter();
    let by_rule: Vec<(&str, u64)> = by_rule.map(|(rule, kept)| (rule.as_str(), *kept)).collect();
    assert_eq!(by_rule, [("errors", 7)]);
    let otherwise = seen.otherwise.unwrap();
    assert_eq!(otherwise.rate, 26.0 / 250.0);
    assert!(otherwise.interval.lower < 0.1 && 0.1 < otherwise.interval.upper);
    let of_two = counts(&server, "two").unwrap();
    assert_eq!((of_two.total.kept(), of_two.otherwise), (3, None));
    server
        .wait_for_metric("spoor_control_tail_reports_total 3")
        .await;
    let of_policy = r#"{namespace="default",policy="one"}"#;
    let of_rule = r#"{namespace="default",policy="one",rule="errors"}"#;
    for line in [
        format!("spoor_control_tail_policy_traces_decided_total{of_policy} 257"),
        format!("spoor_control_tail_policy_traces_unmatched_total{of_policy} 250"),
        format!("spoor_control_tail_policy_traces_unmatched_kept_total{of_policy} 26"),
        format!("spoor_control_tail_rule_traces_kept_total{of_rule} 7"),
    ] {
        server.wait_for_metric(&line).await;
    }
}

#[tokio::test]
async fn decisions_of_this_process_are_counted() {
    let server = TestServer::with(&[tail("one", "a", "10%")]).await;
    let add = |policy: &str| {
        let decisions = TailDecisions {
            by_rule: [("errors".parse().unwrap(), 5)].into(),
            unmatched: 10,
            unmatched_kept: 1,
        };
        let now = Instant::now();
        let control = &server.control;
        control.add_tail_decisions(&key(policy), decisions, (now, now));
    };
    assert_eq!(counts(&server, "one"), None);
    add("one");
    add("unknown");
    assert_eq!(total(&server, "one"), [15, 6, 10, 1]);
    assert_eq!(counts(&server, "unknown"), None);
    server.control.publish(resolved(&[tail("one", "a", "20%")]));
    assert_eq!(total(&server, "one"), [15, 6, 10, 1]);
    add("one");
    assert_eq!(total(&server, "one"), [30, 12, 20, 2]);
}

#[tokio::test]
async fn totals_outlast_changed_rules() {
    let policies = |of_one: &str| [tail("one", "a", of_one), tail("two", "b", "10%")];
    let server = TestServer::with(&policies("10%")).await;
    let mut sampler = server.sampler("sampler-0").await;
    let before = sampler.accept_rules().await;
    let old = |policy, errors| tail_count(&before, policy, errors, (100, 10));
    sampler.report(vec![old("one", 5), old("two", 5)]).await;
    eventually("the first counts", || total(&server, "two")[0] == 105).await;
    let has_rate = |policy| counts(&server, policy).unwrap().otherwise.is_some();
    assert!(has_rate("one") && has_rate("two"));

    server.control.publish(resolved(&policies("20%")));
    assert_eq!(total(&server, "one"), [105, 15, 100, 10]);
    assert_eq!(total(&server, "two"), [105, 15, 100, 10]);
    assert!(!has_rate("one") && has_rate("two"));
    let after = sampler.accept_rules().await;
    // Decisions by the old rules that are reported late are in the window only where the rules are the
    // same.
    let late = vec![
        tail_count(&before, "one", 9, (110, 11)),
        tail_count(&before, "two", 9, (110, 11)),
        tail_count(&after, "one", 1, (0, 0)),
        tail_count(&after, "two", 1, (0, 0)),
    ];
    sampler.report(late).await;
    eventually("the later counts", || total(&server, "two")[0] == 120).await;
    assert_eq!(total(&server, "one"), [120, 21, 110, 11]);
    assert!(!has_rate("one") && has_rate("two"));

    server.control.publish(resolved(&[tail("one", "b", "20%")]));
    assert_eq!(total(&server, "one"), [120, 21, 110, 11]);
    assert_eq!(counts(&server, "two"), None);
    let metric = "spoor_control_tail_policy_traces_decided_total";
    let of_one = r#"{namespace="default",policy="one"}"#;
    server
        .wait_for_metric(&format!("{metric}{of_one} 120"))
        .await;

    // A policy that has decided nowhere in the meantime begins again.
    server.control.publish(resolved(&policies("20%")));
    assert_eq!(total(&server, "two"), [0; 4]);
}

#[tokio::test]
async fn restarted_sampler_counts_from_zero() {
    let server = TestServer::with(&[tail("one", "a", "10%")]).await;
    let mut first = server.sampler("sampler-0").await;
    let rules = first.accept_rules().await;
    let count = |errors| vec![tail_count(&rules, "one", errors, (0, 0))];
    first.report(count(5)).await;
    eventually("the first counts", || total(&server, "one")[0] == 5).await;
    let restarted = Message::Hello(proto::SamplerHello {
        held: rules.version,
        held_digest: rules.digest.clone(),
        ..hello("sampler-0", "start-2")
    });
    let second = server.sampler_with("", restarted).await.unwrap();
    second.report(count(2)).await;
    eventually("counts of the new process", || {
        total(&server, "one")[0] == 7
    })
    .await;
    // The first process is not counted twice if it connects again.
    let first = server.sampler("sampler-0").await;
    first.report(count(6)).await;
    eventually("counts of the old process", || {
        total(&server, "one")[0] == 8
    })
    .await;
}

#[rstest]
#[case::version_missing("NoVersion", |count: &mut TailCount| count.version = None)]
#[case::version_never_sent("NeverSent", |count: &mut TailCount| {
    count.version.as_mut().unwrap().sequence += 1;
})]
#[case::unknown_policy("UnknownPolicy", |count: &mut TailCount| {
    count.policy = "other".to_owned();
})]
#[case::unknown_rule("UnknownRule", |count: &mut TailCount| {
    count.rules[0].rule = "other".to_owned();
})]
#[case::more_kept("KeptOverDecided", |count: &mut TailCount| count.unmatched_kept = 101)]
#[case::another_sum("SumMismatch", |count: &mut TailCount| count.decided += 1)]
#[case::fewer("Decreased", |count: &mut TailCount| {
    count.rules[0].kept -= 1;
    count.decided -= 1;
})]
#[case::too_many("Implausible", |count: &mut TailCount| {
    count.unmatched = u64::MAX / 2;
    count.decided = count.unmatched + 5;
})]
#[tokio::test]
async fn forged_counts_are_rejected(#[case] reason: &str, #[case] forge: fn(&mut TailCount)) {
    let server = TestServer::with(&[tail("one", "a", "10%"), tail("two", "b", "10%")]).await;
    let mut sampler = server.sampler("sampler-0").await;
    let rules = sampler.accept_rules().await;
    let first = tail_count(&rules, "one", 5, (100, 10));
    sampler.report(vec![first.clone()]).await;
    eventually("the first counts", || total(&server, "one")[0] == 105).await;
    let mut forged = first;
    forge(&mut forged);
    let valid = tail_count(&rules, "two", 7, (0, 0));
    sampler.report(vec![valid.clone(), forged]).await;
    let line = format!(r#"spoor_control_tail_rejected_messages_total{{reason="{reason}"}} 1"#);
    server.wait_for_metric(&line).await;
    assert_eq!(total(&server, "one")[0], 105);
    assert_eq!(total(&server, "two")[0], 0);
    // The stream stays open.
    sampler.report(vec![valid]).await;
    eventually("the valid counts", || total(&server, "two")[0] == 7).await;
}

#[tokio::test]
async fn invalid_acknowledgement_is_rejected() {
    let server = TestServer::with(&[tail("one", "a", "10%")]).await;
    let mut sampler = server.sampler("sampler-0").await;
    let mut version = sampler.rules().await.version;
    version.as_mut().unwrap().sequence += 1;
    let acknowledgement = proto::Acknowledgement { version };
    sampler
        .send(Message::Acknowledgement(acknowledgement))
        .await;
    server
        .wait_for_metric(r#"spoor_control_tail_rejected_messages_total{reason="NeverSent"} 1"#)
        .await;
    let states = server.control.samplers(&Namespace::default());
    assert_eq!(states[0].held, None);
}

/// `otherwise` is a share of all traces, and samplers do not receive those that a head dropped.
#[tokio::test]
async fn verdict_is_unknown_behind_a_partial_head() {
    let server = TestServer::empty(ControlSettings {
        window: Duration::from_secs(6),
        ..ControlSettings::default()
    })
    .await;
    let tail = tail("one", "a", "10%");
    server.control.publish(resolved(slice::from_ref(&tail)));
    let mut sampler = server.sampler("sampler-0").await;
    let rules = sampler.accept_rules().await;
    sampler
        .report(vec![tail_count(&rules, "one", 0, (10_000, 1_000))])
        .await;
    let verdict = || {
        let counts = counts(&server, "one")?;
        Some(counts.otherwise?.verdict)
    };
    eventually("a verdict", || verdict() == Some(Verdict::Consistent)).await;
    let head = head("two", "a", percent("50%"));
    server.control.publish(resolved(&[tail, head]));
    assert_eq!(verdict(), Some(Verdict::Unknown));
}
