//! Services as child processes.

use crate::lab::{Lab, eventually, is_running, policy, send};

fn pid(service: &serde_json::Value) -> u32 {
    u32::try_from(service["pid"].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn a_killed_service_comes_back_and_follows_the_policy() {
    let lab = Lab::start().await;
    lab.apply(&policy("service-a", "0%")).await;
    let before = lab.service("service-a").await;
    send("-KILL", pid(&before));
    let look = || lab.service("service-a");
    let after = eventually("started again", look, |service| {
        service["restarts"] == 1 && service["state"] == "ready"
    })
    .await;
    assert_ne!(
        (&before["pid"], &before["instance"]),
        (&after["pid"], &after["instance"])
    );
    let get = async || {
        lab.json(&["get", "policy", "service-a", "-o", "json"])
            .await
    };
    let shown = eventually("converged", get, |policy| {
        policy["status"]["conditions"][2]["status"] == "True"
    })
    .await;
    assert_eq!(shown["status"]["clients"]["expected"], 1);
    assert_eq!(lab.requests(20).await, 0);
}

#[tokio::test]
async fn services_end_with_a_lab_that_is_killed() {
    let lab = Lab::start().await;
    let status = lab.status().await;
    let pids: Vec<u32> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(pid)
        .collect();
    assert_eq!(pids.len(), 15);
    lab.kill().await;
    let running = async || pids.iter().filter(|pid| is_running(**pid)).count();
    eventually("all have ended", running, |running| *running == 0).await;
}

#[tokio::test]
async fn only_the_chosen_services_run() {
    let lab = Lab::start_with(&["--services", "service-a,service-b"]).await;
    let status = lab.status().await;
    let names: Vec<&str> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["service-a", "service-b"]);
    assert!(lab.request().await);
}
