//! The variables that an SDK reads: a changed one must change its behaviour.

use std::time::Duration;

use tokio::{io::AsyncReadExt, net::TcpListener};

use super::example::Example;

/// Compares the table in docs/sdks.md with the program's behaviour. The variables with its name,
/// attributes and endpoint were read earlier, or its traces would not have arrived.
pub async fn assert_read_as_documented(example: &Example) {
    let language = &example.language;
    for variable in [
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        assert!(language.reads(variable), "{variable}");
    }
    let (argument, sampler, protocol, exporter) = tokio::join!(
        reads_argument(example),
        reads_sampler(example),
        reads_protocol(example),
        reads_exporter(example),
    );
    for (variable, is_read) in [
        ("OTEL_TRACES_SAMPLER_ARG", argument),
        ("OTEL_TRACES_SAMPLER", sampler),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_TRACES_EXPORTER", exporter),
    ] {
        let is_documented = language.reads(variable);
        assert_eq!(
            is_read, is_documented,
            "{} reads {variable}",
            language.heading
        );
    }
}

/// Without a response, the SDK keeps its initial rate.
async fn reads_argument(example: &Example) -> bool {
    let [unused] = spoor_testing::ports::free();
    let argument = format!("endpoint=http://{unused},pollingIntervalMs=1000,initialSamplingRate=0");
    let mut service = example.start_with(&[("OTEL_TRACES_SAMPLER_ARG", &argument)]);
    service.sampled().await == 0
}

async fn reads_sampler(example: &Example) -> bool {
    let mut service = example.start_with(&[("OTEL_TRACES_SAMPLER", "always_off")]);
    service.sampled().await == 0
}

async fn reads_protocol(example: &Example) -> bool {
    let receiver = Receiver::listen().await;
    let _service = example.start_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ]);
    receiver.first_bytes().await.starts_with("POST /v1/traces ")
}

/// With `none`, nothing is sent; otherwise the batch would be full at once.
async fn reads_exporter(example: &Example) -> bool {
    let receiver = Receiver::listen().await;
    let mut service = example.start_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url),
        ("OTEL_TRACES_EXPORTER", "none"),
    ]);
    tokio::select! {
        _ = receiver.first_bytes() => false,
        () = async { for _ in 0..3 { service.sampled().await; } } => true,
    }
}

/// A receiver of spans that detects the protocol of the sender.
struct Receiver {
    listener: TcpListener,
    url: String,
}

impl Receiver {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, url }
    }

    async fn first_bytes(&self) -> String {
        let first = async {
            let (mut connection, _) = self.listener.accept().await.unwrap();
            let mut bytes = [0; 16];
            connection.read_exact(&mut bytes).await.unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        tokio::time::timeout(Duration::from_secs(120), first)
            .await
            .expect("spans are sent")
    }
}
