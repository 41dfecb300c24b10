use opentelemetry::{
    Context,
    trace::{TraceContextExt, Tracer},
};
use spoor_telemetry::database::{self, Statement};
use tracing::instrument::WithSubscriber;

use crate::fake::{finish, telemetry, text};

#[tokio::test]
async fn statement_is_a_client_span_of_its_request() {
    let (telemetry, fake) = telemetry(&[]);
    let request = telemetry.tracer().unwrap().start("GET /");
    let work = async {
        let _inside = Context::new().with_span(request).attach();
        let insert = "INSERT INTO wishes (name) VALUES ($1)";
        let span = database::statement("sqlite", "INSERT wishes", insert);
        span.in_scope(|| {});
        drop(span);
        let begin = Statement {
            system: "postgresql",
            summary: "BEGIN",
            text: "BEGIN",
            server: Some("db.example"),
            ..Statement::default()
        };
        begin.span().in_scope(|| {});
        let create = Statement {
            system: "redis",
            summary: "EVALSHA create",
            text: "EVALSHA create 1 task:?",
            server: Some("redis.example"),
            port: Some(7000),
            namespace: Some("2"),
        };
        create.span().in_scope(|| {});
    };
    work.with_subscriber(telemetry.subscriber().unwrap()).await;
    let spans = finish(&telemetry, &fake).await;
    insta::assert_snapshot!("database_statement", text(&spans));
}

#[tokio::test]
async fn failed_statement_records_its_exception() {
    let (telemetry, fake) = telemetry(&[]);
    let work = async {
        let span = database::statement("sqlite", "SELECT wishes", "SELECT * FROM wishes");
        let failing = async { Err::<(), _>(std::io::Error::other("no such table: wishes")) };
        database::observe(failing, span).await.unwrap_err();
    };
    work.with_subscriber(telemetry.subscriber_to(std::io::sink).unwrap())
        .await;
    let spans = finish(&telemetry, &fake).await;
    insta::assert_snapshot!("database_failed", text(&spans));
}
