//! OTLP/gRPC.

use std::{error::Error, time::Duration};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Uri, uri::PathAndQuery};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::trace::SpanData;
use spoor_runtime::{EncodedCodec, with_causes};
use tonic::{
    Code, Request, Status,
    codec::{CompressionEncoding, DecodeBuf},
    metadata::MetadataMap,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};
use tonic_types::StatusExt;

use super::{
    Export, ExportResponse, ExporterError, Failure, Sending, certificates,
    encode::{accepted, encode},
};
use crate::{
    grpc::{Transport, status},
    settings::{OtlpCompression, OtlpSettings},
};

const EXPORT_PATH: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");

/// The time without a response to a batch after which the receiver is pinged, and the timeout of
/// the ping. Without it, a connection to a receiver that vanished would be used for as long as the
/// operating system retransmits, about 15 minutes.
const MAX_SILENCE: Duration = Duration::from_secs(3);

pub(super) struct Grpc {
    client: tonic::client::Grpc<Transport>,
    headers: HeaderMap,
    resource: ResourceAttributesWithSchema,
}

impl Grpc {
    pub(super) fn new(
        settings: &OtlpSettings,
        resource: ResourceAttributesWithSchema,
    ) -> Result<Self, ExporterError> {
        let mut endpoint = Endpoint::from(origin(&settings.endpoint))
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout)
            .http2_keep_alive_interval(MAX_SILENCE)
            .keep_alive_timeout(MAX_SILENCE);
        if settings.endpoint.scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(tls(settings)?)?;
        }
        let client = tonic::client::Grpc::new(Transport::lazy(endpoint));
        let client = match settings.compression {
            OtlpCompression::None => client,
            OtlpCompression::Gzip => client.send_compressed(CompressionEncoding::Gzip),
        };
        Ok(Self {
            client,
            headers: settings.headers.clone(),
            resource,
        })
    }
}

impl Export for Grpc {
    fn encode(&self, spans: Vec<SpanData>) -> Bytes {
        encode(spans, &self.resource)
    }

    fn send(&self, batch: Bytes) -> Sending<'_> {
        let mut client = self.client.clone();
        Box::pin(async move {
            // tower requires this before each call.
            let ready = client.ready().await;
            ready.map_err(|error| Failure::temporary(with_causes(&*error)))?;
            let mut request = Request::new(batch);
            *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
            let response = client.unary(request, EXPORT_PATH, EncodedCodec(raw)).await;
            let response = response.map_err(|status| failure(&status))?;
            Ok::<ExportResponse, Failure>(accepted(&response.into_inner()))
        })
    }
}

fn tls(settings: &OtlpSettings) -> Result<ClientTlsConfig, ExporterError> {
    let tls = ClientTlsConfig::new();
    let Some(path) = &settings.certificate else {
        return Ok(tls.with_enabled_roots());
    };
    Ok(tls.ca_certificate(Certificate::from_pem(certificates(path)?)))
}

/// The endpoint without its path, which is ignored, since gRPC defines the paths of its methods.
fn origin(endpoint: &Uri) -> Uri {
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_else(|_| endpoint.clone())
}

fn failure(status: &Status) -> Failure {
    let retry_info = status.get_details_retry_info();
    let after = retry_info.and_then(|info| info.retry_delay);
    let reason = reason(status);
    match status.code() {
        // The retryable codes of the OTLP specification, section "Failures".
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Failure::Retry { after, reason },
        // A source means that the connection failed, for example with `ENHANCE_YOUR_CALM`, which is
        // a `ResourceExhausted`.
        _ if status.source().is_some() => Failure::Retry { after, reason },
        // Retryable only if the receiver signals with a `RetryInfo` that it can recover.
        Code::ResourceExhausted if after.is_some() => Failure::Retry { after, reason },
        Code::ResourceExhausted | Code::InvalidArgument => Failure::Refused(reason),
        _ => Failure::ReceiverFailed(reason),
    }
}

/// The receiver's message, or the root cause of the connection's failure.
fn reason(status: &Status) -> String {
    let name = status::name(status.code());
    // tonic's own message is only "transport error"; the helpful cause is the last.
    let mut root = status.source();
    while let Some(cause) = root.and_then(Error::source) {
        root = Some(cause);
    }
    match root {
        None => format!("{name}: {}", status.message()),
        Some(root) => format!("{name}: {}: {root}", status.message()),
    }
}

/// Returns the bytes of a response, since one that cannot be decoded also means acceptance.
fn raw(response: &mut DecodeBuf<'_>) -> Result<Bytes, Status> {
    Ok(response.copy_to_bytes(response.remaining()))
}
