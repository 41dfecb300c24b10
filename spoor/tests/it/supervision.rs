//! Services as child processes.

use std::process::Stdio;

use spoor_lab::Service;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::lab::{DEADLINE, Lab, command, command_of, eventually, is_running, policy, run, send};

fn pid(service: &serde_json::Value) -> u32 {
    u32::try_from(service["pid"].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn killed_service_restarts_with_the_policy() {
    let lab = Lab::start().await;
    lab.apply(&policy("service-a", "0%")).await;
    let before = lab.service("service-a").await;
    send("-KILL", pid(&before));
    let service = || lab.service("service-a");
    let after = eventually("started again", service, |service| {
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
async fn services_end_when_the_lab_is_killed() {
    let lab = Lab::start().await;
    let status = lab.status().await;
    let pids: Vec<u32> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(pid)
        .collect();
    assert_eq!(pids.len(), Service::ALL.len());
    lab.kill().await;
    let running = async || pids.iter().filter(|pid| is_running(**pid)).count();
    eventually("all have ended", running, |running| *running == 0).await;
}

/// The services of the killed lab finish their requests, and keep their ports until then.
#[tokio::test]
async fn killed_lab_restarts_at_once() {
    let services = "--services=service-a,service-b";
    let lab = Lab::start_with(&[services]).await;
    let ports = lab.ports();
    let options: Vec<&str> = [services]
        .into_iter()
        .chain(ports.iter().map(String::as_str))
        .collect();
    let slow = format!("{}/?wait=1s", lab.url("service-a"));
    let under_way = tokio::spawn(reqwest::get(slow));
    assert!(lab.request().await);
    let again = Lab::start_in(lab.kill().await, &options).await;
    assert!(again.request().await);
    under_way.abort();
}

#[tokio::test]
async fn failed_start_ends_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut up = command();
    up.args([
        "up",
        "--any-ports",
        "--services",
        "service-b,wishlist",
        "--data",
    ])
    .arg(folder.path())
    .env("SPOOR_DATABASE_DEADLINE", "never")
    .env_remove("RUST_LOG");
    let ended = run(&mut up, "").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains("wishlist ended (exit status: "), "{ended:?}");
    assert!(last.contains(" during startup"), "{ended:?}");
    // The lab's own log is written by another thread, so its warnings may appear in between.
    let service_lines = ended.stderr.lines().filter(|line| line.contains(" | "));
    let reason = service_lines.skip_while(|line| !line.starts_with("wishlist"));
    let reason: Vec<_> = reason.collect();
    assert!(
        reason
            .iter()
            .any(|line| line.contains("--database-deadline")),
        "{ended:?}"
    );
    // The output of the service that failed is printed last.
    assert!(
        reason.iter().all(|line| line.starts_with("wishlist")),
        "{ended:?}"
    );
}

#[tokio::test]
async fn ready_message_is_printed_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut up = command_of("bash");
    up.args(["-c", "exec \"$0\" up --any-ports --data \"$1\" 2>&1"])
        .arg(env!("CARGO_BIN_EXE_spoor"))
        .arg(folder.path())
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped());
    let mut up = up.spawn().unwrap();
    let mut printed = BufReader::new(up.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(DEADLINE, printed.next_line()).await;
    let first = first.expect("ready in time").unwrap().unwrap();
    assert!(first.starts_with("The lab is ready"), "{first}");
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
