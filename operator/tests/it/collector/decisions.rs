//! The same traces and the same policies through the Collector and through the lab's own tail
//! sampler: the same decisions, trace by trace.

use std::{collections::BTreeSet, time::Duration};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, trace_service_client::TraceServiceClient,
};
use prost::Message;
use rstest::rstest;
use serde_json::json;
use spoor_api::KeepRule;
use spoor_policy::TailTable;
use spoor_traces::{Pipeline, PipelineSettings, TailSettings, TraceId};
use tokio_util::sync::CancellationToken;

use super::{
    configuration::{ListenAddresses, Upstreams, relocated},
    fixtures::{Fixture, HOSTILE_KEY, HOSTILE_OPERATION, HOSTILE_SERVICE, fixtures},
    objects,
    program::{Program, total},
    sink::Sink,
    stack, table,
};
use crate::apiserver::eventually;

const TRACE_COUNT: usize = 3000;

/// Rules of every form, for services and operations whose names try to break out.
fn specs() -> [Vec<String>; 3] {
    let hostile = json!({
        "targets": [
            {"service": HOSTILE_SERVICE, "operations": [HOSTILE_OPERATION]},
            {"service": "c"},
        ],
        "tail": {"otherwise": "50%", "keep": [
            {"name": "hostile", "attribute": {"key": HOSTILE_KEY, "values": ["gold", "0.25", "false"]}},
        ]},
    })
    .to_string();
    let of_a = "{targets: [{service: a}], tail: {otherwise: 10%, keep: [
        {name: errors, error: {}}, {name: slow, slowerThan: 500ms},
        {name: gold, attribute: {key: customer.tier, values: [gold, '7', '-3', 'true']}}]}}";
    let of_one_operation =
        "{targets: [{service: a, operations: [GET /op]}], tail: {otherwise: 0%}}";
    let of_services = [of_a, of_one_operation, &hostile];
    let of_the_namespace = "{tail: {otherwise: 25%, keep: [{name: slow, slowerThan: 2ms}]}}";
    let all_or_nothing = [
        "{targets: [{service: a}], tail: {otherwise: 100%}}",
        "{tail: {otherwise: 0%}}",
    ];
    [
        of_services.map(str::to_owned).to_vec(),
        [of_one_operation, &hostile, of_the_namespace]
            .map(str::to_owned)
            .to_vec(),
        all_or_nothing.map(str::to_owned).to_vec(),
    ]
}

#[test]
fn every_condition_is_compared() {
    let specs = specs().concat().concat();
    for field in KeepRule::CONDITIONS {
        assert!(specs.contains(&format!("{field}: ")), "{field}: {specs}");
    }
}

#[rstest]
#[case::of_services(0)]
#[case::of_the_namespace(1)]
#[case::all_or_nothing(2)]
#[tokio::test(flavor = "multi_thread")]
async fn collector_and_lab_decide_alike(#[case] number: usize) {
    let Some(program) = super::program("collector_and_lab_decide_alike") else {
        return;
    };
    let specs = specs()[number].clone();
    let table = table(&specs.iter().map(String::as_str).collect::<Vec<_>>());
    let fixtures = fixtures(TRACE_COUNT, number as u64);
    let expected = kept_by_the_lab(&fixtures, &table).await;

    let stack = stack("{gatherWait: 1s, decisionWait: 3s}");
    let objects = objects(&stack, &table);
    let sink = Sink::start().await;
    let addresses = ListenAddresses::on_free_ports();
    let upstreams = Upstreams {
        next: sink.address,
        counts_endpoint: sink.address,
    };
    let config = relocated(&objects.decide, &addresses, &upstreams);
    let decide = Program::start(&program, &objects.decide, &config, addresses).await;
    let addresses = ListenAddresses::on_free_ports();
    let upstreams = Upstreams {
        next: decide.addresses.grpc,
        counts_endpoint: sink.address,
    };
    let config = relocated(&objects.gather, &addresses, &upstreams);
    let gather = Program::start(&program, &objects.gather, &config, addresses).await;

    send(&gather, &fixtures).await;
    eventually(
        "all traces are decided",
        Duration::from_secs(60),
        async || {
            let name = "otelcol_processor_tail_sampling_global_count_traces_sampled";
            let decided = total(&decide.metrics().await, name);
            if decided >= TRACE_COUNT as f64 {
                Ok(())
            } else {
                Err(format!("{decided} of {TRACE_COUNT}"))
            }
        },
    )
    .await;
    // On shutdown, a Collector sends the traces that it holds.
    gather.stop().await;
    decide.stop().await;

    let received = sink.received();
    let differ: Vec<&Fixture> = fixtures
        .iter()
        .filter(|trace| {
            received.contains_key(&trace.trace_id) != expected.contains(&trace.trace_id)
        })
        .collect();
    let shown: Vec<String> = differ
        .iter()
        .take(10)
        .map(|trace| {
            format!(
                "the lab keeps it: {}: {}",
                expected.contains(&trace.trace_id),
                trace.description
            )
        })
        .collect();
    assert!(
        differ.is_empty(),
        "{} differ:\n{}",
        differ.len(),
        shown.join("\n")
    );
    for trace in fixtures
        .iter()
        .filter(|trace| expected.contains(&trace.trace_id))
    {
        let spans = &received[&trace.trace_id];
        assert_eq!(spans.len(), trace.spans(), "spans: {}", trace.description);
        assert!(
            spans.values().all(|times| *times == 1),
            "once: {}",
            trace.description
        );
    }
    assert!(
        (1..TRACE_COUNT).contains(&expected.len()),
        "{}",
        expected.len()
    );
}

/// The ids of the traces that the lab's sampler keeps.
async fn kept_by_the_lab(fixtures: &[Fixture], table: &TailTable) -> BTreeSet<Vec<u8>> {
    let settings = PipelineSettings {
        tail: TailSettings {
            decision_wait: Duration::from_secs(600),
            max_trace_duration: Duration::from_secs(600),
            ..TailSettings::default()
        },
        ..PipelineSettings::default()
    };
    let stop = CancellationToken::new();
    let pipeline = Pipeline::start(settings, stop.clone());
    pipeline.set_tail(table.clone());
    for request in requests(fixtures) {
        pipeline.accept(&request.encode_to_vec()).unwrap();
    }
    pipeline.drain().await;
    let kept = fixtures.iter().filter(|trace| {
        let id = TraceId::from_bytes(trace.trace_id.as_slice().try_into().unwrap());
        pipeline.store().trace(id).is_some()
    });
    let kept = kept.map(|trace| trace.trace_id.clone()).collect();
    stop.cancel();
    kept
}

/// Children first and then roots, a hundred traces per request.
fn requests(fixtures: &[Fixture]) -> impl Iterator<Item = ExportTraceServiceRequest> {
    fixtures.chunks(100).flat_map(|some| {
        [1, 0].map(|part| ExportTraceServiceRequest {
            resource_spans: some
                .iter()
                .map(|trace| trace.resources[part].clone())
                .collect(),
        })
    })
}

async fn send(gather: &Program, fixtures: &[Fixture]) {
    let endpoint = format!("http://{}", gather.addresses.grpc);
    let mut client = TraceServiceClient::connect(endpoint).await.unwrap();
    for request in requests(fixtures) {
        client.export(request).await.unwrap();
    }
}
