//! Handles one request.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use http::{HeaderMap, HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt;

use super::{
    Limits,
    activity::Activity,
    body::{Budget, Exchange, RequestBody},
    clients::GrpcClients,
    host::refused_host,
    refusal::{RequestRefusal, is_grpc},
    registry::PROCESS,
    response::ResponseBody,
    totals::Total,
};

/// The longest wait for a permit after connections were closed for a request.
const MAX_PERMIT_WAIT: Duration = Duration::from_secs(1);
/// The memory that a header takes besides its text: an entry of the map.
const HEADER_OVERHEAD_BYTES: usize = 128;
/// The part of each head that does not count, so that a connection with many ordinary requests is
/// not closed for those with large heads.
const UNCOUNTED_HEAD_BYTES: usize = 2 << 10;
/// The interval of checks of a late body while its handler does not read it.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The handler of a listener's requests.
#[derive(Debug)]
pub(super) struct RequestHandler {
    pub(super) listener: u64,
    pub(super) router: Router,
    pub(super) limits: Limits,
    /// The clients of one gRPC method, if they are followed.
    pub(super) clients: Option<Arc<GrpcClients>>,
    /// True if only names of this machine are allowed as a request's host.
    pub(super) checks_host: bool,
    /// The number of connections that have requests.
    pub(super) busy: Arc<Total>,
    pub(super) free: Arc<Semaphore>,
    /// The places of requests that wait for a permit.
    pub(super) waiting: Semaphore,
    pub(super) budget: Arc<Budget>,
    pub(super) stop: Stop,
}

/// The token that stops the listener, for responses that would not end by themselves. It is an
/// extension of each request.
#[derive(Clone, Debug)]
pub(crate) struct Stop(pub(crate) CancellationToken);

impl RequestHandler {
    pub(super) async fn handle(
        &self,
        activity: &Arc<Activity>,
        peer: SocketAddr,
        mut request: Request<Incoming>,
    ) -> Result<http::Response<ResponseBody>, Infallible> {
        let started = activity.begin();
        started.add_head(head_bytes(&request).saturating_sub(UNCOUNTED_HEAD_BYTES));
        PROCESS.limit_head_bytes();
        let admitted = self.admit(activity, &request).await;
        let exchange = |permit| Arc::new(Exchange::new(started, Arc::clone(&self.budget), permit));
        let (response, exchange) = match admitted {
            Ok(permit) => {
                let exchange = exchange(Some(permit));
                request.extensions_mut().insert(activity.turn.clone());
                (self.call_router(request, peer, &exchange).await, exchange)
            }
            Err(refusal) => (refusal.respond(is_grpc(request.headers())), exchange(None)),
        };
        exchange.begin_response();
        Ok(response.map(|body| ResponseBody { body, exchange }))
    }

    /// Checks a request's host and reserves a permit for it.
    async fn admit(
        &self,
        activity: &Activity,
        request: &Request<Incoming>,
    ) -> Result<OwnedSemaphorePermit, RequestRefusal> {
        // Before a permit is taken: requests of a web page must not displace others.
        if self.checks_host
            && let Some(host) = refused_host(request.uri(), request.headers())
        {
            return Err(RequestRefusal::Host(host.to_owned()));
        }
        // Streams outlive their connection until they are next polled, and each would then build a
        // response that is never sent. A peer that never acknowledges the graceful shutdown of
        // HTTP/2 could begin streams indefinitely.
        if activity.is_closing() || activity.is_ending() || self.is_over_share(activity) {
            return Err(RequestRefusal::Busy);
        }
        self.acquire_permit().await.ok_or(RequestRefusal::Busy)
    }

    /// True if fewer than a quarter of the permits are free, and the connection has more than one
    /// request and more than its equal share of that quarter. Connections without requests have no
    /// share. Without this check, a few connections with the maximum number of requests would leave
    /// none for the others.
    fn is_over_share(&self, activity: &Activity) -> bool {
        let last = self.limits.max_requests / 4;
        let share = last / self.busy.get().max(1);
        self.free.available_permits() < last && activity.requests() > share.max(1)
    }

    async fn call_router(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        exchange: &Arc<Exchange>,
    ) -> Response {
        let is_grpc = is_grpc(request.headers());
        let is_http1 = request.version() < Version::HTTP_2;
        let deadline = grpc_timeout(request.headers()).filter(|_| is_grpc);
        let mut request =
            request.map(|body| Body::new(RequestBody::new(body, Arc::clone(exchange))));
        let extensions = request.extensions_mut();
        extensions.insert(self.stop.clone());
        // Where axum and tonic look up the peer's address.
        extensions.insert(ConnectInfo(peer));
        extensions.insert(TcpConnectInfo {
            local_addr: None,
            remote_addr: Some(peer),
        });
        let handling = self.router.clone().oneshot(request);
        tokio::select! {
            response = handling => match response {
                // The handler received an error in place of the body, and may report it as the
                // client's fault.
                Ok(_) if exchange.is_over_budget() => RequestRefusal::OverBudget.respond(is_grpc),
                Ok(response) => response,
            },
            refusal = self.incomplete_body(exchange) => {
                let mut response = refusal.respond(is_grpc);
                // HTTP/1 cannot skip the rest of a body, so the next request could not be told from
                // it.
                if is_http1 {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                response
            }
            () = tokio::time::sleep(deadline.unwrap_or_default()), if deadline.is_some() => {
                RequestRefusal::Deadline.respond(is_grpc)
            }
        }
    }

    async fn acquire_permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        let _waiting = self.waiting.try_acquire().ok()?;
        // Closes requests that only wait for their peer, which frees permits a moment later.
        PROCESS.evict_requests(self.listener);
        let acquiring = Arc::clone(&self.free).acquire_owned();
        tokio::time::timeout(MAX_PERMIT_WAIT, acquiring)
            .await
            .ok()?
            .ok()
    }

    /// Returns the refusal once the body is too late or has to make room for others. Never returns
    /// otherwise.
    async fn incomplete_body(&self, exchange: &Exchange) -> RequestRefusal {
        let timeout = async {
            tokio::time::sleep(self.limits.body_timeout).await;
            while !exchange.is_receiving() {
                tokio::time::sleep(RECHECK_INTERVAL).await;
            }
        };
        tokio::select! {
            () = timeout => {
                let seconds = self.limits.body_timeout.as_secs();
                RequestRefusal::BodyTimeout { seconds }
            }
            () = exchange.ended.notified() => RequestRefusal::OverBudget,
        }
    }
}

/// The memory that a request's head takes, approximately.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let headers = request.headers();
    let texts = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    texts.sum::<usize>()
        + headers.len() * HEADER_OVERHEAD_BYTES
        + request
            .uri()
            .path_and_query()
            .map_or(0, |it| it.as_str().len())
}

/// The caller's deadline, as gRPC over HTTP/2 writes it: at most eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 60 * 60)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    fn handler(max_requests: usize) -> RequestHandler {
        let limits = Limits {
            max_requests,
            ..Limits::default()
        };
        RequestHandler {
            listener: 0,
            router: Router::new(),
            limits,
            clients: None,
            checks_host: false,
            busy: Arc::default(),
            free: Arc::new(Semaphore::new(max_requests)),
            waiting: Semaphore::new(1),
            budget: Arc::new(Budget::new(limits.max_body_bytes)),
            stop: Stop(CancellationToken::new()),
        }
    }

    #[tokio::test]
    async fn few_requests_wait_for_others() {
        let handler = handler(1);
        let permit = handler.acquire_permit().await;
        assert!(permit.is_some());
        let mut waiting = std::pin::pin!(handler.acquire_permit());
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("no permit is free"),
            () = ready(()) => {}
        }
        tokio::select! {
            biased;
            refused = handler.acquire_permit() => assert!(refused.is_none()),
            () = ready(()) => panic!("too many requests wait"),
        }
        drop(permit);
        assert!(waiting.await.is_some());
    }

    #[tokio::test]
    async fn connections_share_the_last_permits() {
        let handler = handler(400);
        let connection = PROCESS.new_activity(&handler.busy);
        // Connections without requests, such as this one, have no share.
        let _idle = PROCESS.new_activity(&handler.busy);
        handler.busy.add(9);
        let mut requests = vec![];
        for _ in 0..11 {
            requests.push(connection.begin());
        }
        handler.free.forget_permits(300);
        assert!(!handler.is_over_share(&connection));
        handler.free.forget_permits(1);
        assert!(handler.is_over_share(&connection));
        requests.pop();
        assert!(!handler.is_over_share(&connection));
    }

    #[rstest::rstest]
    #[case("1H", Some(Duration::from_secs(3600)))]
    #[case("2M", Some(Duration::from_secs(120)))]
    #[case("42S", Some(Duration::from_secs(42)))]
    #[case("13m", Some(Duration::from_millis(13)))]
    #[case("2u", Some(Duration::from_micros(2)))]
    #[case("82n", Some(Duration::from_nanos(82)))]
    #[case("82f", None)]
    #[case("123456789H", None)]
    #[case("+1S", None)]
    #[case("S", None)]
    #[case("oneH", None)]
    fn reads_grpc_timeouts(#[case] text: &'static str, #[case] expected: Option<Duration>) {
        let name = http::HeaderName::from_static("grpc-timeout");
        let header = (name, HeaderValue::from_static(text));
        assert_eq!(grpc_timeout(&HeaderMap::from_iter([header])), expected);
    }
}
