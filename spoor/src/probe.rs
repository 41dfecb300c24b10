//! `spoor probe`: checks tracing end to end, from a request to its complete trace.

mod complete;

use std::{collections::VecDeque, fmt, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Url;
use spoor_load::TraceResponse;
use spoor_runtime::with_causes;
use spoor_traces::tree::Tree;

use crate::cli::{http_client, http_url, out::outln, pluralize};
use crate::traces::{Source, TraceClient};

const REQUEST_INTERVAL: Duration = Duration::from_secs(1);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most traces that are awaited. With more, the oldest is no longer looked up.
const MAX_AWAITED_TRACES: usize = 16;

/// Send requests until the complete trace of one has arrived
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor probe
  spoor probe --url http://service-a:8080/ --traces-url http://tracing-query:16686/jaeger \\
    --expect service-a,service-b --timeout 60s

Exits with 1 if no complete trace arrives in time.")]
pub struct ProbeArgs {
    /// The URL to request, at most once per second
    #[arg(long, default_value = "http://127.0.0.1:8080/", value_parser = http_url)]
    url: Url,
    #[command(flatten)]
    source: Source,
    /// The services that must be part of the trace
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "SERVICE",
        default_value = "service-a,service-b"
    )]
    expect: Vec<String>,
    /// Maximum time to try
    #[arg(long, default_value = "60s", value_parser = crate::cli::positive_duration)]
    timeout: Duration,
}

/// The requests and their traces so far.
#[derive(Debug, Default)]
struct Progress {
    sent: usize,
    /// The responses that name a trace.
    traced: usize,
    sampled: usize,
    /// The error of the last attempt.
    last_error: Option<anyhow::Error>,
}

impl ProbeArgs {
    /// Sends requests until the trace of one is complete, or until the timeout.
    ///
    /// # Errors
    /// A summary of what is missing at the timeout.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let traces = self.source.open(None).await?;
        let http = http_client(self.url.as_str());
        let mut progress = Progress::default();
        let search = self.find(&http, &traces, &mut progress);
        match tokio::time::timeout(self.timeout, search).await {
            Ok((id, summary)) => {
                outln!("{id}: {summary}");
                Ok(ExitCode::SUCCESS)
            }
            Err(_elapsed) => bail!("no complete trace within {:?}: {progress}", self.timeout),
        }
    }

    /// Sends requests until the trace of one is complete, and returns its ID and its summary.
    async fn find(
        &self,
        http: &reqwest::Client,
        traces: &TraceClient,
        progress: &mut Progress,
    ) -> (String, String) {
        let mut awaited = VecDeque::new();
        loop {
            progress.sent += 1;
            match request(http, &self.url).await {
                Ok(response) => {
                    progress.traced += 1;
                    if response.is_sampled {
                        progress.sampled += 1;
                        awaited.push_back(response.trace_id);
                    }
                }
                // Not fatal, since services and the query API may still be starting.
                Err(error) => progress.last_error = Some(error),
            }
            if awaited.len() > MAX_AWAITED_TRACES {
                // The oldest is the least likely to arrive: its spans were dropped, or a policy
                // changed.
                awaited.pop_front();
            }
            // Services export once per second, so the spans of the request just sent rarely arrive
            // before this.
            tokio::time::sleep(REQUEST_INTERVAL).await;
            for id in &awaited {
                match self.summarize(traces, id).await {
                    Ok(summary) => return (id.clone(), summary),
                    Err(reason) => progress.last_error = Some(reason),
                }
            }
        }
    }

    /// Summarizes a trace, if it is complete.
    async fn summarize(&self, traces: &TraceClient, id: &str) -> anyhow::Result<String> {
        let tree = Tree::new(traces.trace(id).await?);
        complete::summarize(&tree, &self.expect).with_context(|| format!("trace {id}"))
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, traced, sampled) = (self.sent, self.traced, self.sampled);
        let sent = pluralize(sent, "request", "requests");
        write!(
            f,
            "{sent} sent, {traced} with a trace ID in the response, {sampled} sampled"
        )?;
        if traced > 0 && sampled == 0 {
            write!(f, " (a policy may sample too few)")?;
        }
        match &self.last_error {
            Some(error) => write!(f, "; {}", with_causes(error.as_ref())),
            None => Ok(()),
        }
    }
}

async fn request(http: &reqwest::Client, url: &Url) -> anyhow::Result<TraceResponse> {
    let response = match http.get(url.clone()).timeout(REQUEST_TIMEOUT).send().await {
        // The cause, a refused connection, adds no information.
        Err(error) if error.is_connect() => bail!(
            "nothing listens at {url}; start a lab with `spoor up`, or give another address with \
             --url"
        ),
        response => response.with_context(|| format!("request to {url} failed"))?,
    };
    let status = response.status();
    TraceResponse::of(response.headers())
        .with_context(|| format!("{url} responded with {status} and no traceresponse header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_describes_the_progress() {
        let progress = Progress {
            sent: 3,
            traced: 2,
            sampled: 0,
            last_error: Some(anyhow::anyhow!("refused").context("request to http://a/")),
        };
        assert_eq!(
            progress.to_string(),
            "3 requests sent, 2 with a trace ID in the response, 0 sampled \
             (a policy may sample too few); request to http://a/: refused"
        );
    }
}
