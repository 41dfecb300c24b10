//! The settings of self-tracing, from OpenTelemetry's standard variables.

use http::{Uri, uri::Scheme};
use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::Sampler,
};

use crate::SettingsReader;

const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
// The variable for traces takes precedence over the one for all signals.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const PROTOCOLS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];

/// The settings of self-tracing.
#[derive(Clone, Debug)]
pub struct SelfTracingSettings {
    /// None if nothing is to be recorded.
    pub(super) export: Option<ExportSettings>,
}

#[derive(Clone, Debug)]
pub(super) struct ExportSettings {
    pub(super) endpoint: Uri,
    pub(super) sampler: Sampler,
    default_service: String,
    service: Option<String>,
}

impl SelfTracingSettings {
    /// Reads the settings from this process's environment. Without `OTEL_EXPORTER_OTLP_ENDPOINT` (or
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`), and with `OTEL_SDK_DISABLED=true` or
    /// `OTEL_TRACES_EXPORTER=none`, nothing is recorded. `default_service` is `service.name` unless
    /// the environment names another.
    pub fn from_env(default_service: &str, reader: &mut SettingsReader) -> Option<Self> {
        Self::read(default_service, reader, |name| std::env::var(name).ok())
    }

    /// Reads the settings through `variable`, which returns the value of a variable.
    pub fn read(
        default_service: &str,
        reader: &mut SettingsReader,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        // The specification treats an empty variable as one that is not set.
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let first_of = |names: [&'static str; 2]| {
            let mut names = names.into_iter();
            names.find_map(|name| Some((name, variable(name)?)))
        };
        let is_disabled =
            variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let exporter = variable(EXPORTER);
        let is_off = is_disabled || exporter.as_deref() == Some("none");
        // What is wrong beside these is no error: other programs share the environment.
        let Some((name, endpoint)) = first_of(ENDPOINTS).filter(|_| !is_off) else {
            return Some(Self { export: None });
        };
        if let Some(exporter) = exporter.filter(|exporter| exporter != "otlp") {
            let problem = format!("must be \"otlp\" or \"none\", not {exporter:?}");
            reader.wrong(EXPORTER, problem);
        }
        // OTLP over HTTP would add a second HTTP client to the operator's image.
        if let Some((name, protocol)) = first_of(PROTOCOLS).filter(|(_, it)| it != "grpc") {
            reader.wrong(name, format!("must be \"grpc\", not {protocol:?}"));
        }
        let endpoint = reader.checked(name, parse_endpoint(&endpoint));
        let argument = variable(SAMPLER_ARGUMENT);
        let probability = reader.checked(SAMPLER_ARGUMENT, parse_probability(argument.as_deref()));
        let name = variable(SAMPLER);
        let sampler = reader.checked(SAMPLER, parse_sampler(name.as_deref(), probability?));
        Some(Self {
            export: Some(ExportSettings {
                endpoint: endpoint?,
                sampler: sampler?,
                default_service: default_service.to_owned(),
                service: variable("OTEL_SERVICE_NAME"),
            }),
        })
    }
}

impl ExportSettings {
    /// The resource of all spans, with the attributes of `OTEL_RESOURCE_ATTRIBUTES`.
    pub(super) fn resource(&self, instance: &str) -> Resource {
        // What is added later takes precedence: the environment may name another service and
        // instance, and `OTEL_SERVICE_NAME` overrides `OTEL_RESOURCE_ATTRIBUTES`.
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", self.default_service.clone()),
                KeyValue::new("service.instance.id", instance.to_owned()),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            ])
            .with_detectors(&[
                Box::new(TelemetryResourceDetector),
                Box::new(EnvResourceDetector::new()),
            ]);
        match &self.service {
            Some(service) => resource.with_service_name(service.clone()),
            None => resource,
        }
        .build()
    }
}

fn parse_endpoint(text: &str) -> Result<Uri, String> {
    let endpoint = text.parse::<Uri>().ok().filter(|endpoint| {
        let schemes = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)];
        schemes.contains(&endpoint.scheme()) && endpoint.authority().is_some()
    });
    endpoint
        .ok_or_else(|| format!("must be a URL such as \"http://tracing-otlp:4317\", not {text:?}"))
}

/// The SDK's own reading replaces an invalid value by "always on" without a message.
fn parse_sampler(name: Option<&str>, probability: f64) -> Result<Sampler, String> {
    let name = name.unwrap_or("parentbased_always_on");
    let root_name = name.strip_prefix("parentbased_");
    let sampler = match root_name.unwrap_or(name) {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(probability),
        _ => {
            return Err(format!(
                "must be always_on, always_off, traceidratio, or one of them after \
                 \"parentbased_\", not {name:?}"
            ));
        }
    };
    Ok(match root_name {
        Some(_) => Sampler::ParentBased(Box::new(sampler)),
        None => sampler,
    })
}

/// The argument of `traceidratio`, by default 1.
fn parse_probability(text: Option<&str>) -> Result<f64, String> {
    let text = text.unwrap_or("1");
    let probability = text.parse::<f64>().ok();
    let probability = probability.filter(|probability| (0.0..=1.0).contains(probability));
    probability.ok_or_else(|| format!("must be a number from 0 to 1, not {text:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::InvalidSettings;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://tracing-otlp:4317");

    fn read(variables: &[(&str, &str)]) -> Result<Option<ExportSettings>, InvalidSettings> {
        let mut reader = SettingsReader::default();
        let settings = SelfTracingSettings::read("spoor", &mut reader, |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        Ok(reader.finish(settings)?.export)
    }

    #[rstest::rstest]
    #[case::no_endpoint(&[("OTEL_TRACES_SAMPLER", "wrong")])]
    #[case::empty_endpoint(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")])]
    #[case::disabled(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")])]
    #[case::no_exporter(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")])]
    fn tracing_is_off(#[case] variables: &[(&str, &str)]) {
        assert!(read(variables).unwrap().is_none());
    }

    #[test]
    fn standard_variables_are_read() {
        let settings = read(&[
            ENDPOINT,
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "https://collector:4317",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_SERVICE_NAME", "mine"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.endpoint, "https://collector:4317");
        let resource = settings.resource("one");
        let name = |resource: &Resource| resource.get(&"service.name".into()).unwrap();
        assert_eq!(name(&resource), "mine".into());
        let sampler = format!("{:?}", settings.sampler);
        assert_eq!(sampler, "ParentBased(TraceIdRatioBased(0.25))");
        let defaults = read(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!(name(&defaults.resource("one")), "spoor".into());
        assert_eq!(format!("{:?}", defaults.sampler), "ParentBased(AlwaysOn)");
    }

    #[rstest::rstest]
    #[case::exporter("OTEL_TRACES_EXPORTER", "zipkin")]
    #[case::protocol("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]
    #[case::no_scheme("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317")]
    #[case::no_host("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/v1/traces")]
    #[case::sampler("OTEL_TRACES_SAMPLER", "jaeger_remote")]
    #[case::above_one("OTEL_TRACES_SAMPLER_ARG", "1.5")]
    #[case::not_a_number("OTEL_TRACES_SAMPLER_ARG", "NaN")]
    fn invalid_variable_is_named(#[case] name: &'static str, #[case] value: &str) {
        let sampler = ("OTEL_TRACES_SAMPLER", "traceidratio");
        let InvalidSettings(errors) = read(&[ENDPOINT, (name, value), sampler]).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].setting, name);
        assert!(errors[0].problem.contains(value), "{}", errors[0]);
    }
}
