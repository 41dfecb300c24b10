//! Hints for clients that send a request to the wrong port.

use std::io;

use axum::Router;
use spoor_runtime::{Api, with_hints};

use super::addresses::LabSockets;

/// The ports that hints name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hints {
    otlp: u16,
    query: u16,
    sampling: u16,
}

impl Hints {
    pub(super) fn of(sockets: &LabSockets) -> io::Result<Self> {
        Ok(Self {
            // From the sockets, since the setting may be 0 for any free port.
            otlp: sockets.otlp_http.local_addr()?.port(),
            query: sockets.query_http.local_addr()?.port(),
            sampling: sockets.sampling_http.local_addr()?.port(),
        })
    }

    /// Adds hints to a router, except about the APIs that it serves itself.
    pub(super) fn add(self, router: Router, own: &'static [Api]) -> Router {
        with_hints(router, move |api| {
            (!own.contains(&api)).then(|| self.hint(api))
        })
    }

    fn hint(self, api: Api) -> String {
        match api {
            Api::OtlpTraces | Api::OtlpMetrics | Api::OtlpOthers => {
                format!("OTLP is accepted on port {}", self.otlp)
            }
            Api::JaegerQuery => format!("Jaeger's query API is on port {}", self.query),
            Api::JaegerSampling => format!("remote sampling is on port {}", self.sampling),
            Api::Zipkin => format!(
                "Zipkin's formats are not supported; send OTLP to port {}",
                self.otlp
            ),
        }
    }
}
