//! The settings of self-tracing, from OpenTelemetry's standard variables.

use http::{Uri, uri::Scheme};
use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::Sampler,
};

use crate::SettingsReader;

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";

/// The settings of self-tracing.
#[derive(Clone, Debug)]
pub struct SelfTracingSettings {
    pub(super) endpoint: Uri,
    pub(super) sampler: Sampler,
    default_service: String,
    service: Option<String>,
}

impl SelfTracingSettings {
    /// Reads the settings from this process's environment. `default_service` is `service.name`
    /// unless the environment names another.
    ///
    /// `None`, so that nothing is recorded and nothing runs, without `OTEL_EXPORTER_OTLP_ENDPOINT`
    /// (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`), and with `OTEL_SDK_DISABLED=true` or
    /// `OTEL_TRACES_EXPORTER=none`; also if a variable is wrong, which the reader then reports.
    pub fn from_env(default_service: &str, reader: &mut SettingsReader) -> Option<Self> {
        Self::read(default_service, |name| std::env::var(name).ok(), reader)
    }

    /// Reads the settings through `variable`, which returns the value of a variable, as
    /// [`SelfTracingSettings::from_env`] does.
    pub fn read(
        default_service: &str,
        variable: impl Fn(&str) -> Option<String>,
        reader: &mut SettingsReader,
    ) -> Option<Self> {
        // The specification treats an empty variable as one that is not set.
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let (name, endpoint) = first_of(
            variable,
            [
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
            ],
        )?;
        let is_disabled =
            variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let exporter = variable(EXPORTER);
        if is_disabled || exporter.as_deref() == Some("none") {
            return None;
        }
        if let Some(exporter) = exporter.filter(|exporter| exporter != "otlp") {
            let problem = format!("must be \"otlp\" or \"none\", not {exporter:?}");
            reader.wrong(EXPORTER, problem);
        }
        let protocol = first_of(
            variable,
            [
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
            ],
        );
        // OTLP over HTTP would add a second HTTP client to the operator's image.
        if let Some((name, protocol)) = protocol.filter(|(_, protocol)| protocol != "grpc") {
            reader.wrong(name, format!("must be \"grpc\", not {protocol:?}"));
        }
        let endpoint = reader.checked(name, parse_endpoint(&endpoint));
        let argument = variable(SAMPLER_ARGUMENT);
        let sampler = parse_sampler(variable(SAMPLER).as_deref(), argument.as_deref(), reader);
        Some(Self {
            endpoint: endpoint?,
            sampler: sampler?,
            default_service: default_service.to_owned(),
            service: variable("OTEL_SERVICE_NAME"),
        })
    }

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

/// The first variable that is set, with its value. The one for traces takes precedence over the one
/// for all signals.
fn first_of(
    variable: impl Fn(&str) -> Option<String>,
    names: [&'static str; 2],
) -> Option<(&'static str, String)> {
    names
        .into_iter()
        .find_map(|name| Some((name, variable(name)?)))
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
fn parse_sampler(
    name: Option<&str>,
    argument: Option<&str>,
    reader: &mut SettingsReader,
) -> Option<Sampler> {
    let name = name.unwrap_or("parentbased_always_on");
    let root_name = name.strip_prefix("parentbased_");
    let sampler = match root_name.unwrap_or(name) {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => {
            let probability = reader.checked(SAMPLER_ARGUMENT, parse_probability(argument));
            Sampler::TraceIdRatioBased(probability?)
        }
        _ => {
            let problem = format!(
                "must be always_on, always_off, traceidratio, or one of them after \
                 \"parentbased_\", not {name:?}"
            );
            reader.wrong(SAMPLER, problem);
            return None;
        }
    };
    Some(match root_name {
        Some(_) => Sampler::ParentBased(Box::new(sampler)),
        None => sampler,
    })
}

fn parse_probability(argument: Option<&str>) -> Result<f64, String> {
    // The specification's default.
    let Some(text) = argument else {
        return Ok(1.0);
    };
    let probability = text.parse::<f64>().ok();
    probability
        .filter(|probability| (0.0..=1.0).contains(probability))
        .ok_or_else(|| format!("must be a number from 0 to 1, not {text:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::InvalidSettings;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://tracing-otlp:4317");

    fn read(variables: &[(&str, &str)]) -> Result<Option<SelfTracingSettings>, InvalidSettings> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut reader = SettingsReader::default();
        let settings = SelfTracingSettings::read("spoor", variable, &mut reader);
        reader.finish(Some(settings))
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
