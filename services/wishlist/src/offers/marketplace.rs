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
    grpc::{Attributes, Channel},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tracing::{Instrument, Span, field::Empty, info_span};

use super::{
    breaker::{Breaker, BreakerState, Pass},
    budget::Budget,
    counts::Counts,
    peers::Peer,
    retry::{self, Failure, NoAnswer},
    sound,
};
use crate::WishName;

/// The timeout of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// The delays between attempts, unless the marketplace asks for more.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// A client of a marketplace.
pub(super) struct Marketplace {
    pub(super) name: Arc<str>,
    client: MarketplaceClient<Channel>,
    health: Mutex<Health>,
    counts: Counts,
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
    pub(super) fn new(peer: Peer, telemetry: &Telemetry, counts: Counts) -> Self {
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
        what: &WishName,
        limits: &SearchLimits,
    ) -> Result<Vec<Offer>, NoAnswer> {
        let span = info_span!(
            "ask marketplace",
            marketplace.name = &*self.name,
            retry.count = Empty,
            breaker.state = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
            error.type = Empty,
        );
        let result = self.attempts(what, limits).instrument(span.clone()).await;
        span.record("breaker.state", self.breaker_state().as_str());
        let outcome = match &result {
            Ok(_) => "answered",
            Err(no_answer) => {
                span.record("otel.status_code", "ERROR");
                span.record(
                    "otel.status_description",
                    tracing::field::display(no_answer),
                );
                span.record("error.type", no_answer.outcome());
                no_answer.outcome()
            }
        };
        self.counts.search(&self.name, outcome);
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
        what: &WishName,
        limits: &SearchLimits,
    ) -> Result<Vec<Offer>, NoAnswer> {
        let until = Instant::now() + limits.deadline;
        let mut backoff = Backoff::new(MIN_BACKOFF);
        let mut retries = 0;
        Span::current().record("retry.count", i64::from(retries));
        loop {
            let pass = self.pass(retries)?;
            let left = until.saturating_duration_since(Instant::now());
            let attempt = self.attempt(what, retries, pass, ATTEMPT_TIMEOUT.min(left));
            let failure = match attempt.await {
                Ok(offers) => return Ok(offers),
                Err(failure) => failure,
            };
            let left = until.saturating_duration_since(Instant::now());
            let asked = failure.asks_to_wait();
            let last = failure.clone();
            let pause = backoff.next_delay(MAX_BACKOFF);
            let wait = self
                .health
                .lock()
                .retry_after(failure, retries, pause, left)?;
            if !wait_for_retry(wait, asked, &limits.stop).await {
                self.health.lock().budget.give_back();
                return Err(NoAnswer::Stopping(last));
            }
            retries += 1;
        }
    }

    /// Gets a pass from the circuit breaker, and counts a retry if there is one.
    fn pass(&self, retries: u32) -> Result<Pass, NoAnswer> {
        let pass = self.health.lock().pass(retries)?;
        if retries > 0 {
            Span::current().record("retry.count", i64::from(retries));
            self.counts.retry(&self.name);
        }
        Ok(pass)
    }

    /// Makes one attempt and reports its result to the breaker.
    async fn attempt(
        &self,
        what: &WishName,
        retries: u32,
        pass: Pass,
        limit: Duration,
    ) -> Result<Vec<Offer>, Failure> {
        let mut request = Request::new(SearchRequest {
            what: what.as_str().to_owned(),
        });
        request.set_timeout(limit);
        request.extensions_mut().insert(Attributes(vec![
            KeyValue::new("marketplace.name", self.name.to_string()),
            KeyValue::new("retry.count", i64::from(retries)),
            KeyValue::new("breaker.state", pass.state.as_str()),
        ]));
        let mut client = self.client.clone();
        // The channel's own timeout does not cover connecting.
        let result = match timeout(limit, client.search(request)).await {
            Ok(Ok(reply)) => Ok(sound::only(reply.into_inner().offers)),
            Ok(Err(status)) => Err(Failure::from(&status)),
            Err(_elapsed) => Err(Failure::late(limit)),
        };
        self.report(pass, result.as_ref().err());
        result
    }

    fn report(&self, pass: Pass, failure: Option<&Failure>) {
        let mut health = self.health.lock();
        let before = health.breaker.state();
        match failure {
            Some(failure) if failure.is_trouble() => {
                health.breaker.failed(pass, Instant::now());
                health.last_failure = failure.to_string();
            }
            _ => health.breaker.succeeded(pass),
        }
        let after = health.breaker.state();
        if after != before {
            tracing::info!(
                marketplace.name = &*self.name,
                breaker.state = after.as_str(),
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

    /// Gets a pass. An attempt that the breaker refuses neither adds to the budget nor uses it.
    fn pass(&mut self, retries: u32) -> Result<Pass, NoAnswer> {
        let is_first = retries == 0;
        match self.breaker.pass(Instant::now()) {
            Ok(pass) => {
                if is_first {
                    self.budget.pay_in();
                }
                Ok(pass)
            }
            Err(refused) => {
                if !is_first {
                    self.budget.give_back();
                }
                Err(NoAnswer::Refused {
                    wait: refused.wait,
                    last: self.last_failure.clone(),
                })
            }
        }
    }

    fn retry_after(
        &mut self,
        failure: Failure,
        retries: u32,
        pause: Duration,
        left: Duration,
    ) -> Result<Duration, NoAnswer> {
        let open = self.breaker.open_for(Instant::now());
        retry::after(failure, retries, pause, left, open, &mut self.budget)
    }
}

/// Waits in a span of its own, so that a trace shows where the time goes. False if stopped before.
async fn wait_for_retry(wait: Duration, asked: bool, stop: &CancellationToken) -> bool {
    let span = info_span!(
        "backoff",
        retry.wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
        retry.asked_by_marketplace = asked,
    );
    let sleep = tokio::time::sleep(wait);
    stop.run_until_cancelled(sleep)
        .instrument(span)
        .await
        .is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prometheus_client::{encoding::text, registry::Registry};
    use spoor_testing::{Spans, nowhere};

    use super::*;

    /// Retries that the first searches make until the breaker opens.
    const RETRIES: u32 = Breaker::MAX_FAILURES - 2;

    fn opened() -> Health {
        let mut health = Health::new();
        while health.breaker.state() == BreakerState::Closed {
            let pass = health.breaker.pass(Instant::now()).unwrap();
            health.breaker.failed(pass, Instant::now());
        }
        health
    }

    #[test]
    fn only_a_first_attempt_that_passes_pays_for_retries() {
        let mut health = Health::new();
        while health.budget.take() {}
        health.pass(0).unwrap();
        let paid = health.budget.clone();
        health.pass(1).unwrap();
        assert_eq!(health.budget, paid);

        let mut health = opened();
        while health.budget.take() {}
        let spent = health.budget.clone();
        health.pass(0).unwrap_err();
        assert_eq!(health.budget, spent);
    }

    #[test]
    fn a_retry_that_the_breaker_refuses_costs_nothing() {
        let mut health = opened();
        let failure = || Failure::late(ATTEMPT_TIMEOUT);
        let refused = health.retry_after(failure(), 0, Duration::ZERO, ATTEMPT_TIMEOUT);
        assert_eq!(refused.unwrap_err().outcome(), "refused_by_breaker");
        assert_eq!(health.budget, Budget::full());

        // Others' failures open it during the wait.
        let mut health = Health::new();
        let wait = health.retry_after(failure(), 0, Duration::ZERO, ATTEMPT_TIMEOUT);
        assert_eq!(wait.unwrap(), Duration::ZERO);
        health.breaker = opened().breaker;
        health.pass(1).unwrap_err();
        assert_eq!(health.budget, Budget::full());
    }

    #[tokio::test]
    async fn only_retries_that_are_made_are_counted_and_paid_for() {
        let peer = Peer {
            name: "attic".to_owned(),
            url: format!("http://{}", nowhere()).parse().unwrap(),
        };
        let (mut registry, counts) = (Registry::default(), Counts::default());
        counts.register(&mut registry);
        let marketplace = Marketplace::new(peer, &Spans::default().of("offers"), counts);
        let limits = SearchLimits {
            deadline: Duration::from_secs(60),
            stop: CancellationToken::new(),
        };
        let bike = WishName::new("a bike").unwrap();
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            let no_answer = marketplace.search(&bike, &limits).await.unwrap_err();
            outcomes.push(no_answer.outcome());
        }
        let refused = "refused_by_breaker";
        assert_eq!(outcomes, ["failed", refused, refused, refused]);
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        let retries = format!("spoor_offers_retries_total{{marketplace=\"attic\"}} {RETRIES}\n");
        assert!(shown.contains(&retries), "{shown}");
        // It was full at first, and the second search paid in half a token.
        let mut left = Budget::full();
        assert!((1..RETRIES).all(|_| left.take()));
        left.pay_in();
        assert!(left.take());
        assert_eq!(marketplace.health.lock().budget, left);
    }
}
