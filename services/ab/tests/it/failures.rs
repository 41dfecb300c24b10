use std::time::Duration;

use spoor_testing::{args_at, unused_address};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    pair::{Running, get, json, service_a, service_b, start_b},
    spans::CAPTURED,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_service_b_is_a_500() {
    let b = service_b(&["--error-rate=100%"]).await;
    let a = service_a(b.address, &[]).await;
    let (status, body) = json(get(a.address, "/?wait=0ms&calc=0").await).await;
    assert_eq!(status, 500);
    assert_eq!(
        body["detail"],
        "service-b: simulated failure (100% of requests fail)"
    );
    assert_eq!(body["traceId"].as_str().unwrap().len(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_fail_at_the_configured_rate() {
    let b = service_b(&["--error-rate=50%"]).await;
    let a = service_a(b.address, &[]).await;
    let mut failed = 0;
    for _ in 0..200 {
        failed += usize::from(get(a.address, "/?wait=0ms&calc=0").await.status() == 500);
    }
    // The count is outside these bounds once in 10^10 runs.
    assert!((55..=145).contains(&failed), "{failed} of 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_service_b_is_a_503_until_it_starts() {
    let address = unused_address();
    let a = service_a(address, &[]).await;
    let response = get(a.address, "/?wait=0ms&calc=0").await;
    assert_eq!(response.headers()["retry-after"], "1");
    let (status, body) = json(response).await;
    assert_eq!(
        (status, &body["detail"]),
        (503, &"service-b cannot be reached".into())
    );

    let listen = format!("--listen={address}");
    let b = start_b(args_at(&[&listen, "--ops-listen=127.0.0.1:0"])).await;
    wait_until_ok(&a).await;
    drop(b);
}

async fn wait_until_ok(a: &Running) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while get(a.address, "/?wait=0ms&calc=0").await.status() != 200 {
        assert!(Instant::now() < deadline, "never connected again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_response_is_a_504() {
    let b = service_b(&[]).await;
    let a = service_a(b.address, &["--deadline=20ms"]).await;
    let (status, _) = json(get(a.address, "/?wait=10s").await).await;
    assert_eq!(status, 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_service_b_is_a_504() {
    // Accepts connections and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let a = service_a(silent.local_addr().unwrap(), &["--deadline=20ms"]).await;
    assert_eq!(json(get(a.address, "/").await).await.0, 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = format!("--listen={}", taken.local_addr().unwrap());
    let service = args_at::<spoor_ab::b::ServiceBArgs>(&[&listen]);
    let error = service
        .run(CAPTURED.b.clone(), CancellationToken::new())
        .await
        .expect_err("the port is in use")
        .to_string();
    assert!(
        error.contains("cannot listen on 127.0.0.1:") && error.contains("--listen"),
        "{error}"
    );
}
