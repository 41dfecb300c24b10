//! Makes something slow, sends the requests, and leaves all as it was.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroU16,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::{RequestBuilder, header::USER_AGENT};
use spoor_vision::samples::{EncodeError, Sample};
use tokio::time::Instant;

use super::{Culprit, Marker};
use crate::{
    cli::{Client, ClientError, told_to_end},
    lab::admin::{FaultSetting, ServiceStatus},
    traces::{AskError, Query, Traces},
};

/// For one answer, and for what a round waits for.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// Enough for a pattern to show.
const REQUESTS: u64 = 4;
/// What a slow wait is, and what it is otherwise.
const WAIT: [&str; 2] = ["600ms", "5ms"];
/// What much to calculate is, and what it is otherwise.
const ROUNDS: [&str; 2] = ["60000", "500"];
/// Longer than the slowest marketplace takes, and less than offers waits for an answer.
const DELAY_MILLISECONDS: u64 = 1_000;
/// The pictures' side.
const SIDE: NonZeroU16 = match NonZeroU16::new(96) {
    Some(side) => side,
    None => NonZeroU16::MIN,
};

/// Why a round came to no end.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The lab's word.
    #[error(transparent)]
    Lab(#[from] ClientError),
    /// The service is not part of the lab.
    #[error("this lab has no {0}: start one with all services (`spoor up`)")]
    NotThere(&'static str),
    /// No answer.
    #[error("asking {url}")]
    Send {
        /// What was asked.
        url: String,
        /// Why there is none.
        source: reqwest::Error,
    },
    /// The picture can't be made.
    #[error("drawing a picture")]
    Draw(#[from] EncodeError),
    /// Ctrl-C.
    #[error("told to end; all is as it was")]
    ToldToEnd,
    /// Ctrl-C can't be caught.
    #[error("catching Ctrl-C")]
    Signals(#[from] io::Error),
    /// It takes longer than anybody waits.
    #[error("{0} did not come within {PATIENCE:?}")]
    TimedOut(String),
    /// The traces can't be seen.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// Sends the requests of a round. Nothing of it is left behind but its traces.
pub async fn begin(seed: u32, lab: &Client, traces: &Traces) -> Result<Marker, RoundError> {
    let began = SystemTime::now().duration_since(UNIX_EPOCH);
    let began = began.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    let round = Round {
        marker: Marker { began, seed },
        urls: lab.status().await?.urls,
        lab,
        traces,
        http: reqwest::Client::new(),
    };
    match Culprit::of(seed) {
        Culprit::Wait => round.work(WAIT[0], ROUNDS[1]).await?,
        Culprit::HeavyCalc => round.work(WAIT[1], ROUNDS[0]).await?,
        Culprit::Marketplace(name) => round.look_for_offers(name).await?,
        Culprit::ColdModel(name) => round.classify(name).await?,
    }
    Ok(round.marker)
}

struct Round<'a> {
    marker: Marker,
    urls: BTreeMap<String, String>,
    lab: &'a Client,
    traces: &'a Traces,
    http: reqwest::Client,
}

impl Round<'_> {
    async fn work(&self, wait: &str, calc: &str) -> Result<(), RoundError> {
        let url = format!("{}/?wait={wait}&calc={calc}", self.url("service-a")?);
        for _ in 0..REQUESTS {
            sent(url.clone(), self.marked(self.http.get(&url))).await?;
        }
        Ok(())
    }

    /// A new wish is looked for on all marketplaces after it was answered.
    async fn look_for_offers(&self, slow: &'static str) -> Result<(), RoundError> {
        let fault = FaultSetting {
            operation: None,
            delay_milliseconds: DELAY_MILLISECONDS,
            errors: None,
        };
        self.url(slow)?;
        let before = self.lab.faults().await?.remove(slow);
        self.lab.add_fault(slow, &fault).await?;
        let looked_for = self.wish_and_wait(slow).await;
        self.lab.clear_faults(Some(slow)).await?;
        for fault in before.into_iter().flatten() {
            self.lab.add_fault(slow, &fault).await?;
        }
        looked_for
    }

    async fn wish_and_wait(&self, slow: &'static str) -> Result<(), RoundError> {
        let wishes = format!("{}/api/wishes", self.url("gateway")?);
        let name = format!("a teapot, round {}", self.marker.began);
        let body = serde_json::json!({ "name": name });
        let request = self.marked(self.http.post(&wishes).json(&body));
        let told_to_end = told_to_end()?;
        let location = sent(wishes.clone(), request).await?;
        let looked_for = tokio::select! {
            looked_for = self.seen(slow) => looked_for,
            () = told_to_end => Err(RoundError::ToldToEnd),
        };
        if let Some(path) = location {
            let url = format!("{}{path}", self.url("gateway")?);
            sent(url.clone(), self.http.delete(&url)).await?;
        }
        looked_for
    }

    /// Waits until the round's trace has a span of a service.
    async fn seen(&self, service: &str) -> Result<(), RoundError> {
        let query = Query {
            lookback: PATIENCE * 4,
            ..Query::default()
        };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let found = self.traces.newest(&[service.to_owned()], &query).await?;
            let is_of_round = |marker: Option<Marker>| marker == Some(self.marker);
            if found.iter().any(|it| is_of_round(Marker::of(&it.tree))) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(RoundError::TimedOut(format!("a span of {service}")))
    }

    /// A model that was restarted loads when it is asked for the first time.
    async fn classify(&self, cold: &'static str) -> Result<(), RoundError> {
        let url = format!("{}/classify", self.url("preprocessing")?);
        self.url(cold)?;
        self.warm(&url).await?;
        self.restart(cold).await?;
        for seed in 0..2 {
            let picture = Sample::new(seed, SIDE).png()?;
            let request = self.marked(self.http.post(&url).body(picture));
            sent(url.clone(), request).await?;
        }
        Ok(())
    }

    /// So that only one is cold; this request is none of the round's.
    async fn warm(&self, url: &str) -> Result<(), RoundError> {
        let picture = Sample::new(0, SIDE).png()?;
        let request = self.http.post(url).body(picture);
        sent(url.to_owned(), request).await.map(|_| ())
    }

    async fn restart(&self, service: &'static str) -> Result<(), RoundError> {
        let before = self.lab.restart(service).await?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let now = self.status(service).await?;
            if now.state == "ready" && now.pid != before.pid {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(RoundError::TimedOut(format!("{service} after its restart")))
    }

    async fn status(&self, name: &'static str) -> Result<ServiceStatus, RoundError> {
        let mut services = self.lab.status().await?.services.into_iter();
        let found = services.find(|service| service.name == name);
        found.ok_or(RoundError::NotThere(name))
    }

    fn marked(&self, request: RequestBuilder) -> RequestBuilder {
        request.header(USER_AGENT, self.marker.to_string())
    }

    fn url(&self, service: &'static str) -> Result<&str, RoundError> {
        let url = self.urls.get(service).map(String::as_str);
        url.ok_or(RoundError::NotThere(service))
    }
}

/// Where the answer says that something was made, if it does.
async fn sent(url: String, request: RequestBuilder) -> Result<Option<String>, RoundError> {
    let answer = request.timeout(PATIENCE).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|source| RoundError::Send { url, source })?;
    let location = answer.headers().get(reqwest::header::LOCATION);
    let location = location.and_then(|it| it.to_str().ok());
    Ok(location.map(str::to_owned))
}
