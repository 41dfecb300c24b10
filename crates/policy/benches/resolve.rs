//! The time of a resolution. Every change of a policy needs one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use jiff::{Timestamp, ToSpan};
use spoor_policy::{
    Namespace, Policy, PolicyFields, PolicyKey, Probability, Rule, RuleCondition, Strategy,
    TailPolicy, Target, resolve,
};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const ROUND_COUNT: usize = 50;

fn main() {
    println!(
        "{:<64} {:>9} {:>9}",
        "resolve, 50 services", "median", "slowest"
    );
    let service = |at: usize| vec![target(at, 0)];
    print(
        "500 policies, each for one service",
        &policies(service, false),
    );
    print(
        "500 policies, each for one service, all expire",
        &policies(service, true),
    );
    let operations = |at: usize| vec![target(at, 8)];
    print(
        "500 policies, each for 8 operations of one service",
        &policies(operations, false),
    );
    print(
        "500 policies, each for 8 operations, all expire",
        &policies(operations, true),
    );
    let many = |at: usize| (0..10).map(|step| target(at + step, 4)).collect();
    print(
        "500 policies, each for 4 operations of 10 services, all expire",
        &policies(many, true),
    );
    let all = |at: usize| (0..50).map(|step| target(at + step, 0)).collect();
    print(
        "500 policies, each for all 50 services, all expire",
        &policies(all, true),
    );
    let namespace = |at: usize| if at < 50 { vec![target(at, 0)] } else { vec![] };
    print(
        "450 policies for the namespace, 50 for a service, all expire",
        &policies(namespace, true),
    );
}

fn target(service: usize, operations: usize) -> Target {
    Target {
        service: format!("service-{}", service % 50).parse().unwrap(),
        operations: (0..operations)
            .map(|at| format!("GET /{at}").parse().unwrap())
            .collect(),
    }
}

fn policies(targets: impl Fn(usize) -> Vec<Target>, expire: bool) -> Vec<Policy> {
    let policy = |at: usize| {
        let share = Probability::from_millionths(at as u32 * 100).unwrap();
        let rule = Rule {
            name: "errors".parse().unwrap(),
            condition: RuleCondition::Error,
        };
        let key = PolicyKey {
            namespace: Namespace::default(),
            name: format!("policy-{at}").parse().unwrap(),
        };
        Policy::new(PolicyFields {
            key,
            priority: at as i32 % 7,
            created: NOW - 1.hour(),
            targets: targets(at),
            head: Some(Strategy::Probability(share)),
            tail: Some(TailPolicy::new(vec![rule], share).unwrap()),
            expires_at: expire.then(|| NOW + (1 + (at as i64 * 7_919) % 500).seconds()),
        })
        .unwrap()
    };
    (0..500).map(policy).collect()
}

fn print(title: &str, policies: &[Policy]) {
    let mut times: Vec<Duration> = (0..ROUND_COUNT)
        .map(|_| {
            let start = Instant::now();
            black_box(resolve(black_box(policies), NOW));
            start.elapsed()
        })
        .collect();
    times.sort();
    let millis = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    println!(
        "{title:<64} {:>9} {:>9}",
        millis(times[ROUND_COUNT / 2]),
        millis(times[ROUND_COUNT - 1])
    );
}
