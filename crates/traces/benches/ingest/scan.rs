//! Measures the scan of a request alone, compared with decoding it.

use std::hint::black_box;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use rustix::time::ClockId;

use crate::{
    processor_time,
    request::{Request, SPANS},
};

const ROUNDS: u64 = 20_000;

pub fn run(request: &Request) {
    let body = request.body();
    let scanning = rate(|| drop(black_box(spoor_traces::validate(black_box(body)))));
    let decoding = rate(|| {
        drop(black_box(ExportTraceServiceRequest::decode(black_box(
            body,
        ))))
    });
    println!("scan only: {scanning:>10.0} spans per core-second (decoding them: {decoding:.0})");
}

fn rate(work: impl Fn()) -> f64 {
    let started = processor_time(ClockId::ThreadCPUTime);
    for _ in 0..ROUNDS {
        work();
    }
    (ROUNDS * SPANS) as f64 / (processor_time(ClockId::ThreadCPUTime) - started)
}
