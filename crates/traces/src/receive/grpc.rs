//! OTLP over gRPC.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::http;
use bytes::{Buf, BufMut, Bytes};
use http_body::Body;
use tonic::{
    Code, Status,
    codec::{
        BufferSettings, Codec, CompressionEncoding, DecodeBuf, Decoder,
        EnabledCompressionEncodings, EncodeBuf, Encoder,
    },
    server::{Grpc, NamedService, UnaryService},
};

use super::{
    memory::{Metered, Overloaded},
    status::{self, PartialSuccess},
};
use crate::{Pipeline, metrics::Refusal};

/// `opentelemetry.proto.collector.trace.v1.TraceService`, which takes requests without decoding
/// them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TraceService {
    pipeline: Pipeline,
}

impl TraceService {
    pub(crate) fn new(pipeline: Pipeline) -> Self {
        Self { pipeline }
    }

    fn export(&self, request: &[u8]) -> Result<Vec<u8>, Status> {
        if self.pipeline.is_closed() {
            return Err(status::retry_later(
                Code::Unavailable,
                "shutting down: try again later",
            ));
        }
        match self.pipeline.accept(request) {
            Ok(accepted) => Ok(PartialSuccess::of(accepted).response()),
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        }
    }
}

impl NamedService for TraceService {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

impl<B> tower::Service<http::Request<B>> for TraceService
where
    B: Body + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != EXPORT {
                return Ok(Status::unimplemented("only Export is served here").into_http());
            }
            Ok(service.serve(request).await)
        })
    }
}

impl TraceService {
    async fn serve<B>(self, request: http::Request<B>) -> http::Response<tonic::body::Body>
    where
        B: Body + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let settings = self.pipeline.receive_settings().clone();
        let share = self.pipeline.memory().share();
        let request = request.map(|body| Metered::new(body, share));
        let mut gzip = EnabledCompressionEncodings::default();
        gzip.enable(CompressionEncoding::Gzip);
        let mut grpc = Grpc::new(RawCodec)
            .apply_compression_config(gzip, EnabledCompressionEncodings::default())
            .apply_max_message_size_config(Some(settings.max_body_bytes), None);
        let pipeline = self.pipeline.clone();
        let serving = grpc.unary(Export(self), request);
        let response = match tokio::time::timeout(settings.body_deadline, serving).await {
            Ok(response) => response,
            Err(_) => Status::deadline_exceeded("the request was not sent in time").into_http(),
        };
        let Some(refused) = Status::from_header_map(response.headers()) else {
            return response;
        };
        count(&pipeline, &refused);
        match refused.code() {
            // To OTLP out of range means: try again. That doesn't help a body that is too large.
            Code::OutOfRange => Status::resource_exhausted(refused.message()).into_http(),
            _ => response,
        }
    }
}

fn count(pipeline: &Pipeline, refused: &Status) {
    let refusal = match refused.code() {
        Code::Ok => return,
        Code::OutOfRange => Refusal::TooLarge,
        // Not asked to try again: it is tonic's answer to what is too large when decompressed.
        Code::ResourceExhausted if refused.details().is_empty() => Refusal::TooLarge,
        Code::ResourceExhausted => Refusal::Overloaded,
        Code::Unavailable => Refusal::ShuttingDown,
        Code::DeadlineExceeded => Refusal::TimedOut,
        Code::Unimplemented => Refusal::UnsupportedType,
        Code::Cancelled => Refusal::Aborted,
        _ => Refusal::BadData,
    };
    pipeline.refusals().count(refusal);
}

/// What a request gets when there is no memory for it now.
pub(super) fn overloaded(error: &Overloaded) -> Status {
    status::retry_later(Code::ResourceExhausted, &error.to_string())
}

struct Export(TraceService);

impl UnaryService<Bytes> for Export {
    type Response = Vec<u8>;
    type Future = std::future::Ready<Result<tonic::Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        std::future::ready(self.0.export(request.get_ref()).map(tonic::Response::new))
    }
}

/// Leaves messages as they are on the wire.
#[derive(Clone, Copy, Debug)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        // Answers are short.
        BufferSettings::new(256, 32 << 10)
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
