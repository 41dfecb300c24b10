use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use serde_json::Value;
use spoor_telemetry::serve::ServiceArgs;
use spoor_testing::{Running, args_at, unused_address};
use spoor_vision::model;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

use crate::{
    mounted::Mounted,
    onnx::colours,
    running::{
        Model, Vision, efficientnetb0, ensemble, json, mobilenetv2, png, post, preprocessing,
    },
    spans::CAPTURED,
};

async fn end(mut model: Model) {
    model.stop.cancel();
    (&mut model.task).await.unwrap().unwrap();
}

/// Starts mobilenetv2 on the port that it had before.
async fn mobilenetv2_at(address: SocketAddr, flags: &[&str]) -> Model {
    let listen = format!("--listen={address}");
    let place = [listen.as_str(), "--ops-listen=127.0.0.1:0"];
    let args: ServiceArgs<model::ModelArgs> =
        args_at(&[place.as_slice(), &["--model=mobilenetv2"], flags].concat());
    Running::start(args, &CAPTURED.mobilenetv2).await
}

fn degraded(response: &Value) -> &str {
    response["degraded"].as_str().unwrap_or_default()
}

/// Waits until the response to a picture meets a condition.
async fn until(vision: &Vision, is_right: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (status, response) = vision.classify(png(3)).await;
        if status == 200 && is_right(&response) {
            return response;
        }
        assert!(Instant::now() < deadline, "{status}: {response}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_model_decides_until_the_other_is_back() {
    let mut vision = Vision::start().await;
    until(&vision, |response| degraded(response).is_empty()).await;
    let address = vision.mobilenetv2.address;
    let ended = std::mem::replace(&mut vision.mobilenetv2, mobilenetv2(&[]).await);
    end(ended).await;

    let (status, response) = vision.classify(png(3)).await;
    assert_eq!(status, 200, "{response}");
    let why = degraded(&response);
    assert!(
        why.starts_with("mobilenetv2 did not vote: cannot be reached"),
        "{response}"
    );
    assert_eq!(response["models"][0]["weight"], 1.0);
    assert_eq!(response["models"][1]["error"], "cannot be reached");

    vision.mobilenetv2 = mobilenetv2_at(address, &[]).await;
    until(&vision, |response| degraded(response).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_starts_late_votes() {
    let unused = unused_address();
    let model = efficientnetb0(&[]).await;
    let ensemble = ensemble(model.address, unused, &[]).await;
    let preprocessing = preprocessing(ensemble.address, &[]).await;
    let (status, response) = json(post(preprocessing.address, png(3)).await).await;
    assert_eq!(status, 200, "{response}");
    assert!(
        degraded(&response).contains("mobilenetv2 did not vote"),
        "{response}"
    );
    let vision = Vision {
        efficientnetb0: model,
        mobilenetv2: mobilenetv2_at(unused, &[]).await,
        ensemble,
        preprocessing,
    };
    until(&vision, |response| degraded(response).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_models_or_ensemble_requests_fail() {
    let ensemble = ensemble(unused_address(), unused_address(), &[]).await;
    for ensemble in [ensemble.address, unused_address()] {
        let preprocessing = preprocessing(ensemble, &[]).await;
        let response = post(preprocessing.address, png(3)).await;
        assert_eq!(response.headers()["retry-after"], "1");
        let (status, problem) = json(response).await;
        assert_eq!(status, 503, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("no model can be reached"), "{problem}");
    }
}

#[rstest::rstest]
#[case::larger(8, 16)]
#[case::so_small_that_its_server_refuses_the_tensor(16, 8)]
#[tokio::test(flavor = "multi_thread")]
async fn model_with_another_input_votes_immediately(#[case] before: i64, #[case] after: i64) {
    let before = Mounted::new(&colours(before).labelled("red,green,blue"));
    let after = Mounted::new(&colours(after).labelled("red,green,blue"));
    let mut vision = Vision::of(
        efficientnetb0(&[&before.flag()]).await,
        mobilenetv2(&[&before.flag()]).await,
    )
    .await;
    until(&vision, |response| degraded(response).is_empty()).await;
    let address = vision.mobilenetv2.address;
    let ended = std::mem::replace(&mut vision.mobilenetv2, mobilenetv2(&[]).await);
    end(ended).await;
    vision.mobilenetv2 = mobilenetv2_at(address, &[&after.flag()]).await;
    // It may take a moment until the connection to the previous process is closed.
    until(&vision, |response| degraded(response).is_empty()).await;
}

/// Accepts connections and never responds.
async fn hanging() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The duration of a request, and the status and body of the response.
async fn timed(address: SocketAddr) -> (Duration, u16, Value) {
    let begin = Instant::now();
    let (status, response) = json(post(address, png(3)).await).await;
    (begin.elapsed(), status, response)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_model_delays_only_one_request() {
    const DEADLINE: Duration = Duration::from_secs(3);
    let model = efficientnetb0(&[]).await;
    let (_listener, hanging) = hanging().await;
    let ensemble = ensemble(model.address, hanging, &["--model-deadline=3s"]).await;
    let preprocessing = preprocessing(ensemble.address, &[]).await;
    timed(preprocessing.address).await;
    let end = Instant::now() + DEADLINE * 2;
    while Instant::now() < end {
        let (took, status, response) = timed(preprocessing.address).await;
        assert_eq!(status, 200, "{response}");
        assert!(took < DEADLINE, "{took:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_requests_share_one_query() {
    let (_listener, hanging) = hanging().await;
    let preprocessing = preprocessing(hanging, &["--deadline=2s"]).await;
    let responses = join_all([(); 3].map(|()| timed(preprocessing.address))).await;
    for (took, status, response) in responses {
        assert_eq!(status, 504, "{response}");
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_with_other_labels_are_not_mixed() {
    let colours = Mounted::new(&colours(8).labelled("red,green,blue"));
    let vision = Vision::of(
        efficientnetb0(&[&colours.flag()]).await,
        mobilenetv2(&[]).await,
    )
    .await;
    let (status, response) = vision.classify(png(3)).await;
    assert_eq!(status, 200, "{response}");
    let note = response["notes"][0].as_str().unwrap();
    assert!(note.contains("have different labels"), "{response}");
    let weights = [0, 1].map(|model| response["models"][model]["weight"].as_f64().unwrap());
    assert_eq!(weights.iter().sum::<f64>(), 1.0, "{response}");
    assert!(weights.contains(&1.0), "{response}");
}
