//! The Collector with Spoor's sampler between two pipelines, as a process of this host. Receivers
//! stand in for the sampler and for Jaeger.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use spoor_api::TracingStack;
use spoor_operator::{
    kubernetes::apply::Manifest,
    stacks::{
        collector::{CollectorInput, Tier, pipeline_objects},
        objects::pod::PodDefaults,
    },
};
use spoor_policy::TailTable;
use tonic::Code;

use super::{
    configuration::{ListenAddresses, Upstreams, relocated},
    managed, program,
    program::{Program, assert_accepts},
    sink::Sink,
};

#[test]
fn collector_accepts_both_pipelines() {
    let Some(program) = program("collector_accepts_both_pipelines") else {
        return;
    };
    let tier = tier("{exporters: {debug: {}}}");
    assert_accepts(&program, &tier.config.data.unwrap()["config.yaml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_what_the_next_receiver_accepted() {
    let test = "accepts_what_the_next_receiver_accepted";
    let Some(pipelines) = Pipelines::start(test, "{}").await else {
        return;
    };
    for (address, receiver) in [
        (pipelines.services(), &pipelines.sampler),
        (pipelines.kept(), &pipelines.jaeger),
    ] {
        receiver.refuse(true);
        assert_eq!(export(address, 10).await, Err(Code::Unavailable));
        receiver.refuse(false);
        assert_eq!(export(address, 10).await, Ok(()));
        // Immediately: a Collector that is killed now loses nothing.
        assert_eq!(receiver.spans(), 1);
    }
    pipelines.program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_the_sampler_would_refuse() {
    let test = "refuses_what_the_sampler_would_refuse";
    let Some(pipelines) = Pipelines::start(test, "{}").await else {
        return;
    };
    assert!(export(pipelines.services(), 17 << 20).await.is_err());
    assert_eq!(pipelines.sampler.spans(), 0);
    // A span that the sampler accepted may have grown by the attribute that names its rule.
    assert_eq!(export(pipelines.kept(), 17 << 20).await, Ok(()));
    pipelines.program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queue_repeats_nothing_for_jaeger() {
    const UNREACHABLE: &str = "{exporters: {otlp_grpc/vendor: {endpoint: '127.0.0.1:9', tls: {insecure: true}, sending_queue: {queue_size: 1, num_consumers: 1}}}}";
    let test = "full_queue_repeats_nothing_for_jaeger";
    let Some(pipelines) = Pipelines::start(test, UNREACHABLE).await else {
        return;
    };
    for sent in 1..=5 {
        assert_eq!(export(pipelines.kept(), 10).await, Ok(()));
        assert_eq!(pipelines.jaeger.spans(), sent);
    }
    pipelines.program.kill();
}

/// A running Collector, and the receivers behind its pipelines.
struct Pipelines {
    program: Program,
    sampler: Sink,
    jaeger: Sink,
}

impl Pipelines {
    async fn start(test: &str, collector: &str) -> Option<Self> {
        let program = program(test)?;
        let tier = tier(collector);
        let (sampler, jaeger) = (Sink::start().await, Sink::start().await);
        let addresses = ListenAddresses::on_free_ports();
        let upstreams = Upstreams {
            next: jaeger.address,
            counts_endpoint: jaeger.address,
        };
        let mut config = relocated(&tier, &addresses, &upstreams);
        config["exporters"]["otlp_grpc/spoor-sampler"]["endpoint"] =
            json!(sampler.address.to_string());
        config["receivers"]["otlp/spoor-kept"]["protocols"]["grpc"]["endpoint"] =
            json!(addresses.peers.to_string());
        Some(Self {
            program: Program::start(&program, &tier, &config, addresses).await,
            sampler,
            jaeger,
        })
    }

    /// The address for services.
    fn services(&self) -> SocketAddr {
        self.program.addresses.grpc
    }

    /// The address for the spans that the sampler keeps.
    fn kept(&self) -> SocketAddr {
        self.program.addresses.peers
    }
}

/// The Collector of a stack with this `collector`.
pub(super) fn tier(collector: &str) -> Tier {
    let text = format!(
        "{{apiVersion: spoor.dev/v1alpha1, kind: TracingStack, metadata: {{name: tracing, namespace: default}}, spec: {{collector: {collector}}}}}"
    );
    let stack: TracingStack = serde_yaml::from_str(&text).unwrap();
    let stack = stack.validate().unwrap();
    let objects = pipeline_objects(&CollectorInput {
        stack: &stack,
        collector: managed(&stack),
        jaeger_otlp: "tracing-jaeger:4317",
        counts_endpoint: "http://spoor-policies:4318",
        tail: &TailTable::default(),
        pods: &PodDefaults::default(),
    });
    Tier {
        config: object(&objects, "ConfigMap"),
        workload: object(&objects, "Deployment"),
    }
}

/// The object of this kind.
fn object<T: DeserializeOwned>(objects: &[Manifest], kind: &str) -> T {
    let mut objects = objects.iter();
    let manifest = objects.find(|manifest| manifest.resource.kind == kind);
    serde_json::from_value(json!(manifest.unwrap().object)).unwrap()
}

/// Exports one span with a name of this length, without retries.
pub(super) async fn export(to: SocketAddr, name_bytes: usize) -> Result<(), Code> {
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        name: "x".repeat(name_bytes),
        ..Span::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    let client = TraceServiceClient::connect(format!("http://{to}")).await;
    let exported = client.unwrap().export(request).await;
    exported.map(drop).map_err(|status| status.code())
}
