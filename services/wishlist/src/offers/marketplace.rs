//! A client of a marketplace, with retries within a budget and a circuit breaker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use parking_lot::Mutex;
use spoor_proto::spoor::marketplace::v1::{
    Offer, SearchRequest, marketplace_client::MarketplaceClient,
};
use spoor_telemetry::{
    Backoff, Telemetry,
    grpc::{Attributes, Channel, within},
};
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tracing::{Instrument, Span, field::Empty, info_span};

use super::{
    breaker::{Breaker, BreakerState, Permit},
    budget::Budget,
    counts::SearchCounters,
    peers::Peer,
    retry::{self, AttemptError, SearchError},
    validation,
};
use crate::WishName;

/// The timeout of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The delays between attempts, unless the marketplace requests a longer one.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// A client of a marketplace.
pub(super) struct Marketplace {
    pub(super) name: Arc<str>,
    client: MarketplaceClient<Channel>,
    // One lock for the breaker and the budget, since a retry needs both at the same moment. It is never
    // held across an await.
    health: Mutex<Health>,
    counts: SearchCounters,
}

/// The state that all requests to a marketplace share.
struct Health {
    breaker: Breaker,
    budget: Budget,
    last_failure: String,
}

/// The limits of a search: its deadline, and the token that ends its waits.
#[derive(Clone, Debug)]
pub(super) struct SearchLimits {
    pub(super) deadline: Duration,
    pub(super) stop: CancellationToken,
}

impl Marketplace {
    pub(super) fn new(peer: Peer, telemetry: &Telemetry, counts: SearchCounters) -> Self {
        Self {
            name: peer.name.into(),
            client: MarketplaceClient::new(telemetry.grpc_channel(&peer.url)),
            health: Mutex::new(Health::new()),
            counts,
        }
    }

    /// Searches for offers. The search, each attempt and each wait have spans.
    pub(super) async fn search(
        &self,
        query: &WishName,
        limits: &SearchLimits,
    ) -> Result<Vec<Offer>, SearchError> {
        let span = info_span!(
            "search marketplace",
            marketplace.name = &*self.name,
            retry.count = Empty,
            breaker.state = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
            error.type = Empty,
        );
        let result = self.attempts(query, limits).instrument(span.clone()).await;
        span.record("breaker.state", self.breaker_state().to_string());
        let outcome = match &result {
            Ok(_) => "succeeded",
            Err(error) => {
                span.record("otel.status_code", "ERROR");
                span.record("otel.status_description", tracing::field::display(error));
                span.record("error.type", error.outcome());
                error.outcome()
            }
        };
        self.counts.count_search(&self.name, outcome);
        result
    }

    pub(super) fn breaker_state(&self) -> BreakerState {
        self.health.lock().breaker.state()
    }

    /// The retries left in the budget.
    pub(super) fn budget(&self) -> f64 {
        self.health.lock().budget.tokens()
    }

    async fn attempts(
        &self,
        query: &WishName,
        limits: &SearchLimits,
    ) -> Result<Vec<Offer>, SearchError> {
        let until = Instant::now() + limits.deadline;
        let mut backoff = Backoff::new(MIN_BACKOFF);
        let mut retries = 0;
        // Recorded now, so that spans without retries have the attribute as well.
        Span::current().record("retry.count", i64::from(retries));
        loop {
            let permit = self.acquire(retries)?;
            let left = until.saturating_duration_since(Instant::now());
            let attempt = self.attempt(query, retries, permit, ATTEMPT_TIMEOUT.min(left));
            let failure = match attempt.await {
                Ok(offers) => return Ok(offers),
                Err(failure) => failure,
            };
            let left = until.saturating_duration_since(Instant::now());
            let is_requested = failure.retry_delay.is_some();
            let last = failure.clone();
            let pause = backoff.next_delay(MAX_BACKOFF);
            let wait = self
                .health
                .lock()
                .retry_after(failure, retries, pause, left)?;
            if !wait_for_retry(wait, is_requested, &limits.stop).await {
                // The token was taken for a retry that is not made.
                self.health.lock().budget.refund();
                return Err(SearchError::Stopping(last));
            }
            retries += 1;
        }
    }

    /// Gets a permit from the circuit breaker. With one, an attempt after the first counts as a retry.
    fn acquire(&self, retries: u32) -> Result<Permit, SearchError> {
        let permit = self.health.lock().acquire(retries)?;
        if retries > 0 {
            Span::current().record("retry.count", i64::from(retries));
            self.counts.count_retry(&self.name);
        }
        Ok(permit)
    }

    /// Makes one attempt and reports its result to the breaker.
    async fn attempt(
        &self,
        query: &WishName,
        retries: u32,
        permit: Permit,
        limit: Duration,
    ) -> Result<Vec<Offer>, AttemptError> {
        let message = SearchRequest {
            query: query.as_str().to_owned(),
        };
        let attributes = Attributes(vec![
            KeyValue::new("marketplace.name", self.name.to_string()),
            KeyValue::new("retry.count", i64::from(retries)),
            KeyValue::new("breaker.state", permit.state.to_string()),
        ]);
        let mut client = self.client.clone();
        let search = async |mut request: Request<_>| {
            request.extensions_mut().insert(attributes);
            client.search(request).await
        };
        let result = match within(limit, message, search).await {
            Ok(reply) => Ok(validation::valid(reply.offers)),
            Err(status) => Err(AttemptError::of(&status)),
        };
        self.report(permit, result.as_ref().err());
        result
    }

    fn report(&self, permit: Permit, failure: Option<&AttemptError>) {
        // One lock for both, so that concurrent searches do not report the same change.
        let mut health = self.health.lock();
        let before = health.breaker.state();
        match failure {
            Some(failure) if failure.is_peer_failure() => {
                health.breaker.record_failure(permit, Instant::now());
                health.last_failure = failure.to_string();
            }
            // An error such as a rate limit is a response too: the peer is alive.
            _ => health.breaker.record_success(permit),
        }
        let after = health.breaker.state();
        if after != before {
            tracing::info!(
                marketplace.name = &*self.name,
                breaker.state = after.to_string(),
                "circuit breaker changed state"
            );
        }
    }
}

impl Health {
    fn new() -> Self {
        Self {
            breaker: Breaker::closed(),
            budget: Budget::full(),
            last_failure: String::new(),
        }
    }

    /// Gets a permit. An attempt that the breaker refuses neither adds to the budget nor uses it.
    fn acquire(&mut self, retries: u32) -> Result<Permit, SearchError> {
        let is_first = retries == 0;
        match self.breaker.acquire(Instant::now()) {
            Ok(permit) => {
                if is_first {
                    self.budget.deposit();
                }
                Ok(permit)
            }
            Err(wait) => {
                if !is_first {
                    self.budget.refund();
                }
                Err(SearchError::BreakerOpen {
                    wait,
                    last: self.last_failure.clone(),
                })
            }
        }
    }

    fn retry_after(
        &mut self,
        failure: AttemptError,
        retries: u32,
        pause: Duration,
        left: Duration,
    ) -> Result<Duration, SearchError> {
        let open = self.breaker.time_until_probe(Instant::now());
        retry::after(failure, retries, pause, left, open, &mut self.budget)
    }
}

/// Waits in a span of its own, so that a trace shows where the time goes. Returns false if stopped.
async fn wait_for_retry(wait: Duration, is_requested: bool, stop: &CancellationToken) -> bool {
    let span = info_span!(
        "backoff",
        retry.wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
        retry.requested_by_marketplace = is_requested,
    );
    let sleep = tokio::time::sleep(wait);
    let slept = stop.run_until_cancelled(sleep).instrument(span).await;
    slept.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prometheus_client::{encoding::text, registry::Registry};
    use spoor_testing::{Spans, unused_address};
    use tonic::Status;

    use super::*;

    /// Retries that the first searches make until the breaker opens.
    const RETRIES: u32 = Breaker::MAX_FAILURES - 2;

    fn opened() -> Health {
        let mut health = Health::new();
        while health.breaker.state() == BreakerState::Closed {
            let permit = health.breaker.acquire(Instant::now()).unwrap();
            health.breaker.record_failure(permit, Instant::now());
        }
        health
    }

    #[test]
    fn only_permitted_first_attempts_add_to_budget() {
        let mut health = Health::new();
        while health.budget.withdraw() {}
        health.acquire(0).unwrap();
        let paid = health.budget.clone();
        health.acquire(1).unwrap();
        assert_eq!(health.budget, paid);

        let mut health = opened();
        while health.budget.withdraw() {}
        let spent = health.budget.clone();
        health.acquire(0).unwrap_err();
        assert_eq!(health.budget, spent);
    }

    #[test]
    fn a_refused_retry_is_refunded() {
        let mut health = opened();
        let failure = || AttemptError::of(&Status::deadline_exceeded("late"));
        let refused = health.retry_after(failure(), 0, Duration::ZERO, ATTEMPT_TIMEOUT);
        assert_eq!(refused.unwrap_err().outcome(), "refused_by_breaker");
        assert_eq!(health.budget, Budget::full());

        // The failures of other searches open it during the wait.
        let mut health = Health::new();
        let wait = health.retry_after(failure(), 0, Duration::ZERO, ATTEMPT_TIMEOUT);
        assert_eq!(wait.unwrap(), Duration::ZERO);
        health.breaker = opened().breaker;
        health.acquire(1).unwrap_err();
        assert_eq!(health.budget, Budget::full());
    }

    #[tokio::test]
    async fn only_actual_retries_use_the_budget() {
        let peer = Peer {
            name: "attic".to_owned(),
            url: format!("http://{}", unused_address()).parse().unwrap(),
        };
        let (mut registry, counts) = (Registry::default(), SearchCounters::default());
        counts.register(&mut registry);
        let marketplace = Marketplace::new(peer, &Spans::default().telemetry("offers"), counts);
        let limits = SearchLimits {
            deadline: Duration::from_secs(60),
            stop: CancellationToken::new(),
        };
        let bike = WishName::new("a bike").unwrap();
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            let error = marketplace.search(&bike, &limits).await.unwrap_err();
            outcomes.push(error.outcome());
        }
        let refused = "refused_by_breaker";
        assert_eq!(outcomes, ["failed", refused, refused, refused]);
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        let retries = format!("spoor_offers_retries_total{{marketplace=\"attic\"}} {RETRIES}\n");
        assert!(shown.contains(&retries), "{shown}");
        // It was full at first, and the second search added half a token.
        let mut left = Budget::full();
        assert!((1..RETRIES).all(|_| left.withdraw()));
        left.deposit();
        assert!(left.withdraw());
        assert_eq!(marketplace.health.lock().budget, left);
    }
}
