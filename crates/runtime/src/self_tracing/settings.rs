//! The settings of self-tracing, from OpenTelemetry's standard variables.

use http::Uri;
use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
};

use crate::{
    Environment, SettingError, SettingsReader,
    otel::{self, Protocol},
};

/// The settings of self-tracing.
#[derive(Clone, Debug)]
pub struct SelfTracingSettings {
    /// `None` if nothing is recorded.
    pub(super) export: Option<ExportSettings>,
    /// Values that were ignored. Log them once logging is set up.
    pub warnings: Vec<SettingError>,
}

#[derive(Clone, Debug)]
pub(super) struct ExportSettings {
    pub(super) endpoint: Uri,
    /// The probability with which a trace that starts in this process is sampled.
    pub(super) probability: f64,
    default_service: String,
    service: Option<String>,
}

impl SelfTracingSettings {
    /// Reads the settings from this process's environment. Nothing is recorded if neither
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` nor `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set, or with
    /// `OTEL_SDK_DISABLED=true` or `OTEL_TRACES_EXPORTER=none`. `default_service` is `service.name`
    /// unless the environment names another.
    pub fn from_env(default_service: &str, reader: &mut SettingsReader) -> Option<Self> {
        Self::read(default_service, reader, |name| std::env::var(name).ok())
    }

    /// Reads the settings with `variable`, which returns the value of a variable.
    pub fn read(
        default_service: &str,
        reader: &mut SettingsReader,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        const NO_POLICIES: &str =
            "must be always_on, always_off or traceidratio for this process's own spans";
        let mut environment = Environment::new(&variable, reader);
        // If tracing is off, other errors are not reported: the variables may be meant for other
        // programs.
        let is_on = otel::names_receiver(&environment)
            && !environment.boolean("OTEL_SDK_DISABLED")
            && otel::exports_traces(&mut environment);
        if !is_on {
            let (export, warnings) = (None, Vec::new());
            return Some(Self { export, warnings });
        }
        let protocol = otel::protocol(&mut environment);
        if protocol != Protocol::Grpc
            && let Some((name, _)) = environment.first(&otel::PROTOCOLS)
        {
            // OTLP over HTTP would add a second HTTP client to the operator's image.
            environment.add_error(name, "must be \"grpc\" for this process's own spans");
        }
        Some(Self {
            export: Some(ExportSettings {
                endpoint: otel::traces_endpoint(&mut environment, protocol)?,
                probability: otel::sampling_probability(&mut environment, Some(NO_POLICIES)),
                default_service: default_service.to_owned(),
                service: environment.text("OTEL_SERVICE_NAME"),
            }),
            warnings: environment.warnings,
        })
    }
}

impl ExportSettings {
    /// The resource of all spans, with the attributes of `OTEL_RESOURCE_ATTRIBUTES`.
    pub(super) fn resource(&self, instance: &str) -> Resource {
        // Later attributes take precedence: the environment may name another service and instance,
        // and `OTEL_SERVICE_NAME` overrides `OTEL_RESOURCE_ATTRIBUTES`.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::InvalidSettings;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://tracing-otlp:4317");

    fn read(variables: &[(&str, &str)]) -> Result<SelfTracingSettings, InvalidSettings> {
        let mut reader = SettingsReader::default();
        let settings = SelfTracingSettings::read("spoor", &mut reader, |name| {
            let pair = variables.iter().find(|(variable, _)| *variable == name);
            pair.map(|(_, value)| (*value).to_owned())
        });
        reader.finish(settings)
    }

    #[rstest::rstest]
    #[case::no_endpoint(&[("OTEL_TRACES_SAMPLER", "wrong")])]
    #[case::empty_endpoint(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")])]
    #[case::disabled(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")])]
    #[case::no_exporter(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")])]
    fn tracing_is_off(#[case] variables: &[(&str, &str)]) {
        let settings = read(variables).unwrap();
        assert!(settings.export.is_none() && settings.warnings.is_empty());
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
        let settings = settings.unwrap().export.unwrap();
        assert_eq!(settings.endpoint, "https://collector:4317");
        let resource = settings.resource("one");
        let name = |resource: &Resource| resource.get(&"service.name".into()).unwrap();
        assert_eq!(name(&resource), "mine".into());
        assert_eq!(settings.probability.to_string(), "0.25");
        let defaults = read(&[ENDPOINT]).unwrap().export.unwrap();
        assert_eq!(name(&defaults.resource("one")), "spoor".into());
        assert_eq!(defaults.probability.to_string(), "1");
    }

    #[rstest::rstest]
    #[case::protocol("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "grpc")]
    #[case::no_scheme("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317", "collector")]
    #[case::no_host("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/v1/traces", "/v1/traces")]
    fn invalid_variable_is_named(
        #[case] name: &'static str,
        #[case] value: &str,
        #[case] expected: &str,
    ) {
        let InvalidSettings(errors) = read(&[ENDPOINT, (name, value)]).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].setting, name);
        assert!(errors[0].problem.contains(expected), "{}", errors[0]);
    }

    #[rstest::rstest]
    #[case::exporter("OTEL_TRACES_EXPORTER", "zipkin")]
    #[case::unknown_protocol("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]
    #[case::no_policies("OTEL_TRACES_SAMPLER", "parentbased_jaeger_remote")]
    #[case::above_one("OTEL_TRACES_SAMPLER_ARG", "1.5")]
    #[case::not_a_number("OTEL_TRACES_SAMPLER_ARG", "NaN")]
    fn unknown_value_is_ignored_with_a_warning(#[case] name: &'static str, #[case] value: &str) {
        let sampler = ("OTEL_TRACES_SAMPLER", "traceidratio");
        let settings = read(&[ENDPOINT, (name, value), sampler]).unwrap();
        let warnings = settings.warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0].setting, name);
        assert!(warnings[0].problem.contains(value), "{}", warnings[0]);
        assert_eq!(settings.export.unwrap().probability.to_string(), "1");
    }
}
