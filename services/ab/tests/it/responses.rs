use serde_json::json;

use crate::pair::{get, json, service_a, service_b};

#[tokio::test(flavor = "multi_thread")]
async fn responses_report_the_work_and_the_trace() {
    let b = service_b(&[]).await;
    let a = service_a(b.address, &[]).await;
    let response = get(a.address, "/?wait=0ms&calc=0").await;
    let header = response.headers()["x-trace-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let (status, body) = json(response).await;
    assert_eq!(status, 200);
    let expected = json!({
        "answeredBy": "service-b", "waitedMillis": 0, "result": "0", "traceId": header,
    });
    assert_eq!(body, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_parameters_use_service_bs_settings() {
    let b = service_b(&["--wait=3ms", "--calc=7"]).await;
    let a = service_a(b.address, &[]).await;
    let (_, decided) = json(get(a.address, "/").await).await;
    assert_eq!(decided["waitedMillis"], 3);
    let (_, requested) = json(get(a.address, "/?wait=0ms&calc=7").await).await;
    assert_eq!(requested["result"], decided["result"]);
}

#[rstest::rstest]
#[case(
    "/?wait=soon",
    400,
    "wait: must be a duration such as 0ms, 250ms or 1.5s, not \"soon\""
)]
#[case("/?wait=1h", 400, "wait: must be at most 10s, not \"1h\"")]
#[case(
    "/?calc=-1",
    400,
    "calc: must be a number from 0 to 2000000, not \"-1\""
)]
#[case("/?wait=1s&wait=2s", 400, "duplicate parameter `wait`; pass it once")]
#[case("/elsewhere", 404, "the only path is /")]
#[tokio::test(flavor = "multi_thread")]
async fn refuses_invalid_requests(#[case] path: &str, #[case] status: u16, #[case] detail: &str) {
    let b = service_b(&[]).await;
    let a = service_a(b.address, &[]).await;
    let (actual, body) = json(get(a.address, path).await).await;
    assert_eq!(actual, status);
    assert!(body["detail"].as_str().unwrap().contains(detail), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_other_methods() {
    let b = service_b(&[]).await;
    let a = service_a(b.address, &[]).await;
    let url = format!("http://{}/", a.address);
    let response = reqwest::Client::new().post(url).send().await.unwrap();
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    assert_eq!(json(response).await.0, 405);
}

#[rstest::rstest]
#[case(200, 10)]
#[case(1, 300_000)]
#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_request_head_that_is_too_large(#[case] headers: usize, #[case] bytes: usize) {
    let b = service_b(&[]).await;
    let a = service_a(b.address, &[]).await;
    let url = format!("http://{}/?wait=0ms&calc=0", a.address);
    let mut request = reqwest::Client::new().get(url);
    for number in 0..headers {
        request = request.header(format!("x-{number}"), "x".repeat(bytes));
    }
    assert_eq!(request.send().await.unwrap().status(), 431);
}
