use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use opentelemetry::{
    Context,
    trace::{FutureExt, TraceContextExt, Tracer},
};
use rstest::rstest;
use spoor_telemetry::Telemetry;
use tracing::instrument::WithSubscriber;

use crate::fake::{finish, telemetry, text};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `work` inside a root span and returns the log and the root's IDs.
async fn logged(telemetry: &Telemetry, work: impl Future<Output = ()>) -> (String, String, String) {
    let root = telemetry.tracer().unwrap().start("root");
    let context = Context::new().with_span(root);
    let ids = context.span().span_context().clone();
    let log = Log::default();
    let subscriber = telemetry
        .subscriber_to({
            let log = log.clone();
            move || log.clone()
        })
        .unwrap();
    work.with_context(context).with_subscriber(subscriber).await;
    (
        log.text(),
        ids.trace_id().to_string(),
        ids.span_id().to_string(),
    )
}

#[rstest]
#[case::sampled("always_on")]
#[case::unsampled("always_off")]
#[tokio::test]
async fn lines_have_their_trace_id_sampled_or_not(#[case] sampler: &str) {
    let (telemetry, _fake) = telemetry(&[("OTEL_TRACES_SAMPLER", sampler)]);
    let work = async { tracing::info!(wish = "a\nbook", count = 2, "wished\nfor") };
    let (line, trace, span) = logged(&telemetry, work).await;
    let end = format!(
        " INFO it::logs: wished\\nfor wish=\"a\\nbook\" count=2 trace_id={trace} span_id={span}\n"
    );
    assert!(line.ends_with(&end), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[tokio::test]
async fn json_has_one_object_per_line() {
    let (telemetry, _fake) = telemetry(&[("SPOOR_LOG_FORMAT", "json")]);
    let error = io::Error::other("disk full");
    let work = async {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            count = 2,
            "cannot wish"
        );
        tracing::debug!("not at this level");
    };
    let (line, trace, span) = logged(&telemetry, work).await;
    let mut object: serde_json::Value = serde_json::from_str(&line).unwrap();
    object.as_object_mut().unwrap().remove("timestamp").unwrap();
    let expected = serde_json::json!({
        "level": "WARN", "target": "it::logs", "message": "cannot wish", "error": "disk full",
        "count": 2, "trace_id": trace, "span_id": span, "trace_flags": "01",
    });
    assert_eq!(object, expected);
}

#[tokio::test]
async fn outside_a_trace_there_is_no_id() {
    let (telemetry, _fake) = telemetry(&[]);
    let log = Log::default();
    let subscriber = telemetry
        .subscriber_to({
            let log = log.clone();
            move || log.clone()
        })
        .unwrap();
    tracing::subscriber::with_default(subscriber, || tracing::info!("alone"));
    assert!(
        log.text().ends_with(" INFO it::logs: alone\n"),
        "{}",
        log.text()
    );
}

#[tokio::test]
async fn spans_and_events_join_the_trace() {
    let (telemetry, fake) = telemetry(&[]);
    let error = io::Error::other("disk full");
    let work = async {
        tracing::info!("in the request");
        tracing::info_span!("heavy_calc", rounds = 3).in_scope(|| {
            tracing::error!(error = &error as &dyn std::error::Error, "failed");
        });
    };
    logged(&telemetry, work).await;
    let spans = finish(&telemetry, &fake).await;
    insta::assert_snapshot!("logs_spans_and_events", text(&spans));
}

#[tokio::test]
async fn unsampled_trace_makes_no_spans() {
    let (telemetry, fake) = telemetry(&[("OTEL_TRACES_SAMPLER", "always_off")]);
    let work = async {
        let span = tracing::info_span!("heavy_calc");
        assert!(span.is_disabled());
    };
    logged(&telemetry, work).await;
    assert!(finish(&telemetry, &fake).await.is_empty());
}

#[tokio::test]
async fn transport_libraries_make_no_spans() {
    let (telemetry, fake) = telemetry(&[]);
    let work = async {
        assert!(tracing::info_span!(target: "h2::client", "poll").is_disabled());
    };
    logged(&telemetry, work).await;
    assert_eq!(finish(&telemetry, &fake).await.len(), 1);
}
