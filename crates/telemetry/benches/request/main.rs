//! The cost of telemetry for a request: the same two services without layers, with tracing off, and
//! sampling 1 % or everything.
//!
//! First in the process, where nothing but the layers and the handlers runs, in nanoseconds;
//! then over loopback with real connections, in microseconds. The variants take turns, so that
//! a slow moment of the machine hits all of them, and each figure is the median of its turns.
#![allow(clippy::unwrap_used, missing_docs)]

mod stack;

use std::time::{Duration, Instant};

use stack::{Mesh, Variant};

const IN_PROCESS: Plan = Plan {
    turns: 41,
    requests: 4_000,
    warm_up: 4_000,
};
const LOOPBACK: Plan = Plan {
    turns: 41,
    requests: 1_000,
    warm_up: 1_000,
};

struct Plan {
    turns: usize,
    requests: usize,
    warm_up: usize,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let in_process = measure(&runtime, &IN_PROCESS, |variant| {
        runtime.block_on(Mesh::in_process(variant))
    });
    print(
        "request through the layers, in the process",
        "ns",
        1.0,
        &in_process,
    );
    let loopback = measure(&runtime, &LOOPBACK, |variant| {
        runtime.block_on(Mesh::over_loopback(variant))
    });
    print(
        "request A → B over loopback, one at a time",
        "µs",
        1e-3,
        &loopback,
    );
}

/// Nanoseconds a request, for each variant.
fn measure(
    runtime: &tokio::runtime::Runtime,
    plan: &Plan,
    start: impl Fn(Variant) -> Mesh,
) -> Vec<(Variant, f64)> {
    let mut meshes: Vec<_> = Variant::ALL
        .map(|variant| (variant, start(variant), Vec::new()))
        .into();
    for (_, mesh, _) in &meshes {
        turn(runtime, mesh, plan.warm_up);
    }
    for _ in 0..plan.turns {
        for (_, mesh, times) in &mut meshes {
            times.push(turn(runtime, mesh, plan.requests));
        }
    }
    meshes
        .into_iter()
        .map(|(variant, mesh, times)| {
            runtime.block_on(mesh.stop());
            (variant, median(times))
        })
        .collect()
}

fn turn(runtime: &tokio::runtime::Runtime, mesh: &Mesh, requests: usize) -> f64 {
    mesh.inside(|| {
        runtime.block_on(async {
            let started = Instant::now();
            for _ in 0..requests {
                mesh.request().await;
            }
            nanoseconds(started.elapsed()) / f64::from(u32::try_from(requests).unwrap())
        })
    })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

fn print(title: &str, unit: &str, scale: f64, figures: &[(Variant, f64)]) {
    let off = figures
        .iter()
        .find(|(variant, _)| *variant == Variant::Disabled)
        .unwrap()
        .1;
    println!("\n{title}\n{:24}{:>10}{:>14}", "", unit, "against off");
    for (variant, nanoseconds) in figures {
        let time = nanoseconds * scale;
        let against = (nanoseconds / off - 1.0) * 100.0;
        println!("{:24}{time:>10.1}{against:>+13.2}%", variant.name());
    }
}
