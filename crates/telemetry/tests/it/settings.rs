use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use clap::{Args, Command};
use rstest::rstest;
use spoor_policy::{Probability, ServiceName};
use spoor_telemetry::{
    TelemetrySettings,
    serve::ListenAddresses,
    settings::{BatchSettings, LogFormat, OtlpCompression, Protocol, SettingError},
};

use crate::fake::settings;

fn errors(variables: &'static [(&str, &str)]) -> Vec<SettingError> {
    TelemetrySettings::read(|name| {
        variables
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
    .unwrap_err()
    .0
}

#[test]
fn unset_variables_have_defaults() {
    let settings = settings(&[]);
    assert_eq!(settings.service.as_str(), "unknown_service");
    assert_eq!(settings.namespace.as_str(), "default");
    assert_eq!(settings.instance.len(), 36);
    assert!(!settings.is_disabled);
    assert_eq!(settings.fallback, Probability::ALWAYS);
    assert_eq!(settings.batch, BatchSettings::default());
    assert_eq!(settings.log_filter, "info,h2=error");
    assert_eq!(settings.log_format, LogFormat::Text);
    assert_eq!(settings.control_endpoint, None);
    assert_eq!(settings.faults, []);
    assert_eq!(settings.warnings, []);
    let otlp = settings.otlp.unwrap();
    assert_eq!(otlp.endpoint.to_string(), "http://localhost:4317/");
    assert_eq!(
        (otlp.protocol, otlp.compression),
        (Protocol::Grpc, OtlpCompression::None)
    );
    assert_eq!(otlp.timeout, Duration::from_secs(10));
}

#[test]
fn two_instances_have_two_ids() {
    assert_ne!(settings(&[]).instance, settings(&[]).instance);
}

#[test]
fn resource_attributes_are_percent_decoded() {
    let settings = settings(&[(
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=a%2Cb, service.namespace=team,service.instance.id=one,what=1%3D1%25",
    )]);
    assert_eq!(settings.service.as_str(), "a,b");
    assert_eq!(settings.namespace.as_str(), "team");
    assert_eq!(settings.instance, "one");
    assert_eq!(
        settings.attributes,
        [("what".to_owned(), "1=1%".to_owned())]
    );
}

#[rstest]
#[case::own_variable_wins(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=y")], "x")]
#[case::attribute(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=y")], "y")]
#[case::empty_is_unset(&[("OTEL_SERVICE_NAME", " ")], "mine")]
fn the_service_has_a_name(#[case] variables: &[(&str, &str)], #[case] name: &str) {
    let settings = settings(variables).or_service(ServiceName::new("mine").unwrap());
    assert_eq!(settings.service.as_str(), name);
}

#[rstest]
#[case::grpc(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317")], "http://c:4317/")]
#[case::http_default(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], "http://localhost:4318/v1/traces")]
#[case::http_base(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1/x/")], "http://c:1/x/v1/traces")]
#[case::http_traces_as_it_is(&[("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1/x"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://d")], "http://c:1/x")]
#[case::http_traces_without_path(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1")], "http://c:1/")]
#[case::traces_protocol_wins(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")], "http://localhost:4317/")]
fn the_endpoint_follows_the_path_rules(#[case] variables: &[(&str, &str)], #[case] endpoint: &str) {
    assert_eq!(
        settings(variables).otlp.unwrap().endpoint.to_string(),
        endpoint
    );
}

#[test]
fn headers_merge_and_stay_secret() {
    let settings = settings(&[
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20s3cret,x-a=1",
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "X-A=2"),
    ]);
    let otlp = settings.otlp.clone().unwrap();
    assert_eq!(otlp.headers["authorization"], "Bearer s3cret");
    assert_eq!(
        otlp.headers.get_all("x-a").iter().collect::<Vec<_>>(),
        ["2"]
    );
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[rstest]
#[case("always_off", None, Probability::NEVER)]
#[case("ParentBased_Always_Off", None, Probability::NEVER)]
#[case("parentbased_always_on", None, Probability::ALWAYS)]
#[case("traceidratio", Some("0.01"), Probability::from_millionths(10_000).unwrap())]
#[case("parentbased_traceidratio", None, Probability::ALWAYS)]
#[case("jaeger_remote", None, Probability::ALWAYS)]
#[case("parentbased_jaeger_remote", Some("endpoint=http://policies:5779,pollingIntervalMs=5000,initialSamplingRate=0.25"), Probability::from_millionths(250_000).unwrap())]
fn sampler_variables_set_the_fallback(
    #[case] name: &str,
    #[case] argument: Option<&str>,
    #[case] fallback: Probability,
) {
    let mut variables = vec![
        ("OTEL_TRACES_SAMPLER", name),
        ("SPOOR_CONTROL_ENDPOINT", "https://policies:5780"),
    ];
    variables.extend(argument.map(|text| ("OTEL_TRACES_SAMPLER_ARG", text)));
    let settings = settings(&variables);
    assert_eq!((settings.fallback, settings.warnings), (fallback, vec![]));
}

#[rstest]
#[case("initialSamplingRate=2", "initialSamplingRate=2")]
#[case("endpoint=http://policies:5779, rate=1", "rate=1")]
#[case("0.5", "0.5")]
fn invalid_jaeger_remote_argument_is_ignored(#[case] argument: &str, #[case] invalid: &str) {
    let settings = settings(&[
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", argument),
        ("SPOOR_CONTROL_ENDPOINT", "https://policies:5780"),
    ]);
    assert_eq!(settings.fallback, Probability::ALWAYS);
    let [warning] = settings.warnings.as_slice() else {
        panic!("{:?}", settings.warnings)
    };
    assert!(
        warning.problem.ends_with(&format!("not {invalid:?}")),
        "{warning}"
    );
}

#[test]
fn remote_sampling_without_control_plane_warns() {
    let settings = settings(&[("OTEL_TRACES_SAMPLER", "jaeger_remote")]);
    let [warning] = settings.warnings.as_slice() else {
        panic!("{:?}", settings.warnings)
    };
    assert!(
        warning.problem.contains("SPOOR_CONTROL_ENDPOINT"),
        "{warning}"
    );
}

#[test]
fn credentials_without_tls_warn() {
    let files = [
        ("SPOOR_CONTROL_CA_FILE", "/etc/spoor/ca/ca.crt"),
        (
            "SPOOR_CONTROL_TOKEN_FILE",
            "/var/run/secrets/spoor.dev/token",
        ),
    ];
    let [ca, token] = files;
    let secure = settings(&[
        ("SPOOR_CONTROL_ENDPOINT", "https://policies:5780"),
        ca,
        token,
    ]);
    assert_eq!(secure.warnings, []);
    assert_eq!(secure.credentials.ca_file.unwrap().to_str(), Some(ca.1));
    assert_eq!(
        secure.credentials.token_file.unwrap().to_str(),
        Some(token.1)
    );
    let plain = settings(&[
        ("SPOOR_CONTROL_ENDPOINT", "http://127.0.0.1:5779"),
        ca,
        token,
    ]);
    let warned: Vec<_> = plain.warnings.iter().map(|it| it.setting).collect();
    assert_eq!(warned, [ca.0, token.0]);
}

#[test]
fn batch_settings_are_read_and_kept_consistent() {
    let batch = settings(&[
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "200"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "3000"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "50"),
    ])
    .batch;
    assert_eq!(batch.schedule_delay, Duration::from_millis(20));
    assert_eq!(
        (batch.max_queue_size, batch.max_export_batch_size),
        (100, 100)
    );
    assert_eq!(batch.export_timeout, Duration::from_secs(3));
    assert_eq!(batch.max_text_chars, 50);
}

#[test]
fn the_length_limit_for_spans_takes_precedence() {
    let settings = settings(&[
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "50"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "60"),
    ]);
    assert_eq!(settings.batch.max_text_chars, 60);
}

#[test]
fn export_and_tracing_can_be_disabled() {
    let settings = settings(&[
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_SDK_DISABLED", "TRUE"),
    ]);
    assert!(settings.otlp.is_none());
    assert!(settings.is_disabled);
}

/// The specification requires that invalid values are ignored with a warning.
#[rstest]
#[case("OTEL_TRACES_SAMPLER", "sometimes")]
#[case("OTEL_TRACES_EXPORTER", "zipkin")]
#[case("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]
#[case("OTEL_EXPORTER_OTLP_COMPRESSION", "br")]
#[case("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")]
#[case("OTEL_BSP_MAX_QUEUE_SIZE", "0")]
#[case("OTEL_BSP_SCHEDULE_DELAY", "soon")]
#[case("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "long")]
#[case("OTEL_SDK_DISABLED", "yes")]
#[case("OTEL_RESOURCE_ATTRIBUTES", "a=%zz")]
#[case("OTEL_RESOURCE_ATTRIBUTES", "nonsense")]
fn invalid_values_are_ignored_with_a_warning(#[case] name: &'static str, #[case] value: &str) {
    let settings = settings(&[(name, value)]);
    let [warning] = settings.warnings.as_slice() else {
        panic!("{:?}", settings.warnings)
    };
    assert_eq!(warning.setting, name);
    assert!(
        warning.problem.ends_with(&format!(", not {value:?}")),
        "{warning}"
    );
    assert_eq!(settings.batch, BatchSettings::default());
    assert!(settings.attributes.is_empty());
}

#[test]
fn a_ratio_out_of_range_is_ignored() {
    let settings = settings(&[
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
    ]);
    assert_eq!(settings.fallback, Probability::ALWAYS);
    assert_eq!(settings.warnings.len(), 1);
}

#[test]
fn all_errors_are_reported_with_valid_values() {
    let errors = errors(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
        ("SPOOR_CONTROL_ENDPOINT", "http://"),
        ("SPOOR_TRUSTED_PEERS", "everyone"),
        ("SPOOR_UNTRACED_PATHS", "health"),
        ("SPOOR_FAULTS", "delay=soon"),
        ("SPOOR_LOG_FORMAT", "xml"),
        ("OTEL_SERVICE_NAME", "a\nb"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=Team"),
    ]);
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// The table of settings in docs/sdks.md: each variable, and its documented default.
fn documented() -> BTreeMap<String, String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sdks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page
        .split_once("### Settings of spoor-telemetry")
        .expect("docs/sdks.md has the section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [names, _, unset] = cells[..] else {
            panic!("expected three cells: {row}")
        };
        let names = names.split(", ").map(|name| name.trim_matches('`'));
        names.map(|name| (name.to_owned(), unset.to_owned()))
    })
    .collect()
}

#[test]
fn every_setting_is_documented() {
    let mut read = BTreeSet::new();
    for sampler in ["", "traceidratio", "jaeger_remote"] {
        for protocol in ["grpc", "http/protobuf"] {
            let names = RefCell::new(BTreeSet::new());
            TelemetrySettings::read(|name| {
                names.borrow_mut().insert(name.to_owned());
                match name {
                    "OTEL_TRACES_SAMPLER" => Some(sampler.to_owned()),
                    "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
                    _ => None,
                }
            })
            .unwrap();
            read.extend(names.into_inner());
        }
    }
    let listen = ListenAddresses::augment_args(Command::new("service"));
    let flags = listen.get_arguments().filter_map(|flag| flag.get_env());
    read.extend(flags.map(|name| name.to_str().unwrap().to_owned()));
    let documented: BTreeSet<String> = documented().into_keys().collect();
    assert_eq!(
        documented, read,
        "the settings in docs/sdks.md differ from those that are read"
    );
}

/// Setting a variable to the default that the table names changes nothing.
#[test]
fn documented_defaults_are_the_defaults() {
    // A new one for each reading, unless set.
    const INSTANCE: (&str, &str) = ("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=one");
    let all = |variables: &[(&str, &str)]| {
        let settings = settings(&[&[INSTANCE], variables].concat());
        format!(
            "{:?}",
            settings.or_service(ServiceName::new("unknown_service").unwrap())
        )
    };
    let unset = all(&[]);
    let mut compared = 0;
    for (name, cell) in documented() {
        let Some((value, _)) = cell.strip_prefix('`').and_then(|it| it.split_once('`')) else {
            continue;
        };
        assert_eq!(all(&[(&name, value)]), unset, "{name}: unset or {value}");
        compared += 1;
    }
    assert!(compared >= 15, "{compared} compared");
}
