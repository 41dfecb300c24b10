//! `spoor load`: sends requests on a scenario's schedule, or as fast as responses arrive, and
//! reports the latency.

mod chart;
mod destination;
mod report;

use std::{fmt, num::NonZeroUsize, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use spoor_load::{Load, Scenario, Schedule, draw_picture, drive, operations};

use crate::cli::out::{out, outln};
use crate::cli::{
    InvalidOption, LabArgs, Output, TextTable, exit_code, one_of, positive_number, print_json,
    whole_number,
};
use destination::Destination;

/// The most connections. Each is a task, and a socket for each address that it sends to; Linux has
/// about 28 000 ephemeral ports for connections to one address. More than about 4,000 sockets also
/// need a higher limit of file descriptors than `main` sets.
const MAX_CONNECTIONS: u16 = 10_000;

/// Send load to the mesh and measure the latency
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor load                               send 50 requests per second for 10 s to service-a
  spoor load --list                        list the scenarios with their defaults
  spoor load mesh                          cover every path through the mesh
  spoor load spike --rate 800 --picture spike.svg
                                           send a burst, and draw its effect
  spoor load closed --workers 4 --path '/?wait=0ms&calc=0'
                                           simulate four users who wait for responses
  spoor load soak --duration 8h --rate 20  find out whether latency grows overnight
  spoor load --requests 10000 --path '/?wait=0ms&calc=0'
                                           send 10 000 requests, as fast as responses arrive
  spoor load mesh --url gateway=http://gateway:8081 --url bands=http://bands:8082
                                           name the services' addresses, as in a cluster

The addresses of the services come from --url, or else from the lab at --lab.

Exits with 1 if any request failed.")]
pub struct LoadArgs {
    /// The scenario
    #[arg(default_value_t, value_parser = one_of(&Scenario::ALL, Scenario::description))]
    scenario: Scenario,
    /// List the scenarios with their defaults
    #[arg(long)]
    list: bool,
    /// Requests per second (for a ramp or spike, the highest rate); each is sent when due if a
    /// connection is free, even if earlier ones have no response yet [default: the scenario's]
    #[arg(long, allow_negative_numbers = true, value_parser = whole_number::<u32>(1..=1_000_000, 50))]
    rate: Option<u32>,
    /// Maximum number of requests; steady sends them as fast as responses arrive, unless --rate or
    /// --duration is given
    #[arg(long, allow_negative_numbers = true, value_parser = positive_number)]
    requests: Option<u64>,
    /// Duration of the load, such as 30s or 2m [default: the scenario's]
    #[arg(long, allow_hyphen_values = true, value_parser = crate::cli::positive_duration)]
    duration: Option<Duration>,
    /// Connections, each with one request at a time; the workers of a closed loop [default: 256, or
    /// 16 in a closed loop]
    #[arg(long, visible_alias = "workers", value_parser = whole_number(1..=MAX_CONNECTIONS, 16))]
    connections: Option<u16>,
    /// Address to send to, as URL or SERVICE=URL; can be repeated or separated by commas
    /// [default: the lab's services]
    #[arg(
        long,
        env = "SPOOR_LOAD_URL",
        value_name = "[SERVICE=]URL",
        value_delimiter = ',',
        value_parser = destination::destination
    )]
    url: Vec<Destination>,
    /// The path and query to request [default: /]
    #[arg(long, value_parser = path)]
    path: Option<String>,
    /// Maximum time to wait for a response
    #[arg(long, default_value = "10s", value_parser = crate::cli::positive_duration)]
    timeout: Duration,
    /// Draw latency, rate and failures over time into this SVG file
    #[arg(long, value_name = "FILE", value_parser = svg_file)]
    picture: Option<PathBuf>,
    /// Output format of the summary or the list
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    lab: LabArgs,
}

impl LoadArgs {
    /// Sends the load with a progress bar and prints the summary. Ctrl-C ends it early.
    ///
    /// # Errors
    /// If the options contradict each other, nothing listens at an address, or the picture cannot be
    /// written.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        if self.list {
            match self.output {
                Output::Json => print_json(&list_json())?,
                Output::Table => out!("{}", list()),
            }
            return Ok(ExitCode::SUCCESS);
        }
        let load = self.load().await?;
        let stop = spoor_runtime::cancel_on_shutdown_signal()?;
        let bar = progress_bar(&load);
        let summary = drive(&load, |done| bar.set_position(done), stop).await;
        bar.finish_and_clear();
        let summary = summary?;
        if let Some(file) = &self.picture {
            let title = format!("spoor load {}", self.scenario);
            let svg = draw_picture(&title, &summary)?;
            std::fs::write(file, svg)
                .with_context(|| format!("cannot write the picture {}", file.display()))?;
        }
        match self.output {
            Output::Json => {
                let mut json = serde_json::to_value(&summary)?;
                json["scenario"] = self.scenario.to_string().into();
                outln!("{json}");
            }
            Output::Table => {
                out!("{}", report::TextSummary(&summary));
                if let Some(file) = &self.picture {
                    outln!("\nPicture written to {}", file.display());
                }
            }
        }
        Ok(exit_code(summary.all.failed == 0))
    }

    async fn load(&self) -> anyhow::Result<Load> {
        let schedule = self.schedule()?;
        // Before the request to the lab for addresses, so that a wrong option is reported without
        // one.
        if self.path.is_some() && !self.scenario.accepts_path() {
            let name = self.scenario;
            let wrong = format!("--path: the scenario {name} has its own paths; leave out --path");
            return Err(InvalidOption(wrong).into());
        }
        let defaults = self.scenario.defaults();
        let urls = destination::find(self.scenario, &self.url, &self.lab).await?;
        let path = self.path.as_deref().unwrap_or("/");
        let connections = self.connections.map_or(defaults.connections, usize::from);
        // Without a number of requests, the duration is the only limit, so it needs a default.
        let default_duration = self.requests.is_none().then_some(defaults.duration);
        Ok(Load {
            operations: operations(self.scenario, &urls, path)?,
            duration: self.duration.or(default_duration),
            schedule,
            requests: self.requests,
            connections: NonZeroUsize::new(connections).unwrap_or(NonZeroUsize::MIN),
            timeout: self.timeout,
        })
    }

    fn schedule(&self) -> Result<Option<Schedule>, InvalidOption> {
        let defaults = self.scenario.defaults();
        let Some(rate) = self.rate.or(defaults.rate) else {
            return Ok(None);
        };
        if self.scenario == Scenario::Closed {
            let wrong = "--rate: the scenario closed has no rate, since its workers wait for \
                         responses; leave out --rate, or choose steady";
            return Err(InvalidOption(wrong.to_owned()));
        }
        let total = match (self.scenario, self.rate, self.requests, self.duration) {
            // A number alone measures how fast the services are, which a schedule would hide.
            (Scenario::Steady, None, Some(_), None) => return Ok(None),
            (Scenario::Steady, _, Some(requests), None) => time_for(requests, rate),
            (_, _, _, duration) => duration.unwrap_or(defaults.duration),
        };
        Ok(Some(self.scenario.schedule(rate, total)))
    }
}

fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("must begin with a /, such as /?wait=0ms".to_owned());
    }
    let is_valid = text.parse::<http::uri::PathAndQuery>().is_ok();
    is_valid
        .then(|| text.to_owned())
        .ok_or_else(|| format!("must be a path such as /?wait=0ms, not {text:?}"))
}

fn svg_file(text: &str) -> Result<PathBuf, String> {
    let file = PathBuf::from(text);
    match file.extension() {
        Some(extension) if extension == "svg" => Ok(file),
        _ => Err("the picture is SVG; give a file name that ends with .svg".to_owned()),
    }
}

/// The time that a number of requests takes at a rate.
fn time_for(requests: u64, rate: u32) -> Duration {
    let nanos = u128::from(requests) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn list() -> TextTable {
    let mut table = TextTable::new(&["SCENARIO", "RATE", "DURATION", "TO", "DESCRIPTION"]);
    for scenario in Scenario::ALL {
        let defaults = scenario.defaults();
        let rate = match defaults.rate {
            Some(rate) => format!("{rate}/s"),
            None => format!("{} workers", defaults.connections),
        };
        let to = match scenario.edges() {
            [only] => only.to_string(),
            _ => "every edge".to_owned(),
        };
        let duration = format!("{} s", defaults.duration.as_secs());
        let name = scenario.to_string();
        table.row([name, rate, duration, to, scenario.description().to_owned()]);
    }
    table
}

fn list_json() -> serde_json::Value {
    let scenarios = Scenario::ALL.iter().map(|scenario| {
        let defaults = scenario.defaults();
        serde_json::json!({
            "name": scenario.to_string(),
            "description": scenario.description(),
            "rate": defaults.rate,
            "durationSeconds": defaults.duration.as_secs(),
            "connections": defaults.connections,
        })
    });
    scenarios.collect()
}

/// A progress bar, which is shown on a terminal only.
fn progress_bar(load: &Load) -> ProgressBar {
    let style = "{spinner:.cyan} {pos}/{len} requests {wide_bar:.cyan/blue} {rate} {eta}";
    let bar = match load.expected_requests() {
        Some(requests) => ProgressBar::new(requests),
        None => ProgressBar::new_spinner(),
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        // The library's own `per_sec` has four decimals.
        let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
            // An incomplete bar is the only effect of a failure.
            let _ = write!(out, "{:.1}/s", state.per_sec());
        };
        bar.set_style(style.with_key("rate", rate));
    }
    bar
}
