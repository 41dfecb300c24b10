//! A request over HTTP, from its start to its response.

use std::{sync::Arc, time::Instant};

use http::StatusCode;
use opentelemetry::{
    Context, KeyValue,
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
        self.is_over = true;
        let span = self.context.span();
        let code = status.as_u16();
        self.operation.observe(
            Outcome::Http(code),
            self.started.elapsed(),
            span.span_context(),
        );
        // Without its own span, the context holds another one, which is not recorded here.
        if !span.is_recording() {
            return;
        }
        span.set_attribute(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(code)));
        // By the semantic conventions for HTTP, a 4xx is not an error of the server.
        let is_error = match self.side {
            SpanKind::Client => code >= 400,
            _ => status.is_server_error(),
        };
        if is_error {
            span.set_attribute(KeyValue::new(ERROR_TYPE, code.to_string()));
            span.set_status(Status::error(""));
        }
        span.end();
    }

    /// Ends the request without a response.
    pub(super) fn fail(mut self, error_type: &'static str, description: String) {
        self.record_failure(error_type, description);
    }

    fn record_failure(&mut self, error_type: &'static str, description: String) {
        self.is_over = true;
        let span = self.context.span();
        self.operation.observe(
            Outcome::NoResponse,
            self.started.elapsed(),
            span.span_context(),
        );
        if span.is_recording() {
            span.set_attribute(KeyValue::new(ERROR_TYPE, error_type));
            span.set_status(Status::error(description));
            span.end();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_over {
            let description = match self.side {
                SpanKind::Client => "cancelled before the response",
                _ => "the client disconnected before the response",
            };
            self.record_failure("cancelled", description.to_owned());
        }
    }
}
