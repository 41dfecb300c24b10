//! OTLP/HTTP with protobuf bodies.

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::trace::SpanData;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use spoor_runtime::with_causes;

use super::{
    Export, ExporterError, Failure, Sending, certificates,
    encode::{accepted, encode},
};
use crate::settings::{OtlpCompression, OtlpSettings};

/// The most bytes of a response that are read.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    settings: OtlpSettings,
    resource: ResourceAttributesWithSchema,
}

impl Http {
    pub(super) fn new(
        settings: &OtlpSettings,
        resource: ResourceAttributesWithSchema,
    ) -> Result<Self, ExporterError> {
        let connector = connector(settings)?;
        let mut settings = settings.clone();
        // These override the user's headers, which must not contradict the body.
        let content_type = HeaderValue::from_static("application/x-protobuf");
        settings.headers.insert(CONTENT_TYPE, content_type);
        if settings.compression == OtlpCompression::Gzip {
            let gzip = HeaderValue::from_static("gzip");
            settings.headers.insert(CONTENT_ENCODING, gzip);
        }
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            settings,
            resource,
        })
    }
}

impl Export for Http {
    fn encode(&self, spans: Vec<SpanData>) -> Bytes {
        self.prepare(encode(spans, &self.resource))
    }

    fn prepare(&self, request: Bytes) -> Bytes {
        match self.settings.compression {
            OtlpCompression::None => request,
            OtlpCompression::Gzip => gzip(&request),
        }
    }

    fn send(&self, batch: Bytes) -> Sending<'_> {
        let mut request = Request::new(Full::new(batch));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.settings.endpoint.clone();
        *request.headers_mut() = self.settings.headers.clone();
        Box::pin(async move {
            let exchange = async {
                match self.client.request(request).await {
                    Ok(response) => read_response(response).await,
                    Err(error) => Err(Failure::temporary(with_causes(&error))),
                }
            };
            tokio::time::timeout(self.settings.timeout, exchange)
                .await
                .unwrap_or_else(|_| Err(Failure::temporary("no response in time")))
        })
    }
}

/// The system's roots are loaded for https only: a container that needs none may have none.
fn connector(settings: &OtlpSettings) -> Result<HttpsConnector<HttpConnector>, ExporterError> {
    let provider = rustls::crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let is_secure = settings.endpoint.scheme_str() == Some("https");
    let own_roots = match &settings.certificate {
        Some(path) if is_secure => Some(roots(&certificates(path)?)),
        _ if is_secure => None,
        _ => Some(RootCertStore::empty()),
    };
    let builder = match own_roots {
        None => builder
            .with_provider_and_native_roots(provider)
            .map_err(ExporterError::Roots)?,
        Some(roots) => {
            let tls = ClientConfig::builder_with_provider(provider.into())
                .with_safe_default_protocol_versions()
                .map_err(|error| ExporterError::Roots(io::Error::other(error)))?
                .with_root_certificates(roots);
            builder.with_tls_config(tls.with_no_client_auth())
        }
    };
    Ok(builder.https_or_http().enable_http1().build())
}

fn roots(pem: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    roots
}

async fn read_response(response: Response<Incoming>) -> Result<super::ExportResponse, Failure> {
    let status = response.status();
    let after = retry_after(response.headers());
    // Read for any status, so that the connection can be reused.
    let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES);
    let body = body.collect().await;
    if status.is_success() {
        let accepted = body.map(|body| accepted(&body.to_bytes()));
        return Ok(accepted.unwrap_or_default());
    }
    let reason = format!("HTTP status {status}");
    Err(match status {
        // The OTLP specification retries these and no others.
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Failure::Retry { after, reason },
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Failure::Refused(reason),
        _ => Failure::ReceiverFailed(reason),
    })
}

/// The value in seconds. The date form is rare enough to fall back on our own backoff.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}
