#![allow(clippy::unwrap_used)]

use clap::Parser;
use rstest::rstest;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: SamplerArgs,
}

fn read(options: &[&str], variables: &[(&str, &str)]) -> Result<SamplerSettings, InvalidSettings> {
    let options = ["sampler"].iter().chain(options);
    let command = Command::try_parse_from(options).unwrap();
    command.args.settings(|name| {
        let variable = variables.iter().find(|(variable, _)| *variable == name);
        variable.map(|(_, value)| (*value).to_owned())
    })
}

/// The settings that are reported as invalid.
fn invalid(options: &[&str], variables: &[(&str, &str)]) -> Vec<&'static str> {
    let InvalidSettings(errors) = read(options, variables).unwrap_err();
    errors.iter().map(|error| error.setting).collect()
}

#[test]
fn defaults_lead_to_the_lab() {
    let settings = read(&[], &[]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:4327");
    assert_eq!(settings.output.endpoint, "http://localhost:4317");
    assert!(settings.control.is_none() && settings.peers.is_none());
    assert!(settings.forwarder.journal.is_none());
    assert_eq!(
        settings.forwarder.tail.decision_wait,
        Duration::from_secs(5)
    );
    assert_eq!(settings.forwarder.tail.max_bytes, 256 << 20);
    assert!(settings.log.is_disabled && settings.log.otlp.is_none());
}

#[test]
fn options_and_variables_are_read() {
    let options = [
        "--journal",
        "/data",
        "--journal-size",
        "2GiB",
        "--stack",
        "tracing",
        "--namespace",
        "shop",
    ];
    let variables = [
        ("SPOOR_CONTROL_ENDPOINT", "https://spoor-operator:5780"),
        ("SPOOR_CONTROL_TOKEN_FILE", "/token"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=sampler-0"),
    ];
    let settings = read(&options, &variables).unwrap();
    let journal = settings.forwarder.journal.unwrap();
    assert_eq!(journal.folder, PathBuf::from("/data"));
    assert_eq!(journal.max_bytes, 2 << 30);
    let namespace = settings.forwarder.tail.namespace.unwrap();
    assert_eq!(namespace.as_str(), "shop");
    let control = settings.control.unwrap();
    assert_eq!(control.endpoint, "https://spoor-operator:5780");
    assert!(control.credentials.token_file.is_some());
    assert_eq!(settings.output.endpoint, "http://collector:4317");
    assert_eq!(
        (&*settings.stack, &*settings.instance),
        ("tracing", "sampler-0")
    );
}

const PEERS: [&str; 10] = [
    "--peers",
    "tracing-sampler-{ordinal}.tracing-sampler-pods:4320",
    "--journal",
    "/data",
    "--stack",
    "tracing",
    "--namespace",
    "shop",
    "--peers-token-file",
    "/peers/token",
];

#[test]
fn peers_are_read() {
    let instance = "service.instance.id=tracing-sampler-2";
    let variables = [("OTEL_RESOURCE_ATTRIBUTES", instance)];
    let peers = read(&PEERS, &variables).unwrap().peers.unwrap();
    assert_eq!(peers.listen.to_string(), "127.0.0.1:4320");
    assert_eq!((peers.own, &*peers.stack), (2, "shop/tracing"));
    assert_eq!(peers.token_file, PathBuf::from("/peers/token"));
    assert_eq!(peers.addresses.len(), 64);
    assert_eq!(
        peers.addresses[10],
        "http://tracing-sampler-10.tracing-sampler-pods:4320"
    );
}

#[rstest]
#[case::no_number("sampler")]
#[case::no_ordinal("sampler-a")]
#[case::too_large("sampler-64")]
fn instance_of_a_peer_needs_an_ordinal(#[case] instance: &str) {
    let attributes = format!("service.instance.id={instance}");
    let variables = [("OTEL_RESOURCE_ATTRIBUTES", &*attributes)];
    assert_eq!(invalid(&PEERS, &variables), ["OTEL_RESOURCE_ATTRIBUTES"]);
}

#[rstest]
#[case::without_ordinal("sampler:4320")]
#[case::without_port("sampler-{ordinal}")]
#[case::with_scheme("http://sampler-{ordinal}:4320")]
#[case::with_path("sampler-{ordinal}:4320/v1")]
fn address_of_peers_is_a_host_and_a_port(#[case] address: &str) {
    let variables = [("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=sampler-0")];
    let mut options = PEERS;
    options[1] = address;
    assert_eq!(invalid(&options, &variables), ["--peers (SPOOR_PEERS)"]);
}

#[test]
fn peers_require_a_journal_a_stack_and_a_token() {
    let variables = [("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=sampler-0")];
    let required = [
        "--journal (SPOOR_JOURNAL)",
        "--stack (SPOOR_STACK)",
        "--namespace (SPOOR_NAMESPACE)",
        "--peers-token-file (SPOOR_PEERS_TOKEN_FILE)",
    ];
    assert_eq!(invalid(&PEERS[..2], &variables), required);
}

#[rstest]
#[case::short_wait(&["--decision-wait", "10ms"], &[], "--decision-wait (SPOOR_DECISION_WAIT)")]
#[case::shorter_than_wait(
    &["--max-trace-duration", "1s"],
    &[],
    "--max-trace-duration (SPOOR_MAX_TRACE_DURATION)"
)]
#[case::memory(&["--memory", "1MiB"], &[], "--memory (SPOOR_MEMORY)")]
#[case::journal_size(&["--journal-size", "1MiB"], &[], "--journal-size (SPOOR_JOURNAL_SIZE)")]
#[case::stack(&["--stack", "A b"], &[], "--stack (SPOOR_STACK)")]
#[case::no_output(&[], &[("OTEL_TRACES_EXPORTER", "none")], "OTEL_TRACES_EXPORTER")]
#[case::itself(
    &["--listen", "127.0.0.1:4317"],
    &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")],
    "OTEL_EXPORTER_OTLP_ENDPOINT"
)]
#[case::control(&[], &[("SPOOR_CONTROL_ENDPOINT", "operator")], "SPOOR_CONTROL_ENDPOINT")]
fn invalid_setting_is_named(
    #[case] options: &[&str],
    #[case] variables: &[(&str, &str)],
    #[case] setting: &str,
) {
    assert_eq!(invalid(options, variables), [setting]);
}

#[rstest]
#[case::option(&["--memory", "1MiB"], "--memory (SPOOR_MEMORY)")]
#[case::peers(&["--peers", "sampler-{ordinal}:4320"], "--journal (SPOOR_JOURNAL)")]
fn all_errors_are_reported_together(#[case] options: &[&str], #[case] setting: &str) {
    let variable = "SPOOR_CONTROL_ENDPOINT";
    let named = invalid(options, &[(variable, "operator")]);
    assert!(
        named.contains(&variable) && named.contains(&setting),
        "{named:?}"
    );
}

#[test]
fn errors_of_peers_are_reported_without_an_output() {
    let variables = [
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=sampler"),
    ];
    let named = invalid(&PEERS, &variables);
    assert!(named.contains(&"OTEL_TRACES_EXPORTER"), "{named:?}");
    assert!(named.contains(&"OTEL_RESOURCE_ATTRIBUTES"), "{named:?}");
}
