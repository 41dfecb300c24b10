//! `spoor traces` and `spoor trace ID`: traces in the terminal.

mod client;
mod dropping;
mod follow;
mod format;
mod json;
mod list;
mod notes;
mod render;
#[cfg(test)]
pub(crate) mod spans;

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::Args;
use spoor_policy::{closest_name, suggest_operation};
use spoor_traces::tree::Tree;

pub use client::trace_client;
pub(crate) use dropping::{dropping_policies, effective_at};
pub use format::printable;
pub(crate) use format::short_duration;
pub(crate) use notes::YEAR;
pub use render::{Canvas, Detail, render};
pub(crate) use spoor_policy::Part;
pub use spoor_traces::client::{FoundTrace, MAX_TRACES, Query, QueryError, TraceClient};

use crate::cli::out::{errln, out, outln};
use crate::cli::{LabArgs, LabClient, Output, print_json, whole_number};

/// The query API of a lab on the default ports.
const DEFAULT_QUERY_API: &str = "http://127.0.0.1:16686";
/// The default maximum age of the traces in a list.
const LOOKBACK: Duration = Duration::from_secs(3600);
/// The default maximum number of traces in a list.
const LIMIT: u16 = 20;

/// The query API to read traces from
#[derive(Args, Clone, Debug)]
pub struct Source {
    /// The address of Jaeger's query API [default: the lab's, usually http://127.0.0.1:16686]
    #[arg(long, env = "SPOOR_TRACES_URL", value_name = "URL", value_parser = address)]
    traces_url: Option<String>,
}

pub(crate) fn address(text: &str) -> Result<String, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(text.to_owned()),
        _ => Err("must be an http:// URL such as http://127.0.0.1:16686".to_owned()),
    }
}

impl Source {
    /// Creates a client of the API. If the options name a lab but no API, asks the lab for the
    /// address.
    ///
    /// # Errors
    /// The lab's error.
    pub async fn open(&self, lab: Option<&LabArgs>) -> anyhow::Result<TraceClient> {
        let mut url = self.traces_url.clone();
        if let (None, Some(lab)) = (&url, lab.filter(|lab| lab.is_custom())) {
            url = lab.client().status().await?.urls.remove("traces");
        }
        Ok(trace_client(url.as_deref().unwrap_or(DEFAULT_QUERY_API)))
    }
}

/// List traces, newest first
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor traces
  spoor traces --service service-a --errors
  spoor traces --min-duration 400ms --tag http.route=/ --output json
  spoor traces --follow                    print new traces until Ctrl-C")]
pub struct TracesArgs {
    #[command(flatten)]
    source: Source,
    /// Only traces that include this service
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    service: Option<String>,
    /// Only traces with a span of this name
    #[arg(long)]
    operation: Option<String>,
    /// Only traces with a span that has this attribute; if repeated, the span must have all
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Only traces with an error
    #[arg(long)]
    errors: bool,
    /// Only traces with a span at least this long, such as 300ms
    #[arg(long, value_parser = crate::cli::duration)]
    min_duration: Option<Duration>,
    /// Print new traces as they arrive, until Ctrl-C; in JSON, one on each line
    #[arg(short, long)]
    follow: bool,
    /// Maximum age of the traces [default: 1h, or 1m with --follow]
    #[arg(long, value_parser = crate::cli::positive_duration)]
    lookback: Option<Duration>,
    /// Maximum number of traces [default: 20, or 200 each second with --follow]
    #[arg(long, value_parser = whole_number(1..=MAX_TRACES, 20))]
    limit: Option<u16>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    lab: LabArgs,
}

/// Show a trace as a tree with a bar for each span
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor trace 5b8aa5a2d2c872e8321cf37308d69df2
  spoor trace latest                       show the newest trace of service-a
  spoor trace latest --all --details       show each span with its attributes")]
pub struct TraceArgs {
    #[command(flatten)]
    source: Source,
    /// The trace ID (up to 32 hexadecimal digits), or `latest`
    #[arg(value_parser = id)]
    id: String,
    /// The service whose newest trace `latest` shows
    #[arg(long, default_value = "service-a")]
    service: String,
    /// Show each span: also repeated siblings, which otherwise share a line, and those of long traces
    #[arg(long)]
    all: bool,
    /// Show the attributes of spans and resources
    #[arg(long)]
    details: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    lab: LabArgs,
}

impl TracesArgs {
    /// Lists traces.
    ///
    /// # Errors
    /// [`QueryError`] if there is no valid response.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let traces = self.source.open(Some(&self.lab)).await?;
        if self.follow {
            let service = self.service.as_deref();
            return follow::follow(&traces, service, &self.query(), self.output).await;
        }
        // Jaeger's API searches only by service, so without one each service is searched.
        let services = match &self.service {
            Some(service) => vec![service.clone()],
            None => traces.services().await?,
        };
        let found = traces.newest(&services, &self.query()).await?;
        if found.is_empty() {
            if let Some(service) = &self.service {
                warn_if_unknown(service, &traces.services().await?);
                if let Some(dropping) = dropping_in(&self.lab.client(), service).await {
                    errln!("Warning: {dropping} to keep every trace");
                }
            }
            if let Some(operation) = &self.operation {
                warn_if_no_span_has(operation, &traces, &services).await?;
            }
        }
        match self.output {
            Output::Json => {
                print_json(&found.iter().map(list::json).collect::<serde_json::Value>())?;
            }
            Output::Table => {
                let canvas = Canvas::terminal();
                let table = list::table(&found, jiff::Timestamp::now(), canvas);
                out!("{}", canvas.truncate(&table));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn query(&self) -> Query {
        let mut tags = self.tags.clone();
        if self.errors {
            // Jaeger's tag for a span whose status is an error, which all its backends support.
            tags.push(("error".to_owned(), "true".to_owned()));
        }
        let (lookback, limit) = match self.follow {
            true => (follow::LOOKBACK, follow::LIMIT),
            false => (LOOKBACK, LIMIT),
        };
        Query {
            operation: self.operation.clone(),
            tags,
            min_duration: self.min_duration,
            max_duration: None,
            lookback: self.lookback.unwrap_or(lookback),
            latest_start: None,
            limit: self.limit.unwrap_or(limit),
        }
    }
}

/// Names the policies of a lab that may be the reason why traces of the service are missing.
async fn dropping_in(lab: &LabClient, service: &str) -> Option<String> {
    // Traces may come from elsewhere, without a lab, so an error here does not fail the command.
    let policies = lab.policies("default").await.ok()?;
    dropping_policies(&policies, service, &[Part::Head, Part::Tail])
}

fn warn_if_unknown(service: &str, known: &[String]) {
    if known.iter().any(|name| name == service) {
        return;
    }
    let hint = match closest_name(service, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean {:?}?", printable(meant)),
        None => "`spoor traces` shows services that have some".to_owned(),
    };
    let service = printable(service);
    errln!("Warning: service {service:?} has no traces; {hint}");
}

async fn warn_if_no_span_has(
    operation: &str,
    traces: &TraceClient,
    services: &[String],
) -> Result<(), QueryError> {
    let mut known = BTreeSet::new();
    for service in services {
        known.extend(traces.operations(service, None).await?);
    }
    // Without any, there are no traces at all, whatever their names.
    if !known.is_empty() && !known.contains(operation) {
        let suggestion = suggest_operation(operation, known.iter().map(String::as_str));
        let operation = printable(operation);
        errln!("Warning: no span has the name {operation:?}{suggestion}");
    }
    Ok(())
}

fn id(text: &str) -> Result<String, String> {
    let is_id = (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte != b'0');
    if is_id || text == "latest" {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 32 hexadecimal digits, not all zero, or latest".to_owned())
    }
}

impl TraceArgs {
    /// Shows a trace.
    ///
    /// # Errors
    /// [`QueryError`] if there is no valid response, or no such trace.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let traces = self.source.open(Some(&self.lab)).await?;
        let id = match self.id.as_str() {
            "latest" => self.latest(&traces).await?,
            id => format!("{id:0>32}"),
        };
        let tree = Tree::new(traces.trace(&id).await?);
        match self.output {
            Output::Json => print_json(&json::json(&id, &tree))?,
            Output::Table => {
                let detail = Detail {
                    all: self.all,
                    attributes: self.details,
                };
                out!("{}", render(&id, &tree, detail, Canvas::terminal()));
                outln!("\n{}/trace/{id}", traces.base());
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn latest(&self, traces: &TraceClient) -> anyhow::Result<String> {
        let latest = traces.latest(&self.service).await;
        if let Err(error @ QueryError::NoTrace(_)) = &latest
            && let Some(dropping) = dropping_in(&self.lab.client(), &self.service).await
        {
            bail!("{error}; {dropping} to keep every trace");
        }
        Ok(latest?)
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE, such as http.route=/".to_owned()),
    }
}
