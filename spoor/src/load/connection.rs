//! One connection to each address, with one request at a time.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::tally::Answer;

/// Says which trace a request has become, and whether it is kept.
const TRACE_RESPONSE: &str = "traceresponse";

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Connections(BTreeMap<String, SendRequest<Full<Bytes>>>);

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// Where that is which the request made.
    pub(super) location: Option<String>,
    /// The trace, if it is kept.
    pub(super) trace: Option<String>,
}

impl Connections {
    /// One request and its whole answer, over the open connection or a new one.
    pub(super) async fn exchange(
        &mut self,
        address: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Answered, Answer> {
        // It is put back only after a whole exchange.
        let mut sender = match self.0.remove(address) {
            Some(sender) if !sender.is_closed() => sender,
            _ => connect(address).await.ok_or(Answer::NotConnected)?,
        };
        let answered = answer(&mut sender, request).await.ok_or(Answer::Broken)?;
        self.0.insert(address.to_owned(), sender);
        Ok(answered)
    }
}

async fn answer(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Option<Answered> {
    sender.ready().await.ok()?;
    let response = sender.send_request(request).await.ok()?;
    let answered = Answered {
        status: response.status(),
        location: text(response.headers(), header::LOCATION.as_str()).map(str::to_owned),
        trace: text(response.headers(), TRACE_RESPONSE).and_then(kept_trace),
    };
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.ok()?;
    }
    Some(answered)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// From `00-TRACE-SPAN-FLAGS`, when the sampled flag is set.
fn kept_trace(response: &str) -> Option<String> {
    let mut parts = response.split('-').skip(1);
    let trace = parts.next().filter(|trace| trace.len() == 32)?;
    let flags = u8::from_str_radix(parts.nth(1)?, 16).ok()?;
    (flags & 1 == 1).then(|| trace.to_owned())
}

async fn connect(address: &str) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
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
        assert_eq!(kept_trace(&response).as_deref(), trace);
    }
}
