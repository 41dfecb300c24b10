//! The stock OTLP exporters of Python, installed from PyPI.

use serde_json::Value;

use crate::{
    lab::Lab,
    peer::{has_programs, install_folder, run_in},
};

#[tokio::test(flavor = "multi_thread")]
async fn python_exporters_deliver_spans() {
    if !has_programs("the Python SDK", &["python3"]) {
        return;
    }
    let folder = install_folder("python", &["requirements.txt", "deliver.py"]);
    run_in(&folder, "python3", &["-m", "venv", "venv"]).await;
    let python = folder.join("venv/bin/python");
    let python = python.to_str().unwrap();
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    run_in(
        &folder,
        python,
        &[&install[..], &["-r", "requirements.txt"]].concat(),
    )
    .await;
    let lab = Lab::start().await;
    let (grpc, http) = (lab.url("otlp-grpc"), lab.url("otlp-http"));
    let printed = run_in(&folder, python, &["deliver.py", grpc, http, "python"]).await;
    let ids: Value = serde_json::from_str(&printed).unwrap();
    for kind in ["grpc", "http", "gzip"] {
        let id = ids[kind].as_str().unwrap();
        let trace = lab.traces(&["trace", id]).await;
        let spans = trace["spans"].as_array().unwrap();
        let names: Vec<&str> = spans
            .iter()
            .map(|span| span["operation"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["parent", "child"], "{kind}: {trace:#}");
        assert_eq!(spans[1]["error"], true, "{kind}: {trace:#}");
        assert_eq!(spans[0]["service"], format!("python-{kind}"), "{trace:#}");
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
