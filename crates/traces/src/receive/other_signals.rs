//! Metrics, logs and profiles, some of which SDKs send by default: refused with an explanation, or
//! accepted and discarded.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{any, post},
};
use tonic::{Code, Status};

use super::{
    body, grpc, http,
    status::{Encoding, PartialSuccess},
};
use crate::{OtherSignals, ReceiveSettings, receiver::Receiver, request_counts::Signal};

/// The paths over HTTP.
pub(super) fn http_routes() -> Router<Receiver> {
    let over_http = |signal| {
        let handler = move |State(receiver): State<Receiver>, request: Request| async move {
            over_http(&receiver, signal, request).await
        };
        any(handler)
    };
    Router::new()
        .route("/v1/metrics", over_http(Signal::Metrics))
        .route("/v1/logs", over_http(Signal::Logs))
        // The signal is in development, which is part of the path.
        .route("/v1development/profiles", over_http(Signal::Profiles))
}

/// The methods over gRPC.
pub(super) fn grpc_routes() -> Router<Receiver> {
    let services = [
        ("metrics.v1.MetricsService", Signal::Metrics),
        ("logs.v1.LogsService", Signal::Logs),
        ("profiles.v1development.ProfilesService", Signal::Profiles),
    ];
    let mut router: Router<Receiver> = Router::new();
    for (service, signal) in services {
        let handler = move |State(receiver): State<Receiver>, request: Request| async move {
            over_grpc(&receiver, signal, request.into_body()).await
        };
        let method = format!("/opentelemetry.proto.collector.{service}/Export");
        router = router.route(&method, post(handler));
    }
    router
}

async fn over_http(receiver: &Receiver, signal: Signal, request: Request) -> Response {
    let encoding = http::encoding(request.headers()).unwrap_or(Encoding::Json);
    match discard(receiver, signal, request.into_body()).await {
        Ok(()) => http::accepted(encoding, &PartialSuccess::default()),
        Err(status) => {
            let code = match status.code() {
                // OTLP does not retry on 404: the SDK drops the batch and logs the explanation.
                Code::Unimplemented => StatusCode::NOT_FOUND,
                _ => StatusCode::BAD_REQUEST,
            };
            http::refuse(code, encoding, status.code(), status.message())
        }
    }
}

async fn over_grpc(receiver: &Receiver, signal: Signal, body: Body) -> Response {
    let response = match discard(receiver, signal, body).await {
        Ok(()) => grpc::respond(&[]),
        Err(status) => status.into_http::<tonic::body::Body>(),
    };
    response.into_response()
}

async fn discard(receiver: &Receiver, signal: Signal, mut body: Body) -> Result<(), Status> {
    let settings = receiver.settings();
    if settings.other_signals == OtherSignals::Refuse {
        return Err(Status::unimplemented(explanation(signal, settings)));
    }
    let drained = body::drain(&mut body, settings.max_body_bytes, settings.body_deadline).await;
    drained.map_err(|error| Status::invalid_argument(error.to_string()))?;
    receiver.request_counts().count_discarded(signal);
    Ok(())
}

fn explanation(signal: Signal, settings: &ReceiveSettings) -> String {
    let advice = settings.other_signals_advice;
    format!("this endpoint accepts only traces, not {signal}; {advice}")
}
