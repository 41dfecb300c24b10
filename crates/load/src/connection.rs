//! HTTP connections, one to each address, with one request at a time.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::request_stats::RequestResult;

/// The trace that a response names in its header `traceresponse` (W3C Trace Context, Level 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceResponse {
    /// The trace ID, 32 hexadecimal digits.
    pub trace_id: String,
    /// True if the trace was sampled.
    pub is_sampled: bool,
}

impl TraceResponse {
    /// Parses `00-TRACE-SPAN-FLAGS` from a response's headers; `None` without a valid header.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(text(headers, "traceresponse")?)
    }

    fn parse(header: &str) -> Option<Self> {
        // The version is not checked: later ones keep these fields in place.
        let mut parts = header.split('-').skip(1);
        let trace_id = parts.next().filter(|id| id.len() == 32)?.to_owned();
        let flags = u8::from_str_radix(parts.nth(1)?, 16).ok()?;
        Some(Self {
            trace_id,
            is_sampled: flags & 1 == 1,
        })
    }
}

/// The open connections by address.
#[derive(Debug, Default)]
pub(super) struct Connections(BTreeMap<String, SendRequest<Full<Bytes>>>);

/// A response whose body was read to its end.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    /// The `Location` of the resource that the request created.
    pub(super) location: Option<String>,
    /// The trace ID, if the trace was sampled.
    pub(super) trace: Option<String>,
}

impl Connections {
    /// Sends one request over the open connection or a new one, and reads the whole response.
    pub(super) async fn exchange(
        &mut self,
        address: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response, RequestResult> {
        // The connection is put back only after a whole exchange: one that is dropped halfway, by
        // a timeout, would deliver the old response to the next request.
        let mut sender = match self.0.remove(address) {
            Some(sender) if !sender.is_closed() => sender,
            _ => connect(address).await.ok_or(RequestResult::NotConnected)?,
        };
        let response = send(&mut sender, request)
            .await
            .ok_or(RequestResult::Disconnected)?;
        self.0.insert(address.to_owned(), sender);
        Ok(response)
    }
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Option<Response> {
    sender.ready().await.ok()?;
    let response = sender.send_request(request).await.ok()?;
    let read = Response {
        status: response.status(),
        location: text(response.headers(), header::LOCATION.as_str()).map(str::to_owned),
        // A trace that was not sampled cannot be looked up.
        trace: TraceResponse::of(response.headers())
            .filter(|trace| trace.is_sampled)
            .map(|trace| trace.trace_id),
    };
    let mut body = response.into_body();
    // To the end, since the latency counts until the last byte and the connection is busy until
    // then.
    while let Some(frame) = body.frame().await {
        frame.ok()?;
    }
    Some(read)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

async fn connect(address: &str) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.ok()?;
    // Nagle's algorithm would hold back a small body until the head is acknowledged, which would
    // count as the server's latency.
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    // The task moves the bytes, and ends when the sender is dropped.
    tokio::spawn(connection);
    Some(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "5b8aa5a2d2c872e8321cf37308d69df2";

    #[rstest::rstest]
    #[case("01", true)]
    #[case("03", true)]
    #[case("02", false)]
    #[case("00", false)]
    fn reads_the_sampled_flag(#[case] flags: &str, #[case] is_sampled: bool) {
        let expected = TraceResponse {
            trace_id: TRACE.to_owned(),
            is_sampled,
        };
        let header = format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
        assert_eq!(TraceResponse::parse(&header), Some(expected));
    }

    #[rstest::rstest]
    #[case("")]
    #[case("nonsense")]
    #[case("00-5b8a-051581bf3cb55c13-01")]
    #[case("00-5b8aa5a2d2c872e8321cf37308d69df2-051581bf3cb55c13")]
    #[case("00-5b8aa5a2d2c872e8321cf37308d69df2-051581bf3cb55c13-xx")]
    fn ignores_malformed_headers(#[case] header: &str) {
        assert_eq!(TraceResponse::parse(header), None);
    }
}
