use std::net::SocketAddr;

use serde_json::Value;
use spoor_testing::{Running, args_at, nowhere};
use spoor_vision::model;

use crate::{
    mounted::Mounted,
    onnx::colours,
    running::{
        Model, Vision, efficientnetb0, ensemble, json, mobilenetv2, png, post, preprocessing,
    },
    spans::CAUGHT,
};

async fn end(mut model: Model) {
    model.stop.cancel();
    (&mut model.task).await.unwrap().unwrap();
}

/// mobilenetv2 on a port that it had before.
async fn mobilenetv2_at(address: SocketAddr, flags: &[&str]) -> Model {
    let listen = format!("--listen={address}");
    let place = [listen.as_str(), "--ops-listen=127.0.0.1:0"];
    let args: model::Args = args_at(&[place.as_slice(), &["--model=mobilenetv2"], flags].concat());
    Running::start(args, &CAUGHT.mobilenetv2).await
}

fn degraded(answer: &Value) -> &str {
    answer["degraded"].as_str().unwrap_or_default()
}

/// Until a picture is classified as it should be: an answer that says so, or time is up.
async fn until(vision: &Vision, is_right: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let (status, answer) = vision.classify(png(3)).await;
        if status == 200 && is_right(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status}: {answer}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_model_is_away_the_other_decides_and_it_comes_back_by_itself() {
    let mut vision = Vision::start().await;
    until(&vision, |answer| degraded(answer).is_empty()).await;
    let address = vision.mobilenetv2.address;
    let ended = std::mem::replace(&mut vision.mobilenetv2, mobilenetv2(&[]).await);
    end(ended).await;

    let (status, answer) = vision.classify(png(3)).await;
    assert_eq!(status, 200, "{answer}");
    let why = degraded(&answer);
    assert!(
        why.starts_with("mobilenetv2 has no say: it can't be reached"),
        "{answer}"
    );
    assert_eq!(answer["models"][0]["weight"], 1.0);
    assert_eq!(answer["models"][1]["error"], "it can't be reached");

    vision.mobilenetv2 = mobilenetv2_at(address, &[]).await;
    until(&vision, |answer| degraded(answer).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_away_from_the_start_comes_in_too() {
    let away = nowhere().await;
    let model = efficientnetb0(&[]).await;
    let ensemble = ensemble(model.address, away, &[]).await;
    let preprocessing = preprocessing(ensemble.address, &[]).await;
    let (status, answer) = json(post(preprocessing.address, png(3)).await).await;
    assert_eq!(status, 200, "{answer}");
    assert!(
        degraded(&answer).contains("mobilenetv2 has no say"),
        "{answer}"
    );
    let vision = Vision {
        efficientnetb0: model,
        mobilenetv2: mobilenetv2_at(away, &[]).await,
        ensemble,
        preprocessing,
    };
    until(&vision, |answer| degraded(answer).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_model_and_without_the_ensemble_it_says_so() {
    let ensemble = ensemble(nowhere().await, nowhere().await, &[]).await;
    for ensemble in [ensemble.address, nowhere().await] {
        let preprocessing = preprocessing(ensemble, &[]).await;
        let answer = post(preprocessing.address, png(3)).await;
        assert_eq!(answer.headers()["retry-after"], "1");
        let (status, problem) = json(answer).await;
        assert_eq!(status, 503, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("no model can be reached"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_replaced_by_one_of_another_input_is_asked_rightly_at_once() {
    let small = Mounted::new(&colours(8).labelled("red,green,blue"));
    let large = Mounted::new(&colours(16).labelled("red,green,blue"));
    let mut vision = Vision::of(
        efficientnetb0(&[&small.flag()]).await,
        mobilenetv2(&[&small.flag()]).await,
    )
    .await;
    until(&vision, |answer| degraded(answer).is_empty()).await;
    let address = vision.mobilenetv2.address;
    let ended = std::mem::replace(&mut vision.mobilenetv2, mobilenetv2(&[]).await);
    end(ended).await;
    vision.mobilenetv2 = mobilenetv2_at(address, &[&large.flag()]).await;
    // The connection to the one before may take a moment to be given up.
    until(&vision, |answer| degraded(answer).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_know_other_labels_are_not_mixed() {
    let colours = Mounted::new(&colours(8).labelled("red,green,blue"));
    let vision = Vision::of(
        efficientnetb0(&[&colours.flag()]).await,
        mobilenetv2(&[]).await,
    )
    .await;
    let (status, answer) = vision.classify(png(3)).await;
    assert_eq!(status, 200, "{answer}");
    let note = answer["notes"][0].as_str().unwrap();
    assert!(note.contains("do not know the same labels"), "{answer}");
    let weights = [0, 1].map(|model| answer["models"][model]["weight"].as_f64().unwrap());
    assert_eq!(weights.iter().sum::<f64>(), 1.0, "{answer}");
    assert!(weights.contains(&1.0), "{answer}");
}
