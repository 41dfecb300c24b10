//! The export of a process's own spans to a receiver.

use std::{collections::HashMap, net::SocketAddr};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use spoor_runtime::{
    SettingsReader,
    self_tracing::{SelfTracing, SelfTracingSettings, record_error},
};
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{Request, Response, Status};
use tracing_subscriber::layer::SubscriberExt;

/// A target in one of Spoor's crates. The target of this test is not recorded.
const OWN: &str = "spoor_operator::stacks";

struct Receiver(mpsc::Sender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let received = self.0.try_send(request.into_inner());
        received.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn receiver() -> (SocketAddr, mpsc::Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = mpsc::channel(8);
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Receiver(sender)))
        .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
    tokio::spawn(server);
    (address, received)
}

fn start(variables: &[(&str, &str)]) -> SelfTracing {
    let mut reader = SettingsReader::default();
    let settings = SelfTracingSettings::read("spoor-operator", &mut reader, |name| {
        let pair = variables.iter().find(|(variable, _)| *variable == name);
        pair.map(|(_, value)| (*value).to_owned())
    });
    let settings = reader.finish(settings).unwrap();
    SelfTracing::start(&settings, "stacks-0").unwrap().unwrap()
}

fn work() {
    let reconcile = tracing::info_span!(
        target: OWN,
        "reconcile",
        otel.name = "reconcile TracingStack",
        otel.status_code = tracing::field::Empty,
        otel.status_description = tracing::field::Empty,
    );
    let _entered = reconcile.enter();
    tracing::info!(target: OWN, "not recorded");
    tracing::warn!(target: OWN, "recorded");
    // A span of the exporter's own client, and one below the recorded level.
    drop(tracing::info_span!("h2_frame").entered());
    drop(tracing::debug_span!(target: OWN, "detail").entered());
    drop(tracing::info_span!(target: OWN, "apply", otel.kind = "client").entered());
    record_error(&reconcile, "refused");
}

#[tokio::test]
async fn own_spans_arrive_and_no_others() {
    let (address, mut received) = receiver().await;
    let endpoint = format!("http://{address}");
    let tracing = start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let subscriber = tracing_subscriber::registry().with(tracing.layer());
    tracing::subscriber::with_default(subscriber, work);
    tracing.shutdown().await;

    let mut request = received.recv().await.unwrap();
    let resource_spans = request.resource_spans.pop().unwrap();
    let attributes = resource_spans.resource.unwrap().attributes;
    let attributes: HashMap<_, _> = attributes
        .into_iter()
        .map(|attribute| (attribute.key, attribute.value.unwrap().value.unwrap()))
        .collect();
    let text = |text: &str| Value::StringValue(text.to_owned());
    assert_eq!(attributes["service.name"], text("spoor-operator"));
    assert_eq!(attributes["service.instance.id"], text("stacks-0"));
    let spans = &resource_spans.scope_spans[0].spans;
    let [apply, reconcile]: &[Span; 2] = spans.as_slice().try_into().unwrap();
    assert_eq!(apply.kind, SpanKind::Client as i32);
    assert_eq!(apply.parent_span_id, reconcile.span_id);
    assert_eq!(reconcile.name, "reconcile TracingStack");
    let status = reconcile.status.as_ref().unwrap();
    assert_eq!(status.code, StatusCode::Error as i32);
    assert_eq!(status.message, "refused");
    let events: Vec<_> = reconcile.events.iter().map(|event| &event.name).collect();
    assert_eq!(events, ["recorded"]);
}

#[tokio::test]
async fn unsampled_spans_are_not_exported() {
    let (address, mut received) = receiver().await;
    let endpoint = format!("http://{address}");
    let tracing = start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0"),
    ]);
    let subscriber = tracing_subscriber::registry().with(tracing.layer());
    tracing::subscriber::with_default(subscriber, work);
    tracing.shutdown().await;
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn silent_receiver_does_not_block_shutdown() {
    // The connection is established by the kernel, but never accepted.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let tracing = start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let subscriber = tracing_subscriber::registry().with(tracing.layer());
    tracing::subscriber::with_default(subscriber, work);
    let shutdown = tokio::time::timeout(crate::support::DEADLINE, tracing.shutdown());
    assert!(shutdown.await.is_ok());
}
