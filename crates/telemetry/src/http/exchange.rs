//! A request over HTTP, from its start to its response.

use std::{sync::Arc, time::Instant};

use http::StatusCode;
use opentelemetry::{
    Context, KeyValue, StringValue,
    trace::{SpanKind, Status, TraceContextExt},
};
use opentelemetry_semantic_conventions::attribute::{ERROR_TYPE, HTTP_RESPONSE_STATUS_CODE};

use crate::metrics::{Operation, Outcome};

/// A request in progress, at its client or its server. If it is dropped before its end, it
/// counts as one without a response.
pub(super) struct Exchange {
    side: SpanKind,
    pub(super) operation: Arc<Operation>,
    pub(super) context: Context,
    started: Instant,
    is_over: bool,
}

impl Exchange {
    pub(super) fn new(
        side: SpanKind,
        operation: Arc<Operation>,
        started: Instant,
        context: Context,
    ) -> Self {
        Self {
            side,
            operation,
            context,
            started,
            is_over: false,
        }
    }

    /// Ends the request with a response.
    pub(super) fn finish(mut self, status: StatusCode) {
        let code = status.as_u16();
        // By the semantic conventions for HTTP, a 4xx is not an error of the server.
        let is_error = match self.side {
            SpanKind::Client => code >= 400,
            _ => status.is_server_error(),
        };
        let error = is_error.then(|| (code.to_string().into(), String::new()));
        self.record(Outcome::Http(code), error);
    }

    /// Ends the request without a response.
    pub(super) fn fail(mut self, error_type: &'static str, description: String) {
        self.record(Outcome::NoResponse, Some((error_type.into(), description)));
    }

    /// Records the outcome and, of an error, its type and description.
    fn record(&mut self, outcome: Outcome, error: Option<(StringValue, String)>) {
        self.is_over = true;
        let span = self.context.span();
        self.operation
            .observe(outcome, self.started.elapsed(), span.span_context());
        // Without its own span, the context holds another one, which is not recorded here.
        if !span.is_recording() {
            return;
        }
        if let Outcome::Http(code) = outcome {
            span.set_attribute(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(code)));
        }
        if let Some((error_type, description)) = error {
            span.set_attribute(KeyValue::new(ERROR_TYPE, error_type));
            span.set_status(Status::error(description));
        }
        span.end();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_over {
            let description = match self.side {
                SpanKind::Client => "cancelled before the response",
                _ => "the client disconnected before the response",
            };
            let error = ("cancelled".into(), description.to_owned());
            self.record(Outcome::NoResponse, Some(error));
        }
    }
}
