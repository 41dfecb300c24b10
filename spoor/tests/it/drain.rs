//! Shutdown under load: every accepted request gets a response, and no finished span is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::lab::{DEADLINE, Lab, eventually};

/// A request that was sent at least this long before the signal counts as accepted.
const MAX_ACCEPT_DELAY: Duration = Duration::from_millis(150);

#[tokio::test]
async fn interrupt_loses_nothing() {
    stop_under_load("-INT").await;
}

#[tokio::test]
async fn terminate_loses_nothing() {
    stop_under_load("-TERM").await;
}

async fn stop_under_load(signal: &str) {
    let lab = Lab::start_with(&["--services", "service-a,service-b"]).await;
    let http = reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    let url: Arc<str> = format!("{}/?wait=400ms&calc=10", lab.url("service-a")).into();
    // The number of spans of a request.
    assert!(http.get(&*url).send().await.unwrap().status().is_success());
    let received = async || received(&lab, &http).await;
    eventually("the first spans", received, |spans| *spans > 0).await;
    let spans_each = settled(&lab, &http).await;

    let began = Instant::now();
    let mut senders = vec![];
    for _ in 0..16 {
        senders.push(tokio::spawn(send_until_refused(http.clone(), url.clone())));
    }
    tokio::time::sleep_until((began + Duration::from_millis(1500)).into()).await;
    let signalled = Instant::now();
    let (stopped, code) = lab.stop(signal).await;
    assert_eq!(code, Some(0));
    let mut responses = 1;
    for sender in senders {
        for (sent, outcome) in sender.await.unwrap() {
            match outcome {
                Ok(200) => responses += 1,
                other => assert!(
                    sent + MAX_ACCEPT_DELAY > signalled,
                    "sent {:?} before the signal: {other:?}",
                    signalled - sent
                ),
            }
        }
    }
    assert!(responses > 16, "{responses} responses");
    assert_eq!(
        stopped["received"],
        responses * spans_each,
        "{stopped} of {responses} requests"
    );
    assert_eq!(stopped["kept"], stopped["received"], "{stopped}");
    assert_eq!(stopped["lost"], serde_json::json!({}), "{stopped}");
}

async fn send_until_refused(
    http: reqwest::Client,
    url: Arc<str>,
) -> Vec<(Instant, Result<u16, String>)> {
    let mut outcomes = vec![];
    loop {
        let sent = Instant::now();
        let response = http
            .get(&*url)
            .timeout(Duration::from_secs(20))
            .send()
            .await;
        let outcome = response
            .map(|it| it.status().as_u16())
            .map_err(|error| format!("{error:?}"));
        let refused = outcome.is_err();
        outcomes.push((sent, outcome));
        if refused {
            return outcomes;
        }
    }
}

async fn received(lab: &Lab, http: &reqwest::Client) -> u64 {
    let metrics = http
        .get(format!("{}/metrics", lab.url("admin")))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("spoor_traces_spans_received_total "));
    line.unwrap().parse().unwrap()
}

/// Waits until the number of received spans no longer changes, and returns it.
async fn settled(lab: &Lab, http: &reqwest::Client) -> u64 {
    let deadline = Instant::now() + DEADLINE;
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = received(lab, http).await;
        if now == last {
            return now;
        }
        assert!(Instant::now() < deadline, "still growing: {now} spans");
        last = now;
    }
}
