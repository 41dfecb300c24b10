//! Several of Spoor's samplers under load. Their number changes from one to three, to two, and back
//! to one: no trace is lost, split or repeated. Their pods are deleted: none is lost or split.
//!
//! Former rings stay for at least ten minutes. The test does not wait for their end: after it has
//! counted, it gives up the samplers that leave, which have nothing left by then.

use std::time::{Duration, SystemTime};

use kube::api::DeleteParams;
use serde_json::json;
use tokio::time::sleep;

use super::{
    comparison::Comparison,
    jaeger,
    lab::{Lab, ROLLOUT_TIMEOUT, STACK},
    load::{self, Sender},
    pods,
    sampler::{self, Length, SERVICES, SHORT},
    stack,
};
use crate::apiserver::eventually;

const POLICY: &str = "scaled";
/// The time of load before and after each change.
const LOAD_BETWEEN: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn scaling_loses_splits_and_repeats_nothing() {
    let Some(lab) = Lab::with_sampler("sampler, scaling").await else {
        return;
    };
    let length = Length::from_env();
    sampler::apply_rules(&lab, POLICY).await;
    for round in 1..=length.rounds {
        stack::delete_forget_annotation(&lab).await;
        let compared = scale_under_load(&lab, length).await;
        lab.log(format_args!("round {round}: {compared}"));
        compared.assert_clean();
        stack::reset(&lab).await;
        lab.wait_until_settled().await;
    }
}

/// Without claims, the volumes end with their pods: a sampler's peer keeps its files for the next
/// pod.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_samplers_lose_and_split_nothing() {
    let Some(lab) = Lab::with_sampler("sampler, deleted pods").await else {
        return;
    };
    let length = Length::from_env();
    sampler::apply_rules(&lab, POLICY).await;
    stack::delete_forget_annotation(&lab).await;
    stack::patch(&lab, &json!({"sampler": {"replicas": 3}})).await;
    wait_until_divided(&lab, 3).await;
    let since = SystemTime::now();
    let senders = length.start(&lab, SHORT, load::UNTIL_STOPPED).await;
    for ordinal in 0..3 {
        sleep(LOAD_BETWEEN).await;
        replace_sampler(&lab, ordinal).await;
    }
    let compared = compare(&lab, senders, since).await;
    lab.log(compared);
    assert_eq!((compared.lost, compared.split), (0, 0), "{compared}");
}

/// Deletes a sampler's pod, as draining its node would, and waits until the next one is ready.
async fn replace_sampler(lab: &Lab, ordinal: u32) {
    let name = format!("{STACK}-sampler-{ordinal}");
    let former = pods::of_service(lab, "sampler").await[&name].clone();
    let gracefully = DeleteParams::default();
    pods::api(lab).delete(&name, &gracefully).await.unwrap();
    eventually("the next pod", ROLLOUT_TIMEOUT, || async {
        match pods::of_service(lab, "sampler").await.get(&name) {
            Some(next) if *next != former => Ok(()),
            pod => Err(format!("{pod:?}")),
        }
    })
    .await;
    pods::wait_until_ready(lab).await;
    lab.log(format_args!("replaced {name}"));
}

/// Changes the number of samplers under load, and compares what was sent with what is in Jaeger.
async fn scale_under_load(lab: &Lab, length: Length) -> Comparison {
    let since = SystemTime::now();
    let senders = length.start(lab, SHORT, load::UNTIL_STOPPED).await;
    for samplers in [3, 2, 1] {
        sleep(LOAD_BETWEEN).await;
        stack::patch(lab, &json!({"sampler": {"replicas": samplers}})).await;
        wait_until_divided(lab, samplers).await;
    }
    compare(lab, senders, since).await
}

/// Stops the load a while later, and compares what was sent with what is in Jaeger.
async fn compare(lab: &Lab, senders: Vec<Sender<'_>>, since: SystemTime) -> Comparison {
    sleep(LOAD_BETWEEN).await;
    let sent = sampler::stop(senders).await;
    sampler::wait_until_empty(lab).await;
    let found = jaeger::all_traces(lab, SERVICES[0], since).await;
    Comparison::new(&sent, &found, POLICY)
}

/// Waits until new traces are divided among this number of samplers.
pub async fn wait_until_divided(lab: &Lab, samplers: u32) {
    eventually("a ring of all samplers", ROLLOUT_TIMEOUT, || async {
        let status = &stack::read(lab).await["status"]["sampler"];
        let members = status["rings"]["members"].as_array();
        match members.and_then(|members| members.last()) {
            Some(current) if *current == samplers => Ok(()),
            _ => Err(status.to_string()),
        }
    })
    .await;
}
