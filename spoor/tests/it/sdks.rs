//! Unmodified SDKs, used as docs/sdks.md describes: its programs and commands, with only the ports
//! changed.

mod example;
mod page;
mod rust;
mod service;
mod variables;

use rstest::rstest;

use crate::{
    lab::eventually,
    lessons::script::{blocks, run},
    peer::has_programs,
};
use example::Example;
use page::{GO, JAVA, JAVASCRIPT, Language, PYTHON, RUST, section, settings};
use service::Service;

/// For 1000 traces at 10 %: more than 5 standard deviations on each side.
const TEN_PERCENT: std::ops::RangeInclusive<u64> = 50..=150;

#[rstest]
fn page_prints_the_programs(#[values(GO, JAVA, JAVASCRIPT, PYTHON, RUST)] language: Language) {
    let folder = language.folder;
    let (printed, source) = (language.printed(), language.source());
    assert_eq!(printed, source, "docs/sdks.md and docs/sdks/{folder}");
}

#[rstest]
#[case::go(GO, true)]
#[case::java(JAVA, true)]
#[case::javascript(JAVASCRIPT, false)]
#[tokio::test(flavor = "multi_thread")]
async fn follows_head_policies(#[case] language: Language, #[case] follows_rate_limits: bool) {
    let test = format!("the {} program of docs/sdks.md", language.heading);
    if !has_programs(&test, language.tools) {
        return;
    }
    let example = Example::new(language).await;
    let mut service = example.start();
    service
        .wait_for_sampled("100 % at first", |sampled| sampled == 1000)
        .await;

    example.apply_head("probability: 0%").await;
    service
        .wait_for_sampled("0 %", |sampled| sampled == 0)
        .await;
    example.apply_head("probability: 10%").await;
    service
        .wait_for_sampled("10 %", |sampled| sampled > 0)
        .await;
    let sampled = service.sampled().await;
    assert!(TEN_PERCENT.contains(&sampled), "{sampled} of 1000 at 10 %");
    example.wait_until_polling().await;

    example.apply_head("probability: 100%").await;
    service
        .wait_for_sampled("100 %", |sampled| sampled == 1000)
        .await;
    example.apply_head("rateLimit: {tracesPerSecond: 5}").await;
    if follows_rate_limits {
        service
            .wait_for_sampled("5 a second", |sampled| sampled < 50)
            .await;
    } else {
        assert!(keeps_all(&mut service).await, "rate limits are ignored");
    }
    let policy = example.language.service();
    example.lab.ok(&["delete", &policy]).await;
    service
        .wait_for_sampled("no policy", |sampled| sampled == 1000)
        .await;

    example.wait_for_traces().await;
    drop(service);
    variables::assert_read_as_documented(&example).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_follows_tail_rules_only() {
    if !has_programs("the Python program of docs/sdks.md", PYTHON.tools) {
        return;
    }
    let example = Example::new(PYTHON).await;
    let mut service = example.start();
    service
        .wait_for_sampled("100 % at first", |sampled| sampled == 1000)
        .await;
    example.apply_head("probability: 0%").await;
    assert!(keeps_all(&mut service).await, "head policies are ignored");
    example.wait_for_traces().await;

    let policy = blocks(&section("SDKs that ignore head policies"), "sh");
    let ended = run(&example.lab, &format!("set -e\n{policy}"), &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let decided = || async {
        (
            example.decided("kept").await,
            example.decided("dropped").await,
        )
    };
    let enough = |(kept, dropped): &(f64, f64)| kept + dropped >= 2000.0;
    let (kept, dropped) = eventually("traces are decided on", decided, enough).await;
    let share = kept / (kept + dropped);
    // For 2000 traces: more than 7 standard deviations on each side.
    assert!((0.05..0.15).contains(&share), "{share} of all traces kept");
    drop(service);
    variables::assert_read_as_documented(&example).await;
}

/// True if every trace is sampled for longer than any client waits between two polls.
async fn keeps_all(service: &mut Service) -> bool {
    for _ in 0..4 {
        if service.sampled().await != 1000 {
            return false;
        }
    }
    true
}
