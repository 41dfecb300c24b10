//! The settings of a lab.

use std::{path::PathBuf, sync::Arc, time::Duration};

use spoor_console::lessons::Lessons;
use spoor_tasks::tasks::RedisUrl;
use spoor_traces::{AllowedOrigins, OtherSignals};

use super::{ports::LabPorts, service::Service};

/// The variable with the URL of the Redis server that the service `tasks` uses.
pub(crate) const REDIS_URL: &str = "SPOOR_REDIS_URL";

/// The default time within which services must end. It is longer than the deadlines of their
/// requests, so that stopping the lab interrupts none, except slow downloads of traces through the
/// gateway, and requests with a long injected delay.
const DEFAULT_GRACE: Duration = Duration::from_secs(25);

/// The settings of a lab. The default is a lab with all services on their own ports.
#[derive(Clone, Debug)]
pub struct LabSettings {
    /// The folder for policies and wishes. If unset, `spoor` in the user's state folder.
    pub data: Option<PathBuf>,
    /// A folder of policies to watch; each is in force for as long as its file exists.
    pub policies: Option<PathBuf>,
    /// The memory for stored traces.
    pub store: StoreBytes,
    /// The services to start.
    pub services: Vec<Service>,
    /// The sampler of the services where no policy applies. If unset, the one that the lab's own
    /// environment selects.
    pub sampler: Option<ServiceSampler>,
    /// The Redis server in which the service `tasks` keeps its list. If unset, the list is in memory.
    pub redis_url: Option<RedisUrl>,
    /// The treatment of metrics, logs and profiles that arrive on the OTLP ports.
    pub other_signals: OtherSignals,
    /// The origins of web pages whose scripts may send spans.
    pub otlp_origins: AllowedOrigins,
    /// True if the console refuses to change policies.
    pub is_console_read_only: bool,
    /// The maximum time for each service to end.
    pub grace: Duration,
    /// The ports.
    pub ports: LabPorts,
    /// The lessons that the console shows; none if unset.
    pub lessons: Option<Arc<dyn Lessons>>,
}

impl Default for LabSettings {
    fn default() -> Self {
        Self {
            data: None,
            policies: None,
            store: StoreBytes::default(),
            services: Service::ALL.to_vec(),
            sampler: None,
            redis_url: None,
            other_signals: OtherSignals::Refuse,
            otlp_origins: AllowedOrigins::Loopback,
            is_console_read_only: false,
            grace: DEFAULT_GRACE,
            ports: LabPorts::default(),
            lessons: None,
        }
    }
}

/// The size of the store in bytes, at least [`StoreBytes::MIN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreBytes(usize);

impl StoreBytes {
    /// The smallest store accepted. Smaller ones would keep only a few traces.
    pub const MIN: usize = 1 << 20;

    /// Validates a size; `None` if it is too small.
    #[must_use]
    pub fn new(bytes: usize) -> Option<Self> {
        (bytes >= Self::MIN).then_some(Self(bytes))
    }

    pub(crate) fn get(self) -> usize {
        self.0
    }
}

impl Default for StoreBytes {
    fn default() -> Self {
        Self(spoor_traces::PipelineSettings::default().store_bytes)
    }
}

/// A sampler by OpenTelemetry's name, which the services receive as `OTEL_TRACES_SAMPLER`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceSampler {
    name: &'static str,
    ratio: Option<f64>,
}

impl ServiceSampler {
    /// The names of the samplers.
    pub const NAMES: [&str; 6] = [
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ];

    /// Creates the sampler of this name. The ratio, from 0 to 1, is that of `traceidratio` and
    /// `parentbased_traceidratio`.
    ///
    /// # Errors
    /// [`InvalidSampler`] if there is no such sampler, or if the ratio is out of range or given for
    /// a sampler that has none.
    pub fn new(name: &str, ratio: Option<f64>) -> Result<Self, InvalidSampler> {
        let known = Self::NAMES.into_iter().find(|known| *known == name);
        let name = known.ok_or_else(|| InvalidSampler::Name(name.to_owned()))?;
        match ratio {
            // The services would ignore it, and sample every trace or none.
            Some(_) if !name.ends_with("traceidratio") => Err(InvalidSampler::NoRatio(name)),
            Some(ratio) if !(0.0..=1.0).contains(&ratio) => Err(InvalidSampler::Ratio(ratio)),
            ratio => Ok(Self { name, ratio }),
        }
    }

    /// The environment variables that select the sampler.
    pub(crate) fn variables(self) -> impl Iterator<Item = (&'static str, String)> {
        let ratio = self.ratio.map(|ratio| ratio.to_string());
        [("OTEL_TRACES_SAMPLER", self.name.to_owned())]
            .into_iter()
            .chain(ratio.map(|ratio| ("OTEL_TRACES_SAMPLER_ARG", ratio)))
    }
}

/// The error for an invalid sampler.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidSampler {
    /// No sampler has this name.
    #[error("unknown sampler {:?}; the samplers are {}", .0, ServiceSampler::NAMES.join(", "))]
    Name(String),
    /// The sampler has no ratio.
    #[error(
        "the sampler {0} has no ratio; choose traceidratio or parentbased_traceidratio, or leave \
         out the ratio"
    )]
    NoRatio(&'static str),
    /// The ratio is not between 0 and 1.
    #[error("the ratio must be from 0 to 1, not {0}")]
    Ratio(f64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("traceidratio", Some(0.5), true)]
    #[case("always_on", Some(1.0), false)]
    #[case("parentbased_traceidratio", Some(1.0), true)]
    #[case("always_on", None, true)]
    #[case("traceidratio", Some(2.0), false)]
    #[case("traceidratio", Some(f64::NAN), false)]
    #[case("sometimes", None, false)]
    fn validates_name_and_ratio(
        #[case] name: &str,
        #[case] ratio: Option<f64>,
        #[case] is_valid: bool,
    ) {
        assert_eq!(ServiceSampler::new(name, ratio).is_ok(), is_valid);
    }

    #[test]
    fn ratio_is_passed_on_as_a_decimal() {
        let sampler = ServiceSampler::new("traceidratio", Some(0.01)).into_iter();
        let variables: Vec<_> = sampler.flat_map(ServiceSampler::variables).collect();
        let expected = [
            ("OTEL_TRACES_SAMPLER", "traceidratio".to_owned()),
            ("OTEL_TRACES_SAMPLER_ARG", "0.01".to_owned()),
        ];
        assert_eq!(variables, expected);
    }
}
