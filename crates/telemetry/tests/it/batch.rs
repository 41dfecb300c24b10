use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use opentelemetry::{
    Array, KeyValue, Value,
    trace::{Span, Status, Tracer, TracerProvider},
};
use opentelemetry_sdk::{
    error::OTelSdkError,
    trace::{SdkTracerProvider, SpanProcessor},
};
use spoor_telemetry::{
    batch::{BatchProcessor, DropReason, SpanCounts},
    export::{Export, ExportResponse, Failure},
    settings::BatchSettings,
};

use crate::fake::{DEADLINE, Fake, text, until};

struct Fixture {
    processor: BatchProcessor,
    provider: SdkTracerProvider,
    counts: Arc<SpanCounts>,
}

fn fixture(settings: BatchSettings, fake: &Arc<Fake>) -> Fixture {
    let counts = Arc::new(SpanCounts::default());
    let exporter: Arc<dyn Export> = fake.clone();
    let processor = BatchProcessor::start(settings, counts.clone(), || {
        Ok::<_, std::io::Error>(exporter)
    })
    .unwrap();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor.clone())
        .build();
    Fixture {
        processor,
        provider,
        counts,
    }
}

impl Fixture {
    fn make(&self, spans: usize) {
        let tracer = self.provider.tracer("test");
        for _ in 0..spans {
            tracer.start("span");
        }
    }

    fn make_long(&self, spans: usize, length: usize) {
        let tracer = self.provider.tracer("test");
        for _ in 0..spans {
            let mut span = tracer.start("span");
            span.set_attribute(KeyValue::new("text", "a".repeat(length)));
        }
    }

    fn dropped(&self) -> [u64; 4] {
        DropReason::ALL.map(|reason| self.counts.dropped(reason))
    }
}

fn retry() -> Result<ExportResponse, Failure> {
    Err(Failure::Retry {
        after: None,
        reason: "not now".to_owned(),
    })
}

fn quick() -> BatchSettings {
    BatchSettings {
        schedule_delay: Duration::from_millis(5),
        ..BatchSettings::default()
    }
}

#[tokio::test]
async fn exports_after_the_delay() {
    let fake = Fake::new();
    let fixture = fixture(quick(), &fake);
    fixture.make(3);
    until("three spans", || fixture.counts.exported() == 3).await;
    assert_eq!(fake.spans().len(), 3);
}

#[tokio::test]
async fn exports_a_full_batch_immediately() {
    let fake = Fake::new();
    let settings = BatchSettings {
        schedule_delay: Duration::from_secs(3600),
        max_export_batch_size: 10,
        ..BatchSettings::default()
    };
    let fixture = fixture(settings, &fake);
    fixture.make(25);
    until("two batches", || fixture.counts.exported() == 20).await;
    assert_eq!(fake.attempts.load(Ordering::SeqCst), 2);
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(fixture.counts.exported(), 25);
}

#[test]
fn retries_until_the_receiver_recovers() {
    let fake = Fake::responding([retry(), retry()]);
    let fixture = fixture(quick(), &fake);
    fixture.make(3);
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!((fixture.counts.exported(), fixture.dropped()), (3, [0; 4]));
    assert_eq!(fake.attempts.load(Ordering::SeqCst), 3);
}

#[test]
fn waits_as_long_as_the_receiver_requests() {
    let after = Some(Duration::from_millis(400));
    let fake = Fake::responding([Err(Failure::Retry {
        after,
        reason: String::new(),
    })]);
    let fixture = fixture(quick(), &fake);
    let started = std::time::Instant::now();
    fixture.make(1);
    fixture.processor.flush(DEADLINE).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(400));
}

#[test]
fn gives_up_when_the_budget_is_spent() {
    let fake = Fake::responding(std::iter::repeat_with(retry).take(1000));
    let settings = BatchSettings {
        retry_budget: Duration::from_millis(50),
        ..quick()
    };
    let fixture = fixture(settings, &fake);
    fixture.make(2);
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(
        (fixture.counts.exported(), fixture.dropped()),
        (0, [0, 2, 0, 0])
    );
}

#[test]
fn an_absurd_delay_is_a_failure_and_not_a_panic() {
    let after = Some(Duration::MAX);
    let fake = Fake::responding([Err(Failure::Retry {
        after,
        reason: String::new(),
    })]);
    let fixture = fixture(quick(), &fake);
    fixture.make(1);
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(fixture.dropped(), [0, 1, 0, 0]);
}

#[test]
fn counts_what_the_receiver_refuses() {
    let partial = ExportResponse {
        rejected: 2,
        message: "two are bad".to_owned(),
    };
    let fake = Fake::responding([Ok(partial), Err(Failure::Refused("bad".to_owned()))]);
    let fixture = fixture(quick(), &fake);
    fixture.make(5);
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(
        (fixture.counts.exported(), fixture.dropped()),
        (3, [0, 0, 2, 0])
    );
    fixture.make(4);
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(
        (fixture.counts.exported(), fixture.dropped()),
        (3, [0, 0, 6, 0])
    );
}

#[test]
fn an_attempt_has_a_deadline() {
    let fake = Fake::held();
    let settings = BatchSettings {
        export_timeout: Duration::from_millis(20),
        retry_budget: Duration::from_millis(60),
        ..quick()
    };
    let fixture = fixture(settings, &fake);
    fixture.make(1);
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(fixture.dropped(), [0, 1, 0, 0]);
}

#[tokio::test]
async fn full_queue_drops_and_counts() {
    let fake = Fake::held();
    let settings = BatchSettings {
        max_queue_size: 10,
        max_export_batch_size: 1,
        max_exports: 1,
        ..quick()
    };
    let fixture = fixture(settings, &fake);
    // One is being sent and one waits to be sent: neither is in the queue any more.
    fixture.make(2);
    until("the first attempt", || {
        fake.attempts.load(Ordering::SeqCst) == 1
    })
    .await;
    until("an empty queue", || {
        format!("{:?}", fixture.processor).contains("waiting: 0")
    })
    .await;
    fixture.make(15);
    assert_eq!(fixture.dropped(), [5, 0, 0, 0]);
    fake.release();
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(
        (fixture.counts.exported(), fixture.dropped()),
        (12, [5, 0, 0, 0])
    );
}

#[test]
fn batches_are_sent_concurrently() {
    let fake = Fake::held();
    let settings = BatchSettings {
        max_export_batch_size: 1,
        max_exports: 3,
        ..quick()
    };
    let fixture = fixture(settings, &fake);
    fixture.make(8);
    let timeout = fixture.processor.flush(Duration::from_millis(100));
    assert!(matches!(timeout, Err(OTelSdkError::Timeout(_))));
    assert_eq!(fake.attempts.load(Ordering::SeqCst), 3);
    fake.release();
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(fixture.counts.exported(), 8);
}

#[test]
fn a_shutdown_drains_everything() {
    let fake = Fake::responding([retry()]);
    let settings = BatchSettings {
        schedule_delay: Duration::from_secs(3600),
        max_export_batch_size: 100,
        ..BatchSettings::default()
    };
    let fixture = fixture(settings, &fake);
    fixture.make(2050);
    fixture.processor.shutdown_with_timeout(DEADLINE).unwrap();
    assert_eq!(
        (fixture.counts.exported(), fixture.dropped()),
        (2050, [0; 4])
    );
    assert_eq!(fake.spans().len(), 2050);
}

#[test]
fn shutdown_ends_in_time_and_counts_the_rest() {
    let fake = Fake::held();
    let settings = BatchSettings {
        max_export_batch_size: 10,
        max_exports: 2,
        ..quick()
    };
    let fixture = fixture(settings, &fake);
    fixture.make(100);
    let timeout = fixture
        .processor
        .shutdown_with_timeout(Duration::from_millis(50));
    assert!(matches!(timeout, Err(OTelSdkError::Timeout(_))));
    assert_eq!(
        (fixture.counts.exported(), fixture.dropped()),
        (0, [0, 0, 0, 100])
    );
    fixture.make(1);
    assert_eq!(fixture.dropped(), [0, 0, 0, 101]);
    assert!(matches!(fixture.processor.force_flush(), Ok(())));
    assert!(matches!(
        fixture.processor.shutdown_with_timeout(DEADLINE),
        Err(OTelSdkError::AlreadyShutdown)
    ));
}

#[test]
fn a_burst_is_not_lost() {
    let fake = Fake::new();
    let fixture = fixture(BatchSettings::default(), &fake);
    fixture.make(60_000);
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(
        (fixture.counts.exported(), fixture.dropped()),
        (60_000, [0; 4])
    );
}

#[test]
fn long_texts_are_truncated() {
    let fake = Fake::new();
    let settings = BatchSettings {
        max_text_chars: 10,
        ..quick()
    };
    let fixture = fixture(settings, &fake);
    let (long, kept) = ("é".repeat(11), "é".repeat(10));
    let mut span = fixture.provider.tracer("test").start(long.clone());
    let texts = Value::Array(Array::String(vec![long.clone().into()]));
    span.set_attribute(KeyValue::new("texts", texts));
    span.set_attribute(KeyValue::new("text", long.clone()));
    span.set_attribute(KeyValue::new("kept", kept.clone()));
    span.add_event(long.clone(), vec![KeyValue::new("text", long.clone())]);
    span.set_status(Status::error(long.clone()));
    span.end();
    fixture.processor.flush(DEADLINE).unwrap();
    let exported = text(&fake.spans());
    assert!(!exported.contains(&long), "{exported}");
    assert_eq!(exported.matches(&kept).count(), 7, "{exported}");
}

#[test]
fn long_spans_are_exported_in_several_batches() {
    let fake = Fake::new();
    let settings = BatchSettings {
        schedule_delay: Duration::from_secs(3600),
        max_text_chars: 4 << 20,
        ..BatchSettings::default()
    };
    let fixture = fixture(settings, &fake);
    // Two fit into a batch.
    fixture.make_long(5, 1 << 20);
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(fake.attempts.load(Ordering::SeqCst), 3);
    assert!(fake.longest.load(Ordering::SeqCst) < 3 << 20);
    // One that is longer than a batch is exported alone.
    fixture.make_long(1, 4 << 20);
    fixture.make(1);
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!((fixture.counts.exported(), fixture.dropped()), (7, [0; 4]));
    assert_eq!(fake.attempts.load(Ordering::SeqCst), 5);
}

#[test]
fn a_batch_of_many_small_fields_is_bounded() {
    let fake = Fake::new();
    let settings = BatchSettings {
        max_export_batch_size: 100_000,
        ..BatchSettings::default()
    };
    let fixture = fixture(settings, &fake);
    let tracer = fixture.provider.tracer("test");
    for _ in 0..20_000 {
        let mut span = tracer.start("s");
        span.set_attribute(KeyValue::new("a", i64::MIN));
        span.set_attribute(KeyValue::new("b", ""));
        span.set_attribute(KeyValue::new("c", 0.5));
        span.add_event("e", vec![KeyValue::new("d", true)]);
        span.set_status(Status::error(""));
    }
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(
        (fixture.counts.exported(), fixture.dropped()),
        (20_000, [0; 4])
    );
    assert!(fake.longest.load(Ordering::SeqCst) < 3 << 20);
}

#[tokio::test]
async fn long_spans_fill_the_queue_earlier() {
    let fake = Fake::held();
    let settings = BatchSettings {
        max_queue_size: 10,
        max_export_batch_size: 1,
        max_exports: 1,
        max_text_chars: 8 << 10,
        ..quick()
    };
    let fixture = fixture(settings, &fake);
    // One is being sent and one waits to be sent: neither is in the queue any more.
    fixture.make(2);
    until("the first attempt", || {
        fake.attempts.load(Ordering::SeqCst) == 1
    })
    .await;
    until("an empty queue", || {
        format!("{:?}", fixture.processor).contains("waiting: 0")
    })
    .await;
    // The third one reaches the limit of 20 KiB.
    fixture.make_long(5, 8 << 10);
    assert_eq!(fixture.dropped(), [2, 0, 0, 0]);
    fake.release();
    fixture.processor.flush(DEADLINE).unwrap();
    assert_eq!(
        (fixture.counts.exported(), fixture.dropped()),
        (5, [2, 0, 0, 0])
    );
}
