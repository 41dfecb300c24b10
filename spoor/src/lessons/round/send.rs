//! Runs a round: makes something slow, sends the requests, and restores the lab.

use std::{
    collections::BTreeMap,
    num::NonZeroU16,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow, bail};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::{RequestBuilder, header::USER_AGENT};
use spoor_lab::wire::{FaultSetting, ServiceStatus};
use spoor_traces::tree::{Position, Tree};
use spoor_vision::samples::SamplePicture;
use tokio::time::Instant;

use super::{ANNOUNCER, EDGES, Marker, SlowPart, delay_milliseconds};
use crate::{
    cli::{LabClient, out::errln},
    lessons::policies::Policies,
    traces::{FoundTrace, Part, Query, TraceClient, dropping_policies},
};

/// The timeout of a request, and of each wait in a round.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout if a policy does not keep every trace of a service. A tail rule decides after about
/// two seconds.
const TIMEOUT_WITH_POLICY: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The time without a new span after which a round counts as complete. Services export every second.
const SETTLE_DELAY: Duration = Duration::from_millis(1_200);
/// A slow and a fast value of the parameter `wait`.
const WAITS: [&str; 2] = ["600ms", "5ms"];
/// A slow and a fast value of the parameter `calc`.
const CALCS: [&str; 2] = ["60000", "500"];
/// The width and height of the images in pixels.
const SIDE: NonZeroU16 = NonZeroU16::MIN.saturating_add(95);

/// Sends the requests of a round, and restores the lab afterwards.
pub async fn start(seed: u32, lab: &LabClient, traces: &TraceClient) -> anyhow::Result<Marker> {
    let began = SystemTime::now().duration_since(UNIX_EPOCH);
    let began = began.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    let round = Round {
        marker: Marker { began, seed },
        urls: lab.status().await?.urls,
        lab,
        traces,
        // All these addresses are on the lab's loopback, which a proxy cannot reach.
        http: reqwest::Client::builder().no_proxy().build()?,
    };
    // Before any request, so that the check finds the round even if its traces are not kept.
    round.announce().await?;
    match round.run(SlowPart::of(seed)).await {
        Ok(()) => Ok(round.marker),
        Err(error) => {
            // If the lab has stopped, the first error is the cause.
            let faults = lab.faults().await.unwrap_or_default();
            let faults: Vec<String> = faults.into_keys().collect();
            Err(match faults.as_slice() {
                [] => error,
                services => error.context(format!(
                    "faults are in force for {}; clear them with `spoor fault --clear`, and \
                     start another round",
                    services.join(", ")
                )),
            })
        }
    }
}

struct Round<'a> {
    marker: Marker,
    urls: BTreeMap<String, String>,
    lab: &'a LabClient,
    traces: &'a TraceClient,
    http: reqwest::Client,
}

impl Round<'_> {
    async fn run(&self, slow: SlowPart) -> anyhow::Result<()> {
        let requests = slow.requests();
        match slow {
            SlowPart::Wait => self.call_service_a(WAITS[0], CALCS[1], requests).await,
            SlowPart::HeavyCalc => self.call_service_a(WAITS[1], CALCS[0], requests).await,
            SlowPart::Marketplace(name) => self.search_offers(name, requests).await,
            SlowPart::ColdModel(name) => self.classify(name, requests).await,
        }
    }

    async fn call_service_a(&self, wait: &str, calc: &str, requests: usize) -> anyhow::Result<()> {
        let url = format!("{}/?wait={wait}&calc={calc}", self.url("service-a")?);
        for _ in 0..requests {
            send(url.clone(), self.marked(self.http.get(&url))).await?;
        }
        self.wait_for_traces(requests, "service-b").await
    }

    /// Sends a span that names the round, and waits until it can be read.
    async fn announce(&self) -> anyhow::Result<()> {
        let nanoseconds = format!("{}000000", self.marker.began);
        let service = serde_json::json!({"stringValue": ANNOUNCER});
        let body = serde_json::json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": service}]},
            "scopeSpans": [{"spans": [{
                "traceId": format!("{:032x}", rand::random::<u128>()),
                "spanId": format!("{:016x}", rand::random::<u64>()),
                "name": self.marker.to_string(),
                "startTimeUnixNano": nanoseconds,
                "endTimeUnixNano": nanoseconds,
            }]}],
        }]});
        let url = format!("{}/v1/traces", self.url("otlp-http")?);
        send(url.clone(), self.http.post(&url).json(&body)).await?;
        let query = Query {
            operation: Some(self.marker.to_string()),
            ..Query::default()
        };
        self.wait_for(&[ANNOUNCER], query, |found| !found.is_empty())
            .await
    }

    /// Waits until the traces of this many requests are complete, and one of them has a span of the
    /// service.
    async fn wait_for_traces(&self, count: usize, service: &str) -> anyhow::Result<()> {
        let query = Query {
            tags: self.marker.tags(),
            ..Query::default()
        };
        let mut last_change = (0, Instant::now());
        let has_settled = |found: &[FoundTrace]| {
            let spans = found.iter().map(|it| it.tree.rows().len()).sum();
            if spans != last_change.0 {
                last_change = (spans, Instant::now());
            }
            let mut services = found.iter().flat_map(|it| it.tree.services());
            found.len() >= count
                && services.any(|(name, _)| name == service)
                && found.iter().all(|it| is_complete_trace(&it.tree))
                && last_change.1.elapsed() >= SETTLE_DELAY
        };
        self.wait_for(&EDGES, query, has_settled).await
    }

    async fn wait_for(
        &self,
        searched: &[&str],
        query: Query,
        mut is_complete: impl FnMut(&[FoundTrace]) -> bool,
    ) -> anyhow::Result<()> {
        let policies = Policies::Lab(self.lab.clone()).all().await?;
        let mut names = searched.iter();
        let dropping =
            names.find_map(|it| dropping_policies(&policies, it, &[Part::Head, Part::Tail]));
        // With a policy that drops traces, nothing may ever arrive.
        let timeout = dropping.as_ref().map_or(TIMEOUT, |_| TIMEOUT_WITH_POLICY);
        let deadline = Instant::now() + timeout;
        loop {
            let found = self.traces.newest(searched, &query).await?;
            if is_complete(&found) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let hint = dropping
                    .map_or_else(String::new, |it| format!("; {it}, and start another round"));
                bail!("the traces of this round did not arrive within {timeout:?}{hint}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Adds a wish while one marketplace is slow. `offers` searches all marketplaces for a new
    /// wish, after the response to the request that added it.
    async fn search_offers(&self, slow: &'static str, requests: usize) -> anyhow::Result<()> {
        let fault = FaultSetting {
            operation: None,
            delay_milliseconds: delay_milliseconds(slow),
            errors: None,
        };
        // Before the fault is set, so that a lab without this marketplace stays unchanged.
        self.url(slow)?;
        let before = self.lab.faults().await?.remove(slow);
        self.lab.add_fault(slow, &fault).await?;
        // An error from this call is returned only after the earlier faults are restored.
        let searched = self.add_wish_and_wait(slow, requests).await;
        first_error(searched, self.restore_faults(slow, before).await)
    }

    async fn restore_faults(
        &self,
        service: &'static str,
        before: Option<Vec<FaultSetting>>,
    ) -> anyhow::Result<()> {
        self.lab.clear_faults(Some(service)).await?;
        for fault in before.into_iter().flatten() {
            self.lab.add_fault(service, &fault).await?;
        }
        Ok(())
    }

    async fn add_wish_and_wait(&self, slow: &'static str, requests: usize) -> anyhow::Result<()> {
        let wishes = format!("{}/api/wishes", self.url("gateway")?);
        let name = format!("a teapot, round {}", self.marker.began);
        let body = serde_json::json!({ "name": name });
        let request = self.marked(self.http.post(&wishes).json(&body));
        // From here on Ctrl-C must not leave the fault and the wish behind.
        let interrupted = spoor_runtime::shutdown_signal().context("cannot catch Ctrl-C")?;
        let location = send(wishes.clone(), request).await?;
        let searched = tokio::select! {
            searched = self.wait_for_traces(requests, slow) => searched,
            () = interrupted => Err(anyhow!("interrupted; the lab is restored")),
        };
        let Some(path) = location else {
            return searched;
        };
        let url = format!("{}{path}", self.url("gateway")?);
        let deleted = send(url.clone(), self.http.delete(&url)).await;
        first_error(searched, deleted.map(drop))
    }

    /// Classifies images after restarting one model, which loads on its first request.
    async fn classify(&self, cold: &'static str, requests: usize) -> anyhow::Result<()> {
        let url = format!("{}/classify", self.url("preprocessing")?);
        self.url(cold)?;
        // Otherwise both models would load during the round, and two spans would be slow.
        send(url.clone(), self.http.post(&url).body(picture(0)?)).await?;
        self.restart(cold).await?;
        for seed in (0_u64..).take(requests) {
            let request = self.marked(self.http.post(&url).body(picture(seed)?));
            send(url.clone(), request).await?;
        }
        self.wait_for_traces(requests, cold).await
    }

    async fn restart(&self, service: &'static str) -> anyhow::Result<()> {
        let before = self.lab.restart(service).await?;
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            let now = self.status(service).await?;
            // The state alone may still be that of the process that is about to end.
            if now.state == "ready" && now.pid != before.pid {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        bail!("timed out after {TIMEOUT:?} waiting for {service} after its restart")
    }

    async fn status(&self, name: &'static str) -> anyhow::Result<ServiceStatus> {
        let mut services = self.lab.status().await?.services.into_iter();
        let found = services.find(|service| service.name == name);
        found.with_context(|| not_running(name))
    }

    fn marked(&self, request: RequestBuilder) -> RequestBuilder {
        request.header(USER_AGENT, self.marker.to_string())
    }

    fn url(&self, service: &'static str) -> anyhow::Result<&str> {
        let url = self.urls.get(service).map(String::as_str);
        url.with_context(|| not_running(service))
    }
}

/// Returns the first error. If both failed, prints that of the cleanup, which would be lost.
fn first_error(result: anyhow::Result<()>, cleanup: anyhow::Result<()>) -> anyhow::Result<()> {
    if let (Err(_), Err(error)) = (&result, &cleanup) {
        errln!("spoor: cannot restore the lab: {error:#}");
    }
    result.and(cleanup)
}

/// True if no span is known to be missing: each one's parent is there, and the server's side of each
/// call. Without that, the time of the server would count as its caller's.
fn is_complete_trace(tree: &Tree) -> bool {
    let rows = tree.rows();
    rows.iter().enumerate().all(|(index, row)| {
        let span = &row.member.span;
        // gRPC spans are named package.Service/Method. A failed call may not have reached a server.
        let is_call = span.kind() == SpanKind::Client && span.name.contains('/');
        let needs_server = is_call && !row.member.is_error();
        let has_child = || rows.iter().any(|below| below.parent == Some(index));
        row.position != Position::MissingParent && (!needs_server || has_child())
    })
}

fn picture(seed: u64) -> anyhow::Result<Vec<u8>> {
    let picture = SamplePicture::new(seed, SIDE).png();
    picture.context("cannot draw an image")
}

fn not_running(service: &str) -> String {
    format!("this lab does not run {service}; start one with all services (`spoor up`)")
}

/// Sends a request and returns the `Location` in the response, if any.
async fn send(url: String, request: RequestBuilder) -> anyhow::Result<Option<String>> {
    let response = request.timeout(TIMEOUT).send().await;
    let response = response.and_then(reqwest::Response::error_for_status);
    // Without the parameters, which determine what is slow.
    let base = url.split('?').next().unwrap_or_default();
    let response = response.map_err(reqwest::Error::without_url);
    let response = response.with_context(|| format!("request to {base} failed"))?;
    let location = response.headers().get(reqwest::header::LOCATION);
    let location = location.and_then(|it| it.to_str().ok());
    Ok(location.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::spans::span;

    #[test]
    fn cleanup_does_not_hide_the_first_error() {
        let failed = |text: &'static str| Err(anyhow!(text));
        let error = |result: anyhow::Result<()>| result.err().map(|it| it.to_string());
        let first = first_error(failed("first"), failed("second"));
        assert_eq!(error(first).as_deref(), Some("first"));
        assert_eq!(
            error(first_error(Ok(()), failed("second"))).as_deref(),
            Some("second")
        );
        assert_eq!(error(first_error(Ok(()), Ok(()))), None);
    }

    #[test]
    fn call_without_its_server_is_incomplete() {
        let mut call = span(
            "offers",
            "spoor.marketplace.v1.Marketplace/Search",
            2,
            1,
            0,
            9,
        );
        call.scope_spans[0].spans[0].kind = SpanKind::Client.into();
        let root = span("offers", "search", 1, 0, 0, 9);
        let server = span("marketplace-attic", "Search", 3, 2, 1, 8);
        let is_complete_trace = |batches: &[&_]| {
            is_complete_trace(&Tree::new(batches.iter().copied().cloned().collect()))
        };
        assert!(is_complete_trace(&[&root, &call, &server]));
        assert!(!is_complete_trace(&[&root, &call]), "the server is missing");
        assert!(!is_complete_trace(&[&call, &server]), "the root is missing");
    }
}
