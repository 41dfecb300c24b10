//! The settings of a lab.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use spoor_tasks::tasks::RedisUrl;

use super::{addresses::REDIS_URL, ports::Ports};
use crate::{cli::duration, service::Service};

const DEFAULT_SAMPLER: &str = "parentbased_always_on";
/// The samplers by OpenTelemetry's names.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// The smallest store accepted. Smaller ones would keep only a few traces.
const MIN_STORE_BYTES: usize = 1 << 20;
const DEFAULT_GRACE: Duration = Duration::from_secs(25);

/// A lab's settings, as options and environment variables.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Folder for policies and wishes [default: ~/.local/state/spoor]
    #[arg(long, env = "SPOOR_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Folder of policies to watch; each is in force for as long as its file exists
    #[arg(long, env = "SPOOR_POLICIES", value_name = "DIR")]
    pub policies: Option<PathBuf>,
    /// Memory for stored traces, such as 64MiB; the oldest are evicted first. Traces held for tail
    /// rules may use half as much in addition, up to 256MiB [default: 512MiB]
    #[arg(long, env = "SPOOR_STORE_BYTES", value_name = "SIZE", value_parser = bytes)]
    pub store_bytes: Option<usize>,
    /// The services to start [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SERVICE")]
    pub services: Vec<Service>,
    /// Sampler of the services where no policy applies
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER",
        default_value = DEFAULT_SAMPLER,
        value_parser = SAMPLERS
    )]
    pub sampler: String,
    /// Ratio for traceidratio and parentbased_traceidratio, from 0 to 1
    #[arg(
        long,
        env = "OTEL_TRACES_SAMPLER_ARG",
        value_name = "RATIO",
        value_parser = ratio
    )]
    pub sampler_arg: Option<String>,
    /// Redis in which the service tasks keeps its list, such as
    /// redis://:PASSWORD@127.0.0.1:6379/0 [default: in memory]
    #[arg(long, env = REDIS_URL, value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<RedisUrl>,
    /// Accept metrics, logs and profiles on the OTLP ports, and discard them
    #[arg(long, env = "SPOOR_DISCARD_OTHER_SIGNALS")]
    pub discard_other_signals: bool,
    /// Origins of web pages whose scripts may send spans, such as `https://shop.example`, or * for
    /// all [default: those of this machine]
    #[arg(
        long,
        env = "SPOOR_OTLP_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN",
        value_parser = origin
    )]
    pub otlp_origins: Vec<String>,
    /// Maximum time for each service to end
    #[arg(long, env = "SPOOR_GRACE", value_name = "DURATION", default_value = "25s", value_parser = duration)]
    pub grace: Duration,
    /// The ports.
    #[command(flatten)]
    pub ports: Ports,
}

impl Settings {
    /// The settings of the tour's lab: the defaults, whatever the environment says, with a data
    /// folder of its own.
    #[must_use]
    pub fn for_tour(ports: Ports, data: PathBuf) -> Self {
        Self {
            data: Some(data),
            policies: None,
            store_bytes: None,
            // Not all services: offers starts traces by itself, which would be counted too.
            services: vec![Service::ServiceA, Service::ServiceB],
            sampler: DEFAULT_SAMPLER.to_owned(),
            sampler_arg: None,
            redis_url: None,
            discard_other_signals: false,
            otlp_origins: Vec::new(),
            grace: DEFAULT_GRACE,
            ports,
        }
    }

    /// The services to start.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        if self.services.is_empty() {
            Service::ALL.to_vec()
        } else {
            self.services.clone()
        }
    }
}

/// Parses an origin as browsers send it. Other text is refused, since it would never match.
fn origin(text: &str) -> Result<String, String> {
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ', '*']);
    let host = text
        .strip_prefix("https://")
        .or(text.strip_prefix("http://"));
    match host {
        Some(host) if is_host(host) => Ok(text.to_owned()),
        None if text == "*" => Ok(text.to_owned()),
        _ => Err(format!(
            "must be * or an origin such as https://shop.example or http://localhost:3000, \
             not {text:?}"
        )),
    }
}

/// Parses a size such as `64MiB`, `1GB` or `2000000`.
fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || format!("must be a size such as 64MiB or 1GB, not {text:?}");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: usize = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(unit).ok_or_else(wrong)? {
        bytes if bytes < MIN_STORE_BYTES => Err(format!("must be at least 1MiB, not {text:?}")),
        bytes => Ok(bytes),
    }
}

/// Validates a ratio and returns the text, which is passed to the services.
fn ratio(text: &str) -> Result<String, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(text.to_owned()),
        _ => Err(format!("must be a number from 0 to 1, not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("*", true)]
    #[case("https://shop.example", true)]
    #[case("http://[::1]:3000", true)]
    #[case("", false)]
    #[case("null", false)]
    #[case("shop.example", false)]
    #[case("https://", false)]
    #[case("https://shop.example/", false)]
    #[case("https://*.example", false)]
    fn origins(#[case] text: &str, #[case] is_valid: bool) {
        assert_eq!(origin(text).is_ok(), is_valid);
    }

    #[rstest::rstest]
    #[case("64MiB", Some(64 << 20))]
    #[case("1GB", Some(1_000_000_000))]
    #[case("2000000", Some(2_000_000))]
    #[case("1MiB", Some(1 << 20))]
    #[case("0", None)]
    #[case("1023KiB", None)]
    #[case("MiB", None)]
    #[case("1 MB", None)]
    #[case("99999999999999GiB", None)]
    fn sizes(#[case] text: &str, #[case] size: Option<usize>) {
        assert_eq!(bytes(text).ok(), size);
    }

    #[rstest::rstest]
    #[case("0.5", true)]
    #[case("1", true)]
    #[case("2", false)]
    #[case("NaN", false)]
    #[case("some", false)]
    fn ratios(#[case] text: &str, #[case] is_one: bool) {
        assert_eq!(ratio(text).is_ok(), is_one);
    }
}
