//! HTTP connections, one to each address, with one request at a time.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::tally::RequestResult;

/// The response header with the request's trace ID and sampled flag (W3C Trace Context, Level 2).
const TRACE_RESPONSE: &str = "traceresponse";

/// The open connections by address.
#[derive(Debug, Default)]
pub(super) struct Connections(BTreeMap<String, SendRequest<Full<Bytes>>>);

/// A response whose body was read to its end.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    /// The `Location` of what the request created.
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
        trace: text(response.headers(), TRACE_RESPONSE).and_then(sampled_trace),
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

/// The trace ID in `00-TRACE-SPAN-FLAGS`, if the sampled flag is set.
fn sampled_trace(response: &str) -> Option<String> {
    let mut parts = response.split('-').skip(1);
    let trace = parts.next().filter(|trace| trace.len() == 32)?;
    let flags = u8::from_str_radix(parts.nth(1)?, 16).ok()?;
    // A trace that was not sampled cannot be looked up.
    (flags & 1 == 1).then(|| trace.to_owned())
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
    #[case(format!("00-{TRACE}-00f067aa0ba902b7-01"), Some(TRACE))]
    #[case(format!("00-{TRACE}-00f067aa0ba902b7-00"), None)]
    #[case(format!("00-{TRACE}"), None)]
    #[case("nonsense".to_owned(), None)]
    fn only_a_kept_trace_is_named(#[case] response: String, #[case] trace: Option<&str>) {
        assert_eq!(sampled_trace(&response).as_deref(), trace);
    }
}
