//! The OTLP exporter's settings.

use std::{fmt, path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::reader::{Reader, endpoint, pairs};

/// An OTLP receiver.
#[derive(Clone)]
pub struct OtlpSettings {
    /// `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, else `OTEL_EXPORTER_OTLP_PROTOCOL`, else gRPC.
    pub protocol: Protocol,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, else `OTEL_EXPORTER_OTLP_ENDPOINT` (to which
    /// `/v1/traces` is added for HTTP), else port 4317 or 4318 of localhost.
    pub endpoint: Uri,
    /// `OTEL_EXPORTER_OTLP_HEADERS`, overridden by `OTEL_EXPORTER_OTLP_TRACES_HEADERS`. Their
    /// values are secret.
    pub headers: HeaderMap,
    /// `OTEL_EXPORTER_OTLP_(TRACES_)TIMEOUT` (ms): of one request. 10 s unless set.
    pub timeout: Duration,
    /// `OTEL_EXPORTER_OTLP_(TRACES_)COMPRESSION`.
    pub compression: OtlpCompression,
    /// `OTEL_EXPORTER_OTLP_(TRACES_)CERTIFICATE`: the file with the certificates, as PEM, of those
    /// who may vouch for the receiver; the system's unless set.
    pub certificate: Option<PathBuf>,
}

/// OTLP's transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`.
    #[default]
    Grpc,
    /// `http/protobuf`.
    HttpProtobuf,
}

/// The compression of a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpCompression {
    /// `none`.
    #[default]
    None,
    /// `gzip`.
    Gzip,
}

impl fmt::Debug for OtlpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpSettings")
            .field("protocol", &self.protocol)
            .field("endpoint", &self.endpoint)
            // Names only, since values may be credentials.
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("timeout", &self.timeout)
            .field("compression", &self.compression)
            .field("certificate", &self.certificate)
            .finish()
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Option<OtlpSettings> {
    let protocol = protocol(reader);
    let compression = compression(reader);
    let timeout = reader.milliseconds(
        &[
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "OTEL_EXPORTER_OTLP_TIMEOUT",
        ],
        Duration::from_secs(10),
    );
    let headers = headers(reader);
    let certificate = reader.first(&[
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
    ]);
    let endpoint = traces_endpoint(reader, protocol)?;
    Some(OtlpSettings {
        protocol,
        endpoint,
        headers,
        timeout,
        compression,
        certificate: certificate.map(|(_, path)| PathBuf::from(path)),
    })
}

fn protocol(reader: &mut Reader<'_>) -> Protocol {
    let names = [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ];
    match reader.first(&names) {
        None => Protocol::default(),
        Some((name, text)) => match text.as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::HttpProtobuf,
            other => {
                reader.warn(name, other, "must be \"grpc\" or \"http/protobuf\"");
                Protocol::default()
            }
        },
    }
}

fn compression(reader: &mut Reader<'_>) -> OtlpCompression {
    let names = [
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    ];
    match reader.first(&names) {
        None => OtlpCompression::None,
        Some((name, text)) => match text.as_str() {
            "none" => OtlpCompression::None,
            "gzip" => OtlpCompression::Gzip,
            other => {
                reader.warn(name, other, "must be \"gzip\" or \"none\"");
                OtlpCompression::None
            }
        },
    }
}

fn traces_endpoint(reader: &mut Reader<'_>, protocol: Protocol) -> Option<Uri> {
    const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let example = match protocol {
        Protocol::Grpc => "http://localhost:4317",
        Protocol::HttpProtobuf => "http://localhost:4318",
    };
    if reader.text(TRACES).is_some() {
        return reader.parsed(TRACES, |text| endpoint(text, example));
    }
    let base = match reader.text(BASE) {
        Some(_) => reader.parsed(BASE, |text| endpoint(text, example))?,
        None => endpoint(example, example).ok()?,
    };
    match protocol {
        Protocol::Grpc => Some(base),
        // The specification: only the base URL gets a path, the one for traces is used as it is.
        Protocol::HttpProtobuf => below(&base, "v1/traces"),
    }
}

/// The same URL with this at the end of its path.
fn below(base: &Uri, path: &str) -> Option<Uri> {
    let path = format!("{}/{path}", base.path().trim_end_matches('/'));
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn headers(reader: &mut Reader<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for setting in [
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    ] {
        let Some(text) = reader.text(setting) else {
            continue;
        };
        match header_map(&text) {
            Some(map) => headers.extend(map),
            None => reader.fail(
                setting,
                "must be name=value pairs separated by commas, with other characters \
                 percent-encoded",
            ),
        }
    }
    headers
}

fn header_map(text: &str) -> Option<HeaderMap> {
    pairs(text)?
        .into_iter()
        .map(|(name, value)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            // Often a credential, which must not appear in debug output.
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
        })
        .collect()
}
