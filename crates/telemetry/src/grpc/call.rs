//! A call from its start to its status.

use std::{borrow::Cow, sync::Arc, time::Instant};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    trace::{SpanKind, Status, TraceContextExt},
};
use opentelemetry_semantic_conventions::attribute::{
    ERROR_TYPE, RPC_METHOD, RPC_METHOD_ORIGINAL, RPC_RESPONSE_STATUS_CODE,
};
use tonic::Code;

use super::status;
use crate::metrics::{OTHER, Operation, Operations, Outcome};

/// A call in progress, at its client or its server. If it is dropped before its status is known, it
/// counts as cancelled.
pub(super) struct Call {
    pub(super) operation: Arc<Operation>,
    pub(super) context: Context,
    started: Instant,
    side: SpanKind,
    is_over: bool,
}

impl Call {
    pub(super) fn new(operation: Arc<Operation>, context: Context, side: SpanKind) -> Self {
        Self {
            operation,
            context,
            started: Instant::now(),
            side,
            is_over: false,
        }
    }

    /// Registers the method when the service has responded, unless the service does not have it.
    pub(super) fn recognize(&mut self, operations: &Operations, head: &HeaderMap) {
        let Cow::Owned(method) = &self.operation.name else {
            return;
        };
        // The head has this status, since the response has no messages.
        if !matches!(status::of(head), Some((Code::Unimplemented, _))) {
            self.operation = operations.add("", method);
        }
    }

    /// Ends the call with a status.
    pub(super) fn finish(mut self, code: Code, message: &str) {
        self.is_over = true;
        self.record(code, message);
    }

    fn record(&self, code: Code, message: &str) {
        let span = self.context.span();
        // Metrics count every call, traced or not.
        self.operation.observe(
            Outcome::Rpc(code),
            self.started.elapsed(),
            span.span_context(),
        );
        // Without a span of its own the context holds the caller's, which is not recorded here.
        if !span.is_recording() {
            return;
        }
        // Not at the start, since a server may not know yet whether the service has the method.
        let method = match &self.operation.name {
            // A call that was cancelled before the first response is of a method that exists.
            Cow::Owned(method) if code == Code::Unimplemented => {
                span.update_name(OTHER);
                span.set_attribute(KeyValue::new(RPC_METHOD_ORIGINAL, method.clone()));
                OTHER.into()
            }
            method => method.clone(),
        };
        span.set_attribute(KeyValue::new(RPC_METHOD, method));
        let name = status::name(code);
        span.set_attribute(KeyValue::new(RPC_RESPONSE_STATUS_CODE, name));
        let is_error = match self.side {
            SpanKind::Client => code != Code::Ok,
            _ => status::is_server_error(code),
        };
        if is_error {
            span.set_attribute(KeyValue::new(ERROR_TYPE, name));
            span.set_status(Status::error(message.to_owned()));
        }
        span.end();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_over {
            self.record(Code::Cancelled, "cancelled before its end");
        }
    }
}
