//! The outputs of the tiers besides traces for Jaeger.

use std::time::Duration;

use spoor_policy::TailTable;

use super::{
    load::{Load, SPANS, send},
    program::total,
    stack,
    tiers::Tiers,
};
use crate::apiserver::eventually;

const LOAD: Load = Load {
    traces_per_second: 50,
    lasts: Duration::from_secs(2),
    spread: Duration::from_millis(100),
};

async fn start_tiers(test: &str, collector: &str) -> Option<Tiers> {
    let program = super::program(test)?;
    let nowhere = ([127, 0, 0, 1], 9).into();
    let stack = stack(collector);
    Some(Tiers::start(&program, stack, &TailTable::default(), nowhere).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_exporter_does_not_block_others() {
    const DEAD: &str =
        "{exporters: {otlp_grpc/vendor: {endpoint: '127.0.0.1:9', tls: {insecure: true}}}}";
    let Some(tiers) = start_tiers("failing_exporter_does_not_block_others", DEAD).await else {
        return;
    };
    let sent = send(LOAD, &[tiers.gather[0].addresses.grpc]).await;
    let expected = sent.len() * usize::from(SPANS);
    eventually(
        "Jaeger has all spans",
        Duration::from_secs(30),
        async || {
            let spans = tiers.sink.spans();
            if spans == expected {
                Ok(())
            } else {
                Err(format!("{spans} of {expected}"))
            }
        },
    )
    .await;
    tiers.gather[0].kill();
    tiers.decide.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn span_metrics_have_jaegers_names() {
    let Some(tiers) = start_tiers("span_metrics_have_jaegers_names", "{}").await else {
        return;
    };
    let gather = &tiers.gather[0].addresses;
    let sent = send(LOAD, &[gather.grpc]).await;
    let url = format!("http://{}/metrics", gather.span_metrics);
    let metrics = eventually(
        "the spans are counted",
        Duration::from_secs(60),
        async || {
            let response = reqwest::get(&url)
                .await
                .map_err(|error| error.to_string())?;
            let metrics = response.text().await.map_err(|error| error.to_string())?;
            let calls = total(&metrics, "traces_span_metrics_calls_total");
            // All spans are counted, including those of traces that policies drop.
            if calls >= (sent.len() * usize::from(SPANS)) as f64 {
                Ok(metrics)
            } else {
                Err(metrics)
            }
        },
    )
    .await;
    let durations = total(&metrics, "traces_span_metrics_duration_milliseconds_count");
    assert!(durations > 0.0, "{metrics}");
    let labels = [
        "service_name=\"a\"",
        "span_name=\"work\"",
        "span_kind=",
        "status_code=",
    ];
    assert!(
        labels.iter().all(|label| metrics.contains(label)),
        "{metrics}"
    );
    tiers.stop().await;
}
