//! Requests to Jaeger's remote sampling API as unmodified SDKs send them, from a chosen address.

use std::net::{IpAddr, SocketAddr};

use hyper_util::rt::TokioIo;
use serde_json::Value;
use spoor_proto::jaeger::api_v2::{
    SamplingStrategyParameters, sampling_manager_client::SamplingManagerClient,
};
use tokio::net::TcpSocket;
use tonic::{Status, transport::Endpoint};
use tower::service_fn;

/// Polls over HTTP. Returns the response's body, or the status of a refusal.
pub async fn poll_http(endpoint: SocketAddr, from: IpAddr, service: &str) -> Result<Value, u16> {
    let http = reqwest::Client::builder()
        .local_address(from)
        .build()
        .unwrap();
    let url = format!("http://{endpoint}/sampling?service={service}");
    let response = http.get(url).send().await.unwrap();
    match response.status().as_u16() {
        200 => Ok(response.json().await.unwrap()),
        status => Err(status),
    }
}

/// Polls over gRPC. Returns the sampling rate.
pub async fn poll_grpc(
    address: SocketAddr,
    from: IpAddr,
    service: &str,
) -> Result<Option<f64>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let connect = service_fn(move |_| async move {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect(address).await.map(TokioIo::new)
    });
    let channel = endpoint.connect_with_connector(connect).await.unwrap();
    let parameters = SamplingStrategyParameters {
        service_name: service.to_owned(),
    };
    let response = SamplingManagerClient::new(channel)
        .get_sampling_strategy(parameters)
        .await?;
    Ok(response
        .into_inner()
        .probabilistic_sampling
        .map(|it| it.sampling_rate))
}

/// The rate in a response over HTTP.
pub fn sampling_rate(response: &Value) -> Option<f64> {
    response["probabilisticSampling"]["samplingRate"].as_f64()
}
