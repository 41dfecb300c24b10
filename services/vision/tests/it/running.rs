//! Running services.

use std::net::SocketAddr;

use reqwest::{Client, Response};
use serde_json::Value;
use spoor_telemetry::serve::{ServeError, ServiceArgs};
use spoor_testing::{Running, args};
use spoor_vision::{ensemble, model, preprocessing, samples::SamplePicture};

use crate::spans::CAPTURED;

pub use spoor_testing::json;

/// A model on free ports.
pub type Model = Running<model::ModelError>;
/// preprocessing or ensemble on free ports.
pub type Service = Running<ServeError>;

/// All services.
pub struct Vision {
    pub efficientnetb0: Model,
    pub mobilenetv2: Model,
    pub ensemble: Service,
    pub preprocessing: Service,
}

pub async fn efficientnetb0(flags: &[&str]) -> Model {
    let args: ServiceArgs<model::ModelArgs> = args(&[&["--model=efficientnetb0"], flags].concat());
    Running::start(args, &CAPTURED.efficientnetb0).await
}

pub async fn mobilenetv2(flags: &[&str]) -> Model {
    let args: ServiceArgs<model::ModelArgs> = args(&[&["--model=mobilenetv2"], flags].concat());
    Running::start(args, &CAPTURED.mobilenetv2).await
}

pub async fn ensemble(
    efficientnetb0: SocketAddr,
    mobilenetv2: SocketAddr,
    flags: &[&str],
) -> Service {
    let urls = [
        format!("--efficientnetb0=http://{efficientnetb0}"),
        format!("--mobilenetv2=http://{mobilenetv2}"),
    ];
    let urls = urls.each_ref().map(String::as_str);
    let args: ServiceArgs<ensemble::EnsembleArgs> = args(&[&urls, flags].concat());
    Running::start(args, &CAPTURED.ensemble).await
}

pub async fn preprocessing(ensemble: SocketAddr, flags: &[&str]) -> Service {
    let url = format!("--ensemble=http://{ensemble}");
    let args: ServiceArgs<preprocessing::PreprocessingArgs> =
        args(&[&[url.as_str()], flags].concat());
    Running::start(args, &CAPTURED.preprocessing).await
}

impl Vision {
    pub async fn start() -> Self {
        Self::of(efficientnetb0(&[]).await, mobilenetv2(&[]).await).await
    }

    /// Starts the services with deadlines that are long enough for many concurrent tests.
    pub async fn with_long_deadlines() -> Self {
        let models = (efficientnetb0(&[]).await, mobilenetv2(&[]).await);
        Self::set(models, &["--model-deadline=60s"], &["--deadline=60s"]).await
    }

    pub async fn of(efficientnetb0: Model, mobilenetv2: Model) -> Self {
        Self::set((efficientnetb0, mobilenetv2), &[], &[]).await
    }

    async fn set(models: (Model, Model), of_ensemble: &[&str], of_edge: &[&str]) -> Self {
        let (efficientnetb0, mobilenetv2) = models;
        let addresses = (efficientnetb0.address, mobilenetv2.address);
        let ensemble = ensemble(addresses.0, addresses.1, of_ensemble).await;
        let preprocessing = preprocessing(ensemble.address, of_edge).await;
        Self {
            efficientnetb0,
            mobilenetv2,
            ensemble,
            preprocessing,
        }
    }

    pub async fn classify(&self, picture: impl Into<reqwest::Body>) -> (u16, Value) {
        json(post(self.preprocessing.address, picture).await).await
    }
}

pub async fn post(address: SocketAddr, picture: impl Into<reqwest::Body>) -> Response {
    let url = format!("http://{address}/classify");
    Client::new().post(url).body(picture).send().await.unwrap()
}

/// A picture of the kind that the models are trained on.
pub fn sample(seed: u64) -> SamplePicture {
    SamplePicture::new(seed, 96.try_into().unwrap())
}

pub fn png(seed: u64) -> Vec<u8> {
    sample(seed).png().unwrap()
}
