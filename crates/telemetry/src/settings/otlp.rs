//! The OTLP exporter's settings.

use std::{path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use spoor_runtime::{
    Environment,
    otel::{self, Protocol},
};

use super::pairs;

/// An OTLP receiver.
#[derive(Clone, derive_more::Debug)]
pub struct OtlpSettings {
    /// `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, else `OTEL_EXPORTER_OTLP_PROTOCOL`, else gRPC.
    pub protocol: Protocol,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, else `OTEL_EXPORTER_OTLP_ENDPOINT` (to which
    /// `/v1/traces` is added for HTTP), else port 4317 or 4318 of localhost.
    pub endpoint: Uri,
    /// `OTEL_EXPORTER_OTLP_HEADERS`, overridden by `OTEL_EXPORTER_OTLP_TRACES_HEADERS`. Their
    /// values are secret.
    // Names only, since values may be credentials.
    #[debug("{:?}", headers.keys().collect::<Vec<_>>())]
    pub headers: HeaderMap,
    /// `OTEL_EXPORTER_OTLP_(TRACES_)TIMEOUT` (ms): the timeout of one request. Default: 10 s.
    pub timeout: Duration,
    /// `OTEL_EXPORTER_OTLP_(TRACES_)COMPRESSION`.
    pub compression: OtlpCompression,
    /// `OTEL_EXPORTER_OTLP_(TRACES_)CERTIFICATE`: the file with the CA certificates for the
    /// receiver, as PEM. If unset, the system's.
    pub certificate: Option<PathBuf>,
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

pub(super) fn read(environment: &mut Environment<'_>) -> Option<OtlpSettings> {
    let protocol = otel::protocol(environment);
    let compression = environment.first(&[
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    ]);
    let compressions = [
        ("none", OtlpCompression::None),
        ("gzip", OtlpCompression::Gzip),
    ];
    let compression =
        environment.choice(compression, &compressions, "must be \"gzip\" or \"none\"");
    let timeout = environment.milliseconds(
        &[
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "OTEL_EXPORTER_OTLP_TIMEOUT",
        ],
        Duration::from_secs(10),
    );
    let headers = headers(environment);
    let certificate = environment.first(&[
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
    ]);
    Some(OtlpSettings {
        protocol,
        endpoint: otel::traces_endpoint(environment, protocol)?,
        headers,
        timeout,
        compression: compression.unwrap_or_default(),
        certificate: certificate.map(|(_, path)| PathBuf::from(path)),
    })
}

fn headers(environment: &mut Environment<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for setting in [
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    ] {
        let Some(text) = environment.text(setting) else {
            continue;
        };
        match header_map(&text) {
            Some(map) => headers.extend(map),
            None => environment.add_error(
                setting,
                "must be name=value pairs separated by commas, with special characters \
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
