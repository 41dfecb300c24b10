//! Startup: the printed addresses respond, and a failure is explained in one line.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::lab::{DEADLINE, Lab, command, eventually, policy, run};

#[tokio::test]
async fn every_printed_url_responds() {
    let folder = tempfile::tempdir().unwrap();
    let mut up = command();
    up.args(["up", "--any-ports", "--data"]).arg(folder.path());
    let mut up = up.stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(up.stdout.take().unwrap()).lines();
    let mut urls = Vec::new();
    loop {
        let line = tokio::time::timeout(DEADLINE, printed.next_line()).await;
        let line = line.expect("ready in time").unwrap();
        let line = line.expect("all that is printed when ready");
        if line.starts_with("Press Ctrl-C") {
            break;
        }
        let first = line.split_whitespace().next().map(str::to_owned);
        urls.extend(first.filter(|word| word.starts_with("http")));
    }
    assert_eq!(urls.len(), 9, "{urls:?}");
    for url in urls {
        let response = reqwest::get(&url).await.unwrap();
        assert_eq!(response.status(), 200, "{url}");
    }
}

#[tokio::test]
async fn names_the_setting_of_a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    for (option, variable) in [
        ("--port-otlp-grpc", "SPOOR_PORT_OTLP_GRPC"),
        ("--port-service-a", "SPOOR_PORT_SERVICE_A"),
    ] {
        let mut up = command();
        up.args(["up", "--data"]).arg(folder.path());
        for listener in PORT_OPTIONS.iter().filter(|listener| **listener != option) {
            up.args([listener, "0"]);
        }
        let ended = run(up.args([option, &port]), "").await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        for part in [port.as_str(), "in use", option, variable] {
            assert!(ended.stderr.contains(part), "{part}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn proxy_does_not_apply_to_the_lab() {
    // Nothing listens there.
    let proxy = "http://127.0.0.1:1";
    let lab = Lab::start_behind(proxy).await;
    let mut get = command();
    get.env("http_proxy", proxy);
    get.env_remove("no_proxy").env_remove("NO_PROXY");
    get.env("SPOOR_LAB", lab.url("admin"))
        .args(["get", "policies"]);
    let ended = run(&mut get, "").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_have_the_sampler_of_the_environment() {
    let sampler = [
        ("OTEL_TRACES_SAMPLER", "parentbased_jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "initialSamplingRate=0"),
    ];
    let lab = Lab::start_in_environment(&sampler, &["--services", "service-a,service-b"]).await;
    let request = async || {
        let response = reqwest::get(lab.url("service-a")).await.unwrap();
        assert_eq!(response.status(), 200);
    };
    request().await;
    lab.apply(&policy("all", "100%")).await;
    request().await;
    let traces = async || lab.traces(&["traces", "--service", "service-a"]).await;
    let found = eventually("the second request's trace", &traces, |it| {
        it[0].is_object()
    })
    .await;
    assert_eq!(found.as_array().unwrap().len(), 1, "{found:#}");
}

#[tokio::test]
async fn second_lab_names_the_running_one() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let folder = tempfile::tempdir().unwrap();
    let admin = lab.url("admin");
    let port = admin.rsplit(':').next().unwrap();
    let mut up = command();
    up.args(["up", "--data"]).arg(folder.path());
    for option in PORT_OPTIONS {
        up.args([option, if option == "--port-admin" { port } else { "0" }]);
    }
    let ended = run(&mut up, "").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let expected = format!("spoor: a lab is already running at {admin}; stop it, ");
    assert!(ended.stderr.starts_with(&expected), "{ended:?}");
}

#[tokio::test]
async fn two_options_with_one_port_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["--port-bands", "8080"][..],
        &["--port-bands", "7000", "--port-service-a", "7000"],
    ] {
        let mut up = command();
        up.args(["up", "--data"]).arg(folder.path()).args(arguments);
        let ended = run(&mut up, "").await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        for option in ["--port-service-a", "--port-bands"] {
            assert!(ended.stderr.contains(option), "{option}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn names_an_unwritable_data_folder() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("data");
    let ended = run(
        command().args(["up", "--any-ports", "--data"]).arg(&below),
        "",
    )
    .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains(below.to_str().unwrap()), "{ended:?}");
    assert!(ended.stderr.contains("--data"), "{ended:?}");
}

#[tokio::test]
async fn data_folder_serves_one_lab() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let data = lab.folder().join("data");
    let ended = run(
        command().args(["up", "--any-ports", "--data"]).arg(&data),
        "",
    )
    .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("another lab uses the data folder"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn damaged_policies_prevent_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("policies.json");
    std::fs::write(&kept, "{\"applied\": [").unwrap();
    let ended = run(
        command()
            .args(["up", "--any-ports", "--data"])
            .arg(folder.path()),
        "",
    )
    .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains(kept.to_str().unwrap()), "{ended:?}");
    assert!(ended.stderr.contains("are invalid") && ended.stderr.contains("move the file away"));
}

#[tokio::test]
async fn names_a_missing_policy_folder() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("policies");
    let ended = run(
        command()
            .args(["up", "--any-ports", "--data"])
            .arg(folder.path())
            .arg("--policies")
            .arg(&missing),
        "",
    )
    .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(
        ended.stderr.contains(missing.to_str().unwrap()),
        "{ended:?}"
    );
}

#[tokio::test]
async fn closed_pipe_ends_a_subcommand_quietly() {
    let subcommand = "override service-a 1% --for 1m -o yaml";
    let script = format!(
        "{} {subcommand} | (exec <&-; sleep 1)",
        env!("CARGO_BIN_EXE_spoor")
    );
    let ended = run(
        tokio::process::Command::new("bash").args(["-c", &script]),
        "",
    )
    .await;
    assert_eq!(ended.stderr, "", "{ended:?}");
}

#[tokio::test]
async fn unknown_service_error_lists_services() {
    let ended = run(command().args(["run", "service-c"]), "").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let known = "spoor: unknown service \"service-c\"; the services are service-a, service-b, gateway, wishlist, ";
    assert!(ended.stderr.starts_with(known), "{ended:?}");
}

#[tokio::test]
async fn sampler_reports_all_invalid_settings() {
    let ended = run(
        command()
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4327")
            .args(["run", "sampler", "--memory", "1MiB"]),
        "",
    )
    .await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(
        ended.stderr,
        "--memory (SPOOR_MEMORY): must be at least 32MiB, not 1048576 bytes\nOTEL_EXPORTER_OTLP_ENDPOINT: must be another receiver, not the sampler's own address 127.0.0.1:4327\n"
    );
}

#[tokio::test]
async fn names_the_fix_if_no_lab_is_running() {
    for subcommand in [&["get", "policies"][..], &["delete", "x"], &["fault"]] {
        let ended = run(
            command()
                .env("SPOOR_LAB", "http://127.0.0.1:1")
                .args(subcommand),
            "",
        )
        .await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(
            ended.stderr,
            "spoor: no lab is running at http://127.0.0.1:1/; start one with `spoor up`, or give its address with --lab\n"
        );
    }
}

const PORT_OPTIONS: [&str; 15] = [
    "--port-otlp-grpc",
    "--port-otlp-http",
    "--port-query-http",
    "--port-query-grpc",
    "--port-sampling-http",
    "--port-sampling-grpc",
    "--port-admin",
    "--port-service-a",
    "--port-service-b",
    "--port-gateway",
    "--port-wishlist",
    "--port-service-a-ops",
    "--port-service-b-ops",
    "--port-gateway-ops",
    "--port-wishlist-ops",
];
