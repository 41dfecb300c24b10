//! A request that an HTTP server answers, from its admission to its response.

use std::{sync::Arc, time::Instant};

use axum::body::Body;
use http::Response;
use opentelemetry::{
    Context, KeyValue,
    trace::{Status, TraceContextExt},
};
use opentelemetry_semantic_conventions::attribute::{ERROR_TYPE, HTTP_RESPONSE_STATUS_CODE};

use crate::{
    edge,
    metrics::{Operation, Outcome},
};

/// A request being answered. Dropped before its end, it counts as unanswered.
pub(super) struct Exchange {
    pub(super) operation: Arc<Operation>,
    started: Instant,
    pub(super) context: Context,
    answered: bool,
}

impl Exchange {
    pub(super) fn new(operation: Arc<Operation>, started: Instant, context: Context) -> Self {
        Self {
            operation,
            started,
            context,
            answered: false,
        }
    }

    pub(super) fn event(&self, name: &'static str, attributes: impl FnOnce() -> Vec<KeyValue>) {
        let span = self.context.span();
        if span.is_recording() {
            span.add_event(name, attributes());
        }
    }

    pub(super) fn end(mut self, mut response: Response<Body>) -> Response<Body> {
        self.answered = true;
        if let Some(headers) = edge::response_headers(&self.context) {
            for (name, value) in headers {
                response.headers_mut().insert(name, value);
            }
        }
        let status = response.status();
        let span = self.context.span();
        if span.is_recording() {
            let code = status.as_u16();
            span.set_attribute(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(code)));
            if status.is_server_error() {
                span.set_attribute(KeyValue::new(ERROR_TYPE, code.to_string()));
                span.set_status(Status::error(""));
            }
            span.end();
        }
        self.operation.observe(
            Outcome::Http(status.as_u16()),
            self.started.elapsed(),
            span.span_context(),
        );
        response
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.answered {
            let span = self.context.span();
            span.set_attribute(KeyValue::new(ERROR_TYPE, "cancelled"));
            span.set_status(Status::error("the client went away before the answer"));
            span.end();
            self.operation.observe(
                Outcome::NoAnswer,
                self.started.elapsed(),
                span.span_context(),
            );
        }
    }
}
