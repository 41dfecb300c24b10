//! The callers that an HTTP edge trusts, and the headers of its responses.
//!
//! The context of a caller from outside is not trusted. It becomes a link on a new trace, so that
//! its sampled flag never decides what is kept here, and its `tracestate` and baggage are dropped.
//! Only callers in a list of networks, which is empty by default, continue their own trace.

use std::{net::IpAddr, ops::Range, str::FromStr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};

use crate::propagation::{self, BAGGAGE, Propagator, TRACEPARENT, TRACESTATE};

/// W3C Trace Context's response header, with the trace of the response.
pub const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// The trace ID alone, for people.
pub const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// The position of the trace ID in `traceresponse`, which has the form of `traceparent`.
const TRACE_ID_IN_RESPONSE: Range<usize> = 3..35;

/// The networks whose callers are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedPeers(Vec<IpNet>);

/// Text that is not a list of networks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be networks or addresses such as \"10.0.0.0/8,::1/128\", not \"{0}\"")]
pub struct InvalidTrustedPeers(String);

/// The trace context admitted from a request's headers.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The parent of the server span: the caller's context if it is trusted, else an empty one.
    pub parent: Context,
    /// An untrusted caller's span, to be linked from the server span.
    pub link: Option<SpanContext>,
}

impl Admitted {
    /// The context of a caller inside the mesh, which is trusted at any address.
    pub(crate) fn in_mesh(headers: &HeaderMap) -> Self {
        Self {
            parent: extract(headers),
            link: None,
        }
    }
}

/// Reads the trace context of a request from `peer`. An unknown peer is not trusted.
#[must_use]
pub fn admit(trusted: &TrustedPeers, peer: Option<IpAddr>, headers: &HeaderMap) -> Admitted {
    if peer.is_some_and(|peer| trusted.contains(peer)) {
        Admitted::in_mesh(headers)
    } else {
        Admitted {
            parent: Context::new(),
            link: propagation::caller(&Headers(headers)),
        }
    }
}

/// The context in a caller's headers. Inside the mesh, every caller is trusted.
pub(crate) fn extract(headers: &HeaderMap) -> Context {
    Propagator.extract_with_context(&Context::new(), &Headers(headers))
}

/// The headers of a response to the request whose server span is in this context. `None` if there
/// is no span.
#[must_use]
pub fn response_headers(context: &Context) -> Option<[(HeaderName, HeaderValue); 2]> {
    if !context.span().span_context().is_valid() {
        return None;
    }
    // Both headers share one buffer, since every response has them.
    let response = Bytes::from(propagation::traceparent(context));
    let trace_id = response.slice(TRACE_ID_IN_RESPONSE);
    let response = HeaderValue::from_maybe_shared(response).ok()?;
    let trace_id = HeaderValue::from_maybe_shared(trace_id).ok()?;
    Some([(TRACE_RESPONSE, response), (TRACE_ID, trace_id)])
}

impl TrustedPeers {
    /// Returns whether a caller at this address is trusted.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        // A socket for both families shows IPv4 callers as `::ffff:a.b.c.d`.
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }
}

impl FromStr for TrustedPeers {
    type Err = InvalidTrustedPeers;

    /// Networks in CIDR notation or single addresses, separated by commas. Empty text means none.
    fn from_str(text: &str) -> Result<Self, InvalidTrustedPeers> {
        let entries = text.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty());
        let network = |entry: &str| {
            let network = entry
                .parse::<IpNet>()
                .or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| InvalidTrustedPeers(entry.to_owned()))
        };
        entries.map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// Header values as text. A value that is not text is replaced, so that it counts as invalid and
/// not as absent.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(name(key)?).map(text)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values: Vec<_> = self.0.get_all(name(key)?).iter().map(text).collect();
        (!values.is_empty()).then_some(values)
    }
}

/// A propagation header's name, without parsing it each time.
pub(crate) fn name(key: &str) -> Option<&'static HeaderName> {
    static NAMES: [HeaderName; 3] = [
        HeaderName::from_static(TRACEPARENT),
        HeaderName::from_static(TRACESTATE),
        HeaderName::from_static(BAGGAGE),
    ];
    NAMES.iter().find(|name| name.as_str() == key)
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("\u{fffd}")
}
