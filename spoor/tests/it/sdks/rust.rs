//! The service outside the workspace, which depends on spoor-telemetry.

use std::{path::Path, time::Instant};

use super::{
    page::{RUST, root},
    service::Service,
    settings,
};
use crate::{
    lab::{Lab, eventually, policy, request},
    lessons::script::with_ports_of,
};

/// Traces per second, far below what the test requests.
const LIMIT: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn rust_service_follows_a_policy() {
    // The workspace's versions: they are downloaded already, and tested by everything else.
    let lock = root().join("docs/sdks/rust/Cargo.lock");
    std::fs::copy(root().join("Cargo.lock"), lock).unwrap();
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let [listen, ops] = spoor_testing::ports::free();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let own = format!(
        "export CARGO_TARGET_DIR='{}' CARGO_PROFILE_DEV_DEBUG=0\n\
         export SPOOR_LISTEN={listen} SPOOR_OPS_LISTEN={ops}\n",
        target.display()
    );
    let (settings, commands) = (
        with_ports_of(&lab, &settings()),
        with_ports_of(&lab, &RUST.commands()),
    );
    let mut service = Service::start(&root(), &format!("{settings}{own}{commands}"));

    let url = format!("http://{listen}");
    let http = reqwest::Client::new();
    let sampled = || async {
        let mut sampled = 0;
        for _ in 0..100 {
            sampled += u32::from(request(&http, &url).await.ok()?);
        }
        Some(sampled)
    };
    service.wait_until_ready(&url).await;
    assert_eq!(sampled().await, Some(100), "without a policy");

    let nothing = policy("head", "0%").replace("service-a", &RUST.service());
    lab.apply(&nothing).await;
    assert_eq!(sampled().await, Some(0), "under 0 %");

    let limited = nothing.replace(
        "probability: 0%",
        &format!("rateLimit: {{tracesPerSecond: {LIMIT}}}"),
    );
    assert_ne!(limited, nothing);
    lab.apply(&limited).await;
    let started = Instant::now();
    let kept = sampled().await.unwrap();
    // The limit allows the traces of the elapsed time, and those saved up during one second.
    let allowed = f64::from(LIMIT) * (1.0 + started.elapsed().as_secs_f64());
    assert!(
        kept > 0 && f64::from(kept) <= allowed,
        "{kept} of {allowed}"
    );

    lab.ok(&["delete", "head"]).await;
    eventually("everything again", sampled, |sampled| *sampled == Some(100)).await;

    let traces = ["traces", "--service", "example-rust"];
    let found = || async { lab.traces(&traces).await.as_array().unwrap().len() };
    eventually("its traces", found, |traces| *traces > 0).await;
}
