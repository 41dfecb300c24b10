//! The time of a root span's start and end with the live sampler, side by side with the SDK's
//! sampler.
//!
//! `cargo bench -p spoor-telemetry --bench sampler`
#![allow(missing_docs, clippy::expect_used)]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::{
    Context,
    trace::{Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, ShouldSample};
use spoor_policy::Probability;
use spoor_proto::spoor::control::v1::{
    OperationStrategy, Phase, Plan, Strategy, Version, strategy::Strategy::ProbabilityMillionths,
};
use spoor_telemetry::sampler::{Live, LiveSampler};

/// The spans between two readings of the clock.
const SPANS_PER_BATCH: u32 = 20_000;
/// The batches of each sampler, alternating, so that a change of the machine's speed affects both.
const BATCHES: usize = 150;
const NAME: &str = "GET /";

fn main() {
    println!("A root span's start and end through the SDK's tracer, median of {BATCHES} batches\n");
    println!(
        "{:<34} {:>10} {:>10} {:>7}",
        "kept, and the live plan", "SDK", "live", "ratio"
    );
    for millionths in [0, 1_000, 10_000, 1_000_000] {
        for (plan, operations) in [("default only", 0), ("100 operations", 100)] {
            let sdk = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                f64::from(millionths) / 1e6,
            )));
            let (sdk, live) = compare(&tracer(sdk), &tracer(live(millionths, operations)));
            println!(
                "{:<34} {:>7.1} ns {:>7.1} ns {:>7.2}",
                format!("{}%, {plan}", f64::from(millionths) / 1e4),
                nanos(sdk),
                nanos(live),
                live.as_secs_f64() / sdk.as_secs_f64(),
            );
        }
    }
    println!(
        "\nThe live sampler writes the threshold into the tracestate of kept spans (ot=th), with three allocations."
    );
}

fn live(millionths: u32, operations: u32) -> LiveSampler {
    let strategy = || Strategy {
        strategy: Some(ProbabilityMillionths(millionths)),
    };
    let others = (1..operations).map(|number| format!("GET /items/{number}"));
    let names = others.chain((operations > 0).then(|| NAME.to_owned()));
    let operations = names
        .map(|operation| OperationStrategy {
            operation,
            strategy: Some(strategy()),
        })
        .collect();
    let live = Live::default();
    live.install(Plan {
        version: Some(Version {
            epoch: 1,
            sequence: 1,
        }),
        digest: vec![1],
        phases: vec![Phase {
            until_unix_millis: None,
            default: Some(strategy()),
            operations,
        }],
    })
    .expect("a valid plan");
    LiveSampler::new(Arc::new(live), Probability::ALWAYS)
}

fn tracer(sampler: impl ShouldSample + 'static) -> SdkTracer {
    SdkTracerProvider::builder()
        .with_sampler(sampler)
        .build()
        .tracer("bench")
}

/// The median time of a batch with each tracer.
fn compare(left: &SdkTracer, right: &SdkTracer) -> (Duration, Duration) {
    let (mut lefts, mut rights) = (Vec::new(), Vec::new());
    batch(left);
    batch(right);
    for _ in 0..BATCHES {
        lefts.push(batch(left));
        rights.push(batch(right));
    }
    (median(lefts), median(rights))
}

fn batch(tracer: &SdkTracer) -> Duration {
    let context = Context::new();
    let start = Instant::now();
    for _ in 0..SPANS_PER_BATCH {
        drop(black_box(
            tracer.start_with_context(NAME, black_box(&context)),
        ));
    }
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn nanos(batch: Duration) -> f64 {
    batch.as_secs_f64() * 1e9 / f64::from(SPANS_PER_BATCH)
}
