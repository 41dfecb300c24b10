//! Jaeger's remote sampling over gRPC.

use spoor_control::ControlSettings;
use spoor_proto::jaeger::api_v2::{
    SamplingStrategyParameters, SamplingStrategyResponse, SamplingStrategyType,
    sampling_manager_client::SamplingManagerClient,
};
use tonic::{Code, Status};

use crate::support::{TestServer, limit, percent, policy};

async fn get_strategy(
    server: &TestServer,
    service: &str,
) -> Result<SamplingStrategyResponse, Status> {
    let parameters = SamplingStrategyParameters {
        service_name: service.to_owned(),
    };
    let mut client = SamplingManagerClient::new(server.channel().await);
    Ok(client.get_sampling_strategy(parameters).await?.into_inner())
}

#[tokio::test]
async fn strategies_are_served_over_grpc() {
    let policies = [
        policy("one", &[("a", &["GET /"])], percent("0.1%")),
        policy("all", &[("a", &[])], percent("50%")),
        policy("limit", &[("b", &[])], limit(10)),
    ];
    let server = TestServer::with(&policies).await;

    let a = get_strategy(&server, "a").await.unwrap();
    assert_eq!(a.strategy_type(), SamplingStrategyType::Probabilistic);
    assert_eq!(a.probabilistic_sampling.unwrap().sampling_rate, 0.5);
    let operations = a.operation_sampling.unwrap();
    assert_eq!(operations.default_sampling_probability, 0.5);
    let operation = &operations.per_operation_strategies[0];
    assert_eq!(operation.operation, "GET /");
    assert_eq!(
        operation.probabilistic_sampling.unwrap().sampling_rate,
        0.001
    );

    let b = get_strategy(&server, "b").await.unwrap();
    assert_eq!(b.strategy_type(), SamplingStrategyType::RateLimiting);
    let limit = b.rate_limiting_sampling.unwrap();
    assert_eq!(limit.max_traces_per_second, 10);
    assert_eq!(
        (b.probabilistic_sampling, b.operation_sampling),
        (None, None)
    );
}

#[tokio::test]
async fn rejects_bad_names_and_early_requests() {
    let server = TestServer::with(&[]).await;
    let code = get_strategy(&server, "").await.unwrap_err().code();
    assert_eq!(code, Code::InvalidArgument);
    server
        .wait_for_metric(r#"spoor_control_refused_total{endpoint="Grpc",reason="Malformed"} 1"#)
        .await;
    let server = TestServer::empty(ControlSettings::default()).await;
    let code = get_strategy(&server, "a").await.unwrap_err().code();
    assert_eq!(code, Code::Unavailable);
}
