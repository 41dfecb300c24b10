//! Counts of unmodified SDKs go through a gathering Collector to the control plane.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{
        AggregationTemporality, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
        metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use prost::Message;
use spoor_control::{Control, ControlSettings, CountSource, Instance};
use spoor_policy::{Policy, PolicyFields, PolicyKey, Strategy, TailTable, resolve};
use tokio::net::TcpListener;

use super::{
    configuration::{ListenAddresses, Upstreams, relocated},
    objects,
    program::Program,
    stack,
};
use crate::apiserver::eventually;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[tokio::test]
async fn collector_forwards_counts_of_sdks() {
    let Some(collector) = super::program("collector_forwards_counts_of_sdks") else {
        return;
    };
    let (control, key) = control();
    let listener = serve(&control).await;
    let objects = objects(&stack("{}"), &TailTable::default());
    let addresses = ListenAddresses::on_free_ports();
    let upstreams = Upstreams {
        next: "127.0.0.1:1".parse().unwrap(),
        counts_endpoint: listener,
    };
    let config = relocated(&objects.gather, &addresses, &upstreams);
    let gather = Program::start(&collector, &objects.gather, &config, addresses).await;

    let url = format!("http://{}/v1/metrics", addresses.http);
    let client = reqwest::Client::new();
    let second = AtomicU64::new(0);
    eventually("the counts", Duration::from_secs(30), async || {
        let sent = client
            .post(&url)
            .header("content-type", "application/x-protobuf")
            .body(request(1 + second.fetch_add(1, Ordering::Relaxed)))
            .send()
            .await;
        assert_eq!(sent.unwrap().status(), 200);
        match control.evidence(&key).and_then(|it| it.observed) {
            Some(observed) if observed.started >= 200 => Ok(observed),
            other => Err(format!("{other:?}; {}", gather.log_tail())),
        }
    })
    .await;
    let observed = control.evidence(&key).unwrap().observed.unwrap();
    assert_eq!(observed.source, CountSource::Reported);
    assert_eq!(observed.started, observed.sampled * 10);
    gather.stop().await;
}

/// A control plane with a policy for all services, which expects one pod, of the service `stock`.
fn control() -> (Control, PolicyKey) {
    let control = Control::new(ControlSettings::default());
    let key = PolicyKey {
        namespace: Default::default(),
        name: "ten-percent".parse().unwrap(),
    };
    let head = Strategy::Probability("10%".parse().unwrap());
    let created = Timestamp::UNIX_EPOCH;
    let policy = Policy::new(PolicyFields {
        key: key.clone(),
        priority: 0,
        created,
        targets: vec![],
        head: Some(head),
        tail: None,
        expires_at: None,
    })
    .unwrap();
    control.publish(resolve(&[policy], Timestamp::now()));
    control.set_expected(vec![Instance {
        namespace: Default::default(),
        service: "stock".parse().unwrap(),
        id: "pod-1".to_owned(),
    }]);
    (control, key)
}

async fn serve(control: &Control) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = control
        .metrics_http()
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The metrics of an SDK that kept a tenth of its traces, with others that are not forwarded.
fn request(second: u64) -> Vec<u8> {
    let started = |result: &str, value: u64| NumberDataPoint {
        attributes: vec![
            text("otel.span.parent.origin", "none"),
            text("otel.span.sampling_result", result),
        ],
        start_time_unix_nano: NANOS_PER_SECOND,
        time_unix_nano: (1 + second) * NANOS_PER_SECOND,
        value: Some(number_data_point::Value::AsInt(value.cast_signed())),
        ..Default::default()
    };
    let points = vec![
        started("DROP", 90 * second),
        started("RECORD_AND_SAMPLE", 10 * second),
    ];
    let metrics = vec![
        metric("otel.sdk.span.started", points.clone()),
        metric("http.server.request.count", points),
    ];
    let resource = Resource {
        attributes: vec![text("service.name", "stock")],
        ..Default::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                metrics,
                ..Default::default()
            }],
            ..Default::default()
        }],
    }
    .encode_to_vec()
}

fn metric(name: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    Metric {
        name: name.to_owned(),
        data: Some(Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        })),
        ..Default::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..Default::default()
    }
}
