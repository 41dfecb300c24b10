//! Jaeger's remote sampling as unmodified SDKs ask for it, from an address of the test's choice.

use std::net::{IpAddr, SocketAddr};

use hyper_util::rt::TokioIo;
use serde_json::Value;
use spoor_proto::jaeger::api_v2::{
    SamplingStrategyParameters, sampling_manager_client::SamplingManagerClient,
};
use tokio::net::TcpSocket;
use tonic::{Status, transport::Endpoint};
use tower::service_fn;

/// Over HTTP: the answer, or its status.
pub async fn ask(endpoint: SocketAddr, from: IpAddr, service: &str) -> Result<Value, u16> {
    let http = reqwest::Client::builder()
        .local_address(from)
        .build()
        .unwrap();
    let url = format!("http://{endpoint}/sampling?service={service}");
    let answer = http.get(url).send().await.unwrap();
    match answer.status().as_u16() {
        200 => Ok(answer.json().await.unwrap()),
        status => Err(status),
    }
}

/// Over gRPC: the sampling rate.
pub async fn ask_grpc(
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
    let answer = SamplingManagerClient::new(channel)
        .get_sampling_strategy(parameters)
        .await?;
    Ok(answer
        .into_inner()
        .probabilistic_sampling
        .map(|it| it.sampling_rate))
}

/// The rate in an answer over HTTP.
pub fn sampling_rate(answer: &Value) -> Option<f64> {
    answer["probabilisticSampling"]["samplingRate"].as_f64()
}
