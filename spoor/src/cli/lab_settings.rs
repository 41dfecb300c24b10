//! The options for a lab's settings.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use spoor_lab::{LabSettings, Service, ServiceSampler, StoreBytes};
use spoor_runtime::parse_size;
use spoor_tasks::tasks::RedisUrl;
use spoor_traces::{AllowedOrigins, OtherSignals};

use super::{
    duration,
    failure::InvalidOption,
    named::one_of,
    number::ratio,
    ports::{PortArgs, option},
};

/// A lab's settings, as options and environment variables.
#[derive(Args, Clone, Debug)]
pub(super) struct LabSettingsArgs {
    /// Folder for policies and wishes [default: ~/.local/state/spoor]
    #[arg(long, env = "SPOOR_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder of policies to watch; each is in force for as long as its file exists
    #[arg(long, env = "SPOOR_POLICIES", value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Memory for stored traces, such as 64MiB; the oldest are evicted first. Traces held for tail
    /// rules may use half as much in addition, up to 256MiB [default: 512MiB]
    #[arg(long, env = "SPOOR_STORE_BYTES", value_name = "SIZE", value_parser = bytes)]
    store_bytes: Option<StoreBytes>,
    /// The services to start [default: all]
    // Not a `default_values` of clap, since `--help` would then list every service as the default.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "SERVICE",
        value_parser = one_of(&Service::ALL, Service::description)
    )]
    services: Vec<Service>,
    /// Sampler of the services where no policy applies [default: from OTEL_TRACES_SAMPLER and
    /// OTEL_TRACES_SAMPLER_ARG, or parentbased_always_on]
    #[arg(long, value_parser = ServiceSampler::NAMES)]
    sampler: Option<String>,
    /// Ratio for traceidratio and parentbased_traceidratio, from 0 to 1
    #[arg(long, value_name = "RATIO", value_parser = ratio, requires = "sampler")]
    sampler_arg: Option<f64>,
    /// Redis in which the tasks service keeps its list, such as
    /// redis://:PASSWORD@127.0.0.1:6379/0 [default: in memory]
    #[arg(
        long,
        env = "SPOOR_REDIS_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    redis_url: Option<RedisUrl>,
    /// Accept metrics, logs and profiles on the OTLP ports, and discard them
    #[arg(long, env = "SPOOR_DISCARD_OTHER_SIGNALS")]
    discard_other_signals: bool,
    /// Origins of web pages whose scripts may send spans, such as `https://shop.example`, or * for
    /// all [default: those of this machine]
    #[arg(
        long,
        env = "SPOOR_OTLP_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN",
        value_parser = origin
    )]
    otlp_origins: Vec<String>,
    /// Refuse to change policies in the console
    #[arg(long, env = "SPOOR_CONSOLE_READ_ONLY")]
    console_read_only: bool,
    /// Maximum time for each service to stop
    #[arg(long, env = "SPOOR_GRACE", value_name = "DURATION", default_value = "25s", value_parser = duration)]
    grace: Duration,
    /// The ports.
    #[command(flatten)]
    ports: PortArgs,
}

impl LabSettingsArgs {
    /// The settings that the options specify.
    ///
    /// # Errors
    /// If the sampler and its argument are not valid together, or two ports are the same.
    pub(super) fn settings(self) -> anyhow::Result<LabSettings> {
        let all = || Service::ALL.to_vec();
        let settings = LabSettings {
            data: self.data,
            policies: self.policies,
            store: self.store_bytes.unwrap_or_default(),
            services: Some(self.services)
                .filter(|services| !services.is_empty())
                .unwrap_or_else(all),
            sampler: (self.sampler.as_deref())
                .map(|name| ServiceSampler::new(name, self.sampler_arg))
                .transpose()
                .map_err(|error| InvalidOption(format!("--sampler-arg: {error}")))?,
            redis_url: self.redis_url,
            other_signals: match self.discard_other_signals {
                true => OtherSignals::Discard,
                false => OtherSignals::Refuse,
            },
            otlp_origins: allowed(self.otlp_origins),
            is_console_read_only: self.console_read_only,
            grace: self.grace,
            ports: self.ports.0,
            lessons: None,
        };
        // Binding the second port would fail as well, but the error would blame another process.
        if let Some((one, other, port)) = settings.ports.find_shared_port(&settings.services) {
            let (one, other) = (option(one), option(other));
            return Err(InvalidOption(format!(
                "--{one} and --{other} are both {port}; choose another port for one of them (0: any \
                 free port)"
            ))
            .into());
        }
        Ok(settings)
    }
}

fn allowed(origins: Vec<String>) -> AllowedOrigins {
    match origins.as_slice() {
        [] => AllowedOrigins::Loopback,
        origins if origins.iter().any(|origin| origin == "*") => AllowedOrigins::Any,
        _ => AllowedOrigins::Listed(origins),
    }
}

/// Parses an origin as browsers send it. Other text is refused, since it would never match.
fn origin(text: &str) -> Result<String, String> {
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ', '*']);
    let host = text.strip_prefix("https://");
    let host = host.or(text.strip_prefix("http://"));
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
fn bytes(text: &str) -> Result<StoreBytes, String> {
    let bytes = parse_size(text)?;
    StoreBytes::new(bytes).ok_or_else(|| format!("must be at least 1MiB, not {text:?}"))
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
    fn accepts_origins_as_browsers_send_them(#[case] text: &str, #[case] is_valid: bool) {
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
    fn parses_sizes_with_units(#[case] text: &str, #[case] size: Option<usize>) {
        assert_eq!(bytes(text).ok(), size.and_then(StoreBytes::new));
    }
}
