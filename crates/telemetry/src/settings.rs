//! Settings, read once from the environment: OpenTelemetry's names, and a few of Spoor's own.
//!
//! Invalid values are errors, except those that OpenTelemetry's specification requires to be
//! ignored with a warning ([`TelemetrySettings::warnings`]).

mod batch;
mod control;
mod fallback;
mod otlp;
mod resource;

use spoor_policy::{Fault, Namespace, Probability, ServiceName};
use spoor_runtime::{DEFAULT_LOG_FILTER, Environment, SettingsReader, otel};

use crate::{credentials::Credentials, edge::TrustedPeers, faults, http::UntracedPaths, percent};

pub use batch::BatchSettings;
pub use otlp::{OtlpCompression, OtlpSettings};
pub use spoor_runtime::{InvalidSettings, LogFormat, SettingError, otel::Protocol};

/// All settings of a service's telemetry.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// `OTEL_SERVICE_NAME`, else `service.name` of `OTEL_RESOURCE_ATTRIBUTES`, else
    /// `unknown_service`.
    pub service: ServiceName,
    /// `service.namespace` of `OTEL_RESOURCE_ATTRIBUTES`, else `default`.
    pub namespace: Namespace,
    /// `service.instance.id` of `OTEL_RESOURCE_ATTRIBUTES`, else a new UUID.
    pub instance: String,
    /// The other resource attributes.
    pub attributes: Vec<(String, String)>,
    /// `OTEL_SDK_DISABLED`: no spans. Contexts are still passed on and metrics still counted.
    pub is_disabled: bool,
    /// `OTEL_TRACES_SAMPLER` and `_ARG`: the sampling of root spans before the first plan, and
    /// where a plan has no strategy.
    pub fallback: Probability,
    /// `OTEL_TRACES_EXPORTER`: `otlp` (the default). `None` for `none`.
    pub otlp: Option<OtlpSettings>,
    /// `OTEL_BSP_…`.
    pub batch: BatchSettings,
    /// `RUST_LOG`: what is logged; [`DEFAULT_LOG_FILTER`] unless set.
    pub log_filter: String,
    /// `SPOOR_LOG_FORMAT`: `text` or `json`.
    pub log_format: LogFormat,
    /// `SPOOR_CONTROL_ENDPOINT`: the source of policies and faults, such as
    /// `http://127.0.0.1:5779`. `None` if there is none, and the sampler then never changes.
    pub control_endpoint: Option<http::Uri>,
    /// `SPOOR_CONTROL_CA_FILE` and `SPOOR_CONTROL_TOKEN_FILE`, for a control plane with https.
    pub credentials: Credentials,
    /// `SPOOR_TRUSTED_PEERS`: the callers whose trace context an HTTP edge continues.
    pub trusted: TrustedPeers,
    /// `SPOOR_UNTRACED_PATHS`: requests that an HTTP server does not trace, such as
    /// `/health,/static/*,*.css`; `none` traces all. The default is
    /// [`UntracedPaths::DEFAULT`].
    pub untraced: UntracedPaths,
    /// `SPOOR_FAULTS`: in force from the start.
    pub faults: Vec<Fault>,
    /// Settings that were ignored: as OpenTelemetry requires, or because they need `https`. They
    /// are logged at the start.
    pub warnings: Vec<SettingError>,
    is_named: bool,
}

impl TelemetrySettings {
    /// Reads all settings through `variable`, which looks one up by its name.
    ///
    /// # Errors
    /// All invalid settings, each with its name and valid values.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidSettings> {
        let mut errors = SettingsReader::default();
        let mut environment = Environment::new(&variable, &mut errors);
        let identity = resource::read(&mut environment);
        let settings = Self {
            service: identity.service,
            namespace: identity.namespace,
            instance: identity.instance,
            attributes: identity.attributes,
            is_named: identity.is_named,
            is_disabled: environment.boolean("OTEL_SDK_DISABLED"),
            fallback: fallback::read(&mut environment),
            otlp: otel::exports_traces(&mut environment)
                .then(|| otlp::read(&mut environment))
                .flatten(),
            batch: batch::read(&mut environment),
            log_filter: environment
                .text("RUST_LOG")
                .unwrap_or_else(|| DEFAULT_LOG_FILTER.to_owned()),
            log_format: environment
                .parse("SPOOR_LOG_FORMAT", str::parse)
                .unwrap_or_default(),
            control_endpoint: environment.parse(control::ENDPOINT, control::endpoint),
            credentials: control::credentials(&mut environment),
            trusted: environment
                .parse("SPOOR_TRUSTED_PEERS", str::parse::<TrustedPeers>)
                .unwrap_or_default(),
            untraced: environment
                .parse("SPOOR_UNTRACED_PATHS", str::parse::<UntracedPaths>)
                .unwrap_or_default(),
            faults: environment
                .parse("SPOOR_FAULTS", faults::parse)
                .unwrap_or_default(),
            warnings: environment.warnings,
        };
        errors.finish(Some(settings))
    }

    /// Like [`TelemetrySettings::read`], but reads the process's environment.
    ///
    /// # Errors
    /// As [`TelemetrySettings::read`].
    pub fn from_env() -> Result<Self, InvalidSettings> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Names the service, unless the environment did.
    #[must_use]
    pub fn or_service(mut self, name: ServiceName) -> Self {
        if !self.is_named {
            self.service = name;
            self.is_named = true;
        }
        self
    }
}

/// Parses `key=value,key=value`, percent-encoded, as in `OTEL_RESOURCE_ATTRIBUTES` and `…_HEADERS`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = percent::decode(key.trim())?;
            (!key.is_empty()).then_some(())?;
            Some((key, percent::decode(value.trim())?))
        })
        .collect()
}
