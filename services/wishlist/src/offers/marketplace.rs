//! A marketplace as it is asked: retries within a budget, behind a circuit breaker.

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
    metrics::Counts,
    peers::Peer,
    retry::{self, Failure, NoAnswer},
    sound,
};
use crate::WishName;

/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Between two attempts, unless the marketplace asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// One of the marketplaces.
pub(super) struct Marketplace {
    pub(super) name: Arc<str>,
    client: MarketplaceClient<Channel>,
    health: Mutex<Health>,
    counts: Counts,
}

/// What all requests to it share.
struct Health {
    breaker: Breaker,
    budget: Budget,
    last_failure: String,
}

/// How long a search may take, and what ends its waits.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    pub(super) deadline: Duration,
    pub(super) stop: CancellationToken,
}

impl Marketplace {
    pub(super) fn new(peer: Peer, telemetry: &Telemetry, counts: Counts) -> Self {
        let health = Health {
            breaker: Breaker::closed(),
            budget: Budget::full(),
            last_failure: String::new(),
        };
        Self {
            name: peer.name.into(),
            client: MarketplaceClient::new(telemetry.grpc_channel(&peer.url)),
            health: Mutex::new(health),
            counts,
        }
    }

    /// What is for sale there. One span for all of it, one for each attempt and for each wait.
    pub(super) async fn search(
        &self,
        what: &WishName,
        patience: &Patience,
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
        let result = self.attempts(what, patience).instrument(span.clone()).await;
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

    /// What is left of the budget for retries.
    pub(super) fn budget(&self) -> f64 {
        self.health.lock().budget.tokens()
    }

    async fn attempts(&self, what: &WishName, patience: &Patience) -> Result<Vec<Offer>, NoAnswer> {
        let until = Instant::now() + patience.deadline;
        let mut backoff = Backoff::new();
        self.health.lock().budget.pay_in();
        let mut retries = 0;
        loop {
            Span::current().record("retry.count", i64::from(retries));
            let pass = self.pass()?;
            let left = until.saturating_duration_since(Instant::now());
            let attempt = self.attempt(what, retries, pass, ATTEMPT.min(left));
            let failure = match attempt.await {
                Ok(offers) => return Ok(offers),
                Err(failure) => failure,
            };
            let left = until.saturating_duration_since(Instant::now());
            let asked = failure.asks_to_wait();
            let last = failure.clone();
            let wait = retry::after(
                failure,
                retries,
                backoff.next(LONGEST_WAIT),
                left,
                &mut self.health.lock().budget,
            )?;
            self.counts.retry(&self.name);
            if !waited(wait, asked, &patience.stop).await {
                return Err(NoAnswer::Stopping(last));
            }
            retries += 1;
        }
    }

    fn pass(&self) -> Result<Pass, NoAnswer> {
        let mut health = self.health.lock();
        health
            .breaker
            .pass(Instant::now())
            .map_err(|refused| NoAnswer::Refused {
                wait: refused.wait,
                last: health.last_failure.clone(),
            })
    }

    /// One attempt; what comes of it is told to the breaker.
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
        // The channel's own deadline doesn't cover the time that it takes to connect.
        let result = match timeout(limit, client.search(request)).await {
            Ok(Ok(reply)) => Ok(sound::only(reply.into_inner().offers)),
            Ok(Err(status)) => Err(Failure::from(&status)),
            Err(_elapsed) => Err(Failure::late(limit)),
        };
        self.tell(pass, result.as_ref().err());
        result
    }

    fn tell(&self, pass: Pass, failure: Option<&Failure>) {
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
                "the circuit breaker turned"
            );
        }
    }
}

/// Waits under a span of its own, so that a trace shows where the time goes; false: `stop` came
/// first.
async fn waited(wait: Duration, asked: bool, stop: &CancellationToken) -> bool {
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
