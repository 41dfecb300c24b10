//! Unmodified SDKs, installed from their registries.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::{
    lab::{Lab, command_of, eventually, policy},
    peer::{have, runs, workshop},
};

/// Under 10 %, so many of 2000 are as good as certain: more than 8 standard deviations each way.
const AT_TEN_PERCENT: std::ops::RangeInclusive<u64> = 90..=310;

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_sdk_follows_a_policy() {
    if !have("the JavaScript SDK", &["node", "npm"]) {
        return;
    }
    let folder = workshop(
        "javascript",
        &["package.json", "package-lock.json", "follow-policy.mjs"],
    );
    runs(
        &folder,
        "npm",
        &["ci", "--no-audit", "--no-fund", "--silent"],
    )
    .await;
    let lab = Lab::start().await;
    let mut process = command_of("node")
        .arg("follow-policy.mjs")
        .current_dir(&folder)
        .env("SAMPLING_ENDPOINT", lab.url("sampling-http"))
        .env(
            "OTLP_ENDPOINT",
            format!("{}/v1/traces", lab.url("otlp-http")),
        )
        .env("SERVICE", "javascript")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = tokio::sync::Mutex::new(process.stdin.take().unwrap());
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let lines = tokio::sync::Mutex::new(lines);
    let sampled_of = |number: u64| {
        let (stdin, lines) = (&stdin, &lines);
        async move {
            stdin
                .lock()
                .await
                .write_all(format!("{number}\n").as_bytes())
                .await
                .unwrap();
            let line = lines
                .lock()
                .await
                .next_line()
                .await
                .unwrap()
                .expect("an answer");
            let answer: Value = serde_json::from_str(&line).unwrap();
            answer["sampled"].as_u64().unwrap()
        }
    };
    let of_javascript = |probability| policy("js", probability).replace("service-a", "javascript");

    assert_eq!(sampled_of(200).await, 200, "the default");
    lab.ok_given(&of_javascript("0%"), &["apply", "-f", "-"])
        .await;
    eventually(
        "nothing under 0 %",
        || sampled_of(200),
        |sampled| *sampled == 0,
    )
    .await;
    lab.ok_given(&of_javascript("10%"), &["apply", "-f", "-"])
        .await;
    let sampled = eventually(
        "some under 10 %",
        || sampled_of(2000),
        |sampled| *sampled > 0,
    )
    .await;
    // The sampler may have changed amid the first measure.
    assert!(
        sampled <= *AT_TEN_PERCENT.end(),
        "{sampled} of 2000 at 10 %"
    );
    let sampled = sampled_of(2000).await;
    assert!(
        AT_TEN_PERCENT.contains(&sampled),
        "{sampled} of 2000 at 10 %"
    );

    let described = lab.json(&["get", "policies", "js", "-o", "json"]).await;
    let clients = &described["status"]["clients"];
    assert_eq!(clients["polling"], 1, "{described:#}");
    assert_eq!(
        clients["current"], 0,
        "a poller confirms nothing: {described:#}"
    );

    lab.ok(&["delete", "js"]).await;
    eventually(
        "the default again",
        || sampled_of(200),
        |sampled| *sampled == 200,
    )
    .await;
    let delivered = || async {
        let found = lab
            .traces(&["traces", "--service", "javascript", "--limit", "1500"])
            .await;
        found.as_array().unwrap().len()
    };
    eventually("its traces", delivered, |traces| *traces >= 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_delivers() {
    if !have("the Python SDK", &["python3"]) {
        return;
    }
    let folder = workshop("python", &["requirements.txt", "deliver.py"]);
    runs(&folder, "python3", &["-m", "venv", "venv"]).await;
    let python = folder.join("venv/bin/python");
    let python = python.to_str().unwrap();
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    runs(
        &folder,
        python,
        &[&install[..], &["-r", "requirements.txt"]].concat(),
    )
    .await;
    let lab = Lab::start().await;
    let (grpc, http) = (lab.url("otlp-grpc"), lab.url("otlp-http"));
    let printed = runs(&folder, python, &["deliver.py", grpc, http, "python"]).await;
    let ids: Value = serde_json::from_str(&printed).unwrap();
    for way in ["grpc", "http", "gzip"] {
        let id = ids[way].as_str().unwrap();
        let trace = lab.traces(&["trace", id]).await;
        let spans = trace["spans"].as_array().unwrap();
        let names: Vec<&str> = spans
            .iter()
            .map(|span| span["operation"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["parent", "child"], "{way}: {trace:#}");
        assert_eq!(spans[1]["error"], true, "{way}: {trace:#}");
        assert_eq!(spans[0]["service"], format!("python-{way}"), "{trace:#}");
    }
    let gold = [
        "traces",
        "--service",
        "python-grpc",
        "--tag",
        "customer.tier=gold",
    ];
    assert_eq!(lab.traces(&gold).await.as_array().unwrap().len(), 1);
}
