//! The OTLP exporter: encodes a batch once, and sends the same bytes in each attempt.
//!
//! Source: OpenTelemetry Protocol specification 1.5, for what may be retried and when.

mod encode;
mod grpc;
mod http;

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use opentelemetry_sdk::{Resource, trace::SpanData};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::settings::{OtlpSettings, Protocol};

/// Sends batches of spans to a receiver.
pub trait Export: Send + Sync + 'static {
    /// The input of [`Export::send`]: an OTLP `ExportTraceServiceRequest` with these spans, which may
    /// be compressed.
    fn encode(&self, spans: Vec<SpanData>) -> Bytes;

    /// Prepares an encoded `ExportTraceServiceRequest` for [`Export::send`], once for all attempts: it
    /// may be compressed.
    fn prepare(&self, request: Bytes) -> Bytes {
        request
    }

    /// Starts one attempt.
    fn send(&self, batch: Bytes) -> Sending<'_>;
}

/// An attempt in progress.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<ExportResponse, Failure>> + Send + 'a>>;

/// The receiver accepted the batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportResponse {
    /// The number of spans in it that the receiver will never accept.
    pub rejected: u64,
    /// The reason.
    pub message: String,
}

/// The receiver did not accept the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The receiver may accept it later.
    Retry {
        /// The shortest delay before the next attempt, if the receiver requests one.
        after: Option<Duration>,
        /// The reason for the failure.
        reason: String,
    },
    /// The receiver will never accept this batch.
    Refused(String),
    /// The OTLP specification forbids a retry, although the batch is not the cause: the endpoint is
    /// wrong, permission is missing, or the receiver has failed. Any other batch would fail too.
    ReceiverFailed(String),
}

impl Failure {
    /// A failure that may pass, where the receiver has requested no delay.
    pub(crate) fn temporary(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Retry {
            after: None,
            reason,
        }
    }
}

/// A failure to build an exporter.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The endpoint or its TLS configuration is invalid.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: {0}")]
    Endpoint(#[from] tonic::transport::Error),
    /// The file of `OTEL_EXPORTER_OTLP_CERTIFICATE` cannot be read.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE: {} cannot be read: {source}", path.display())]
    Certificate {
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file contains no certificate.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE: {} contains no PEM certificate", .0.display())]
    NoCertificate(PathBuf),
    /// The system's root certificates cannot be loaded.
    #[error("the system's root certificates cannot be loaded: {0}")]
    Roots(#[source] std::io::Error),
}

/// An exporter to an OTLP receiver. It connects when there are spans to send.
///
/// # Errors
/// The endpoint cannot be used.
pub fn otlp(
    settings: &OtlpSettings,
    resource: &Resource,
) -> Result<Arc<dyn Export>, ExporterError> {
    let resource = resource.into();
    Ok(match settings.protocol {
        Protocol::Grpc => Arc::new(grpc::Grpc::new(settings, resource)?),
        Protocol::HttpProtobuf => Arc::new(http::Http::new(settings, resource)?),
    })
}

/// The content of a file with at least one certificate.
fn certificates(path: &Path) -> Result<Vec<u8>, ExporterError> {
    let pem = std::fs::read(path).map_err(|source| ExporterError::Certificate {
        path: path.to_owned(),
        source,
    })?;
    // One certificate shows that the path is not wrong. Others that rustls cannot use are skipped.
    match CertificateDer::pem_slice_iter(&pem).next() {
        Some(Ok(_)) => Ok(pem),
        _ => Err(ExporterError::NoCertificate(path.to_owned())),
    }
}
