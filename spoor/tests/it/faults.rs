//! Faults, through the command and the admin API.

use crate::lab::{Lab, eventually};

#[tokio::test]
async fn fault_fails_requests_until_cleared() {
    let lab = Lab::start().await;
    lab.ok(&["fault", "service-b", "--errors", "100%"]).await;
    let status = async || {
        let url = format!("{}/?wait=0ms", lab.url("service-a"));
        reqwest::get(url).await.unwrap().status().as_u16()
    };
    eventually("failing", status, |status| *status >= 500).await;
    let shown = lab.json(&["fault", "--output", "json"]).await;
    assert_eq!(shown["service-b"][0]["errors"], "100%");
    lab.ok(&["fault", "--clear"]).await;
    eventually("succeeding again", status, |status| *status == 200).await;
    assert_eq!(lab.ok(&["fault"]).await, "No faults.\n");
}

#[tokio::test]
async fn refuses_fault_of_unknown_service() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let ended = lab.spoor(&["fault", "service-c", "--errors", "5%"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        ended.stderr,
        "spoor: unknown service \"service-c\"; the lab's services are service-b\n"
    );
    let ended = lab.spoor(&["fault", "service-b", "--errors", "0%"]).await;
    assert!(ended.stderr.contains("has no effect"), "{ended:?}");
    assert_eq!(lab.ok(&["fault"]).await, "No faults.\n");
}

#[tokio::test]
async fn api_refuses_a_fault_delay_over_a_minute() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let url = format!("{}/v1/faults/service-b", lab.url("admin"));
    let post = async |milliseconds: u32| {
        let fault = serde_json::json!({ "delayMilliseconds": milliseconds });
        let response = reqwest::Client::new().post(&url).json(&fault).send().await;
        let response = response.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<serde_json::Value>().await.unwrap())
    };
    let (status, problem) = post(60_001).await;
    assert_eq!(status, 400, "{problem}");
    assert_eq!(problem["detail"], "delayMilliseconds: must be at most 60 s");
    assert_eq!(lab.ok(&["fault"]).await, "No faults.\n");
    assert_eq!(post(60_000).await.0, 200);
    assert!(lab.ok(&["fault"]).await.contains("60000ms"));
}
