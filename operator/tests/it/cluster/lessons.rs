//! The lessons about sampling, on the cluster: the wrong solution fails its check, the reference
//! solution passes it. The scripts are the lab's own.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use super::{
    command::{in_repository, program},
    faults,
    lab::{Lab, STACK},
};

/// The time in which a trace is certainly gathered, decided on, and exported with a retry.
const MAX_TRACE_DELAY_SECONDS: &str = "15";
/// The time for one script, which sends load and waits for statuses that are written every 30 s.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn lesson_07_check_accepts_only_the_solution() {
    accepts_only_the_solution("07-how-sure").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lesson_08_check_accepts_only_the_solution() {
    accepts_only_the_solution("08-keep-errors").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lesson_09_check_accepts_only_the_solution() {
    accepts_only_the_solution("09-two-policies-in-conflict").await;
}

async fn accepts_only_the_solution(lesson: &'static str) {
    let Some(lab) = Lab::installed(lesson).await else {
        return;
    };
    // Traces of earlier tests would count.
    faults::empty_jaeger(&lab).await;
    let (has_passed, output) = run(&lab, &format!("{lesson}.wrong.sh")).await;
    assert!(
        !has_passed,
        "the wrong solution of {lesson} passes: {output}"
    );
    let expected = expected_message(lesson);
    assert!(
        output.contains(&expected),
        "{lesson}: no {expected:?} in {output}"
    );
    lab.log("the wrong solution fails");

    lab.clean().await;
    faults::empty_jaeger(&lab).await;
    let (has_passed, output) = run(&lab, &format!("{lesson}.sh")).await;
    assert!(
        has_passed && output.contains("Passed: "),
        "{lesson}: {output}"
    );
    lab.log("the reference solution passes");
}

/// Runs a solution with a `spoor` that works on the cluster. Returns true if it succeeded, and its
/// output.
async fn run(lab: &Lab, solution: &str) -> (bool, String) {
    let shims = tempfile::tempdir().unwrap();
    let shim = in_repository("operator/tests/it/cluster/spoor-on-cluster.sh");
    std::os::unix::fs::symlink(shim, shims.path().join("spoor")).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let bash = Command::new("bash")
        .arg(in_repository(&format!("docs/lessons/solutions/{solution}")))
        .current_dir(in_repository("."))
        .env("PATH", format!("{}:{path}", shims.path().display()))
        .env("KUBECTL", program("KUBECTL", "kubectl"))
        .env("NAMESPACE", lab.namespace)
        .env("MAX_TRACE_DELAY", MAX_TRACE_DELAY_SECONDS)
        .env("TRACES_URL", format!("http://{STACK}-query:16686/jaeger"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(SCRIPT_TIMEOUT, bash).await;
    let ended = ended
        .unwrap_or_else(|_| panic!("{solution} still runs"))
        .unwrap();
    let output = [ended.stdout, ended.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    (ended.status.success(), output.concat())
}

/// The message that the check must print about the wrong solution.
fn expected_message(lesson: &str) -> String {
    let path = in_repository(&format!("docs/lessons/solutions/{lesson}.wrong.sh"));
    let script = std::fs::read_to_string(path).unwrap();
    let message = script
        .lines()
        .find_map(|line| line.strip_prefix("# The check reports: "));
    message.expect("a line with the check's message").to_owned()
}
