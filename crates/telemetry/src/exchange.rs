//! A request or call in progress, from the start of its span to its outcome.

use std::{borrow::Cow, sync::Arc, time::Instant};

use opentelemetry::{
    Context, KeyValue, StringValue,
    trace::{Span as _, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use opentelemetry_semantic_conventions::attribute::{
    ERROR_TYPE, HTTP_RESPONSE_STATUS_CODE, RPC_METHOD, RPC_METHOD_ORIGINAL,
    RPC_RESPONSE_STATUS_CODE,
};
use tonic::Code;

use crate::{
    grpc::status,
    metrics::{OTHER, Operation, Outcome, Side},
};

/// A request over HTTP or a call over gRPC, at its client or its server. If it is dropped before its
/// outcome is known, it counts as cancelled.
pub(crate) struct Exchange {
    pub(crate) operation: Arc<Operation>,
    pub(crate) context: Context,
    started: Instant,
    is_over: bool,
}

impl Exchange {
    pub(crate) fn new(operation: Arc<Operation>, context: Context) -> Self {
        Self {
            operation,
            context,
            started: Instant::now(),
            is_over: false,
        }
    }

    /// Ends the exchange. The description is used if the outcome is an error.
    pub(crate) fn finish(mut self, outcome: Outcome, description: String) {
        self.is_over = true;
        self.record(outcome, description);
    }

    fn record(&self, outcome: Outcome, description: String) {
        let span = self.context.span();
        // Metrics count every exchange, traced or not.
        self.operation
            .observe(outcome, self.started.elapsed(), span.span_context());
        // If this exchange has no span, its context holds another one, which is not recorded here.
        if !span.is_recording() {
            return;
        }
        match outcome {
            Outcome::Http(code) => {
                span.set_attribute(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(code)));
            }
            Outcome::Rpc(code) => {
                // Not at the start, since a server may not know yet whether the service has the
                // method.
                let method = match &self.operation.name {
                    // With any other code, the service may have the method: the call may have been
                    // cancelled before the response, for example.
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
            }
            Outcome::NoResponse(_) => {}
        }
        if self.operation.side.is_error(outcome) {
            let error_type: StringValue = match outcome {
                Outcome::Http(code) => code.to_string().into(),
                Outcome::Rpc(code) => status::name(code).into(),
                Outcome::NoResponse(error_type) => error_type.into(),
            };
            span.set_attribute(KeyValue::new(ERROR_TYPE, error_type));
            span.set_status(Status::error(description));
        }
        span.end();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let no_response = Outcome::NoResponse("cancelled");
        let (outcome, description) = match self.operation.side {
            Side::HttpClient => (no_response, "cancelled before the response"),
            Side::HttpServer => (no_response, "the client disconnected before the response"),
            Side::RpcClient | Side::RpcServer => {
                (Outcome::Rpc(Code::Cancelled), "the call was cancelled")
            }
        };
        self.record(outcome, description.to_owned());
    }
}

/// Starts a span, and returns its context. The sampler needs neither attributes nor links:
/// `describe`, which adds them, is called for recorded spans only.
pub(crate) fn start_span(
    tracer: &SdkTracer,
    kind: SpanKind,
    operation: &Operation,
    parent: &Context,
    describe: impl FnOnce(&mut Span),
) -> Context {
    let name = operation.name.clone();
    let builder = tracer.span_builder(name).with_kind(kind);
    let mut span = tracer.build_with_context(builder, parent);
    if span.is_recording() {
        describe(&mut span);
    }
    parent.with_span(span)
}
