//! `spoor probe`: checks tracing end to end, from a request to its complete trace.

mod complete;

use std::{collections::VecDeque, fmt, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use reqwest::Url;
use spoor_runtime::with_causes;
use spoor_traces::tree::members;

use crate::cli::out::say;
use crate::traces::{Source, TraceClient};
use complete::CompleteTrace;

const REQUEST_INTERVAL: Duration = Duration::from_secs(1);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most traces looked up at a time. With more, the oldest is given up.
const MAX_AWAITED: usize = 16;

/// Send requests until the trace of one has arrived completely
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor probe
  spoor probe --url http://service-a:8080/ --traces-url http://tracing-query:16686 \\
    --expect service-a,service-b --timeout 60s

Exits with 1 if no complete trace arrives in time.")]
pub struct ProbeArgs {
    /// The URL to request once per second
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
    #[arg(long, default_value = "60s", value_parser = crate::cli::duration)]
    timeout: Duration,
}

/// The error if no complete trace arrived in time.
#[derive(Debug, thiserror::Error)]
#[error("no complete trace within {within:?}: {progress}")]
struct TimedOut {
    within: Duration,
    progress: Progress,
}

/// The error of a request.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    /// There is no response.
    #[error("request to {url} failed")]
    Send {
        /// The URL requested.
        url: Url,
        /// The cause.
        source: reqwest::Error,
    },
    /// The response does not name a trace.
    #[error("{url} responded with {status} and no traceresponse header")]
    Untraced {
        /// The URL requested.
        url: Url,
        /// The status code.
        status: u16,
    },
}

/// The requests and responses so far.
#[derive(Debug, Default)]
struct Progress {
    sent: u32,
    answered: u32,
    sampled: u32,
    /// The error of the last attempt.
    last_error: Option<anyhow::Error>,
}

/// The trace that a response names.
#[derive(Debug, PartialEq, Eq)]
struct Traced {
    id: String,
    sampled: bool,
}

impl ProbeArgs {
    /// Sends requests until the trace of one is complete, or the time is over.
    ///
    /// # Errors
    /// A summary of what is missing when the time is over.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let traces = self.source.open()?;
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .build()?;
        let mut progress = Progress::default();
        let found = self.find(&http, &traces, &mut progress);
        match tokio::time::timeout(self.timeout, found).await {
            Ok((id, trace)) => {
                say!("{id}: {trace}");
                Ok(ExitCode::SUCCESS)
            }
            Err(_elapsed) => Err(TimedOut {
                within: self.timeout,
                progress,
            }
            .into()),
        }
    }

    async fn find(
        &self,
        http: &reqwest::Client,
        traces: &TraceClient,
        progress: &mut Progress,
    ) -> (String, CompleteTrace) {
        let mut awaited = VecDeque::new();
        loop {
            progress.sent += 1;
            match request(http, &self.url).await {
                Ok(traced) => {
                    progress.answered += 1;
                    if traced.sampled {
                        progress.sampled += 1;
                        awaited.push_back(traced.id);
                    }
                }
                // Not the end: services and query API may still be starting.
                Err(error) => progress.last_error = Some(error.into()),
            }
            if awaited.len() > MAX_AWAITED {
                // The oldest is the least likely to arrive still: its spans were dropped, or a
                // policy changed.
                awaited.pop_front();
            }
            // The spans of the request just sent cannot have arrived before this.
            tokio::time::sleep(REQUEST_INTERVAL).await;
            for id in &awaited {
                match self.fetch(traces, id).await {
                    Ok(trace) => return (id.clone(), trace),
                    Err(reason) => progress.last_error = Some(reason),
                }
            }
        }
    }

    async fn fetch(&self, traces: &TraceClient, id: &str) -> anyhow::Result<CompleteTrace> {
        let spans = members(traces.trace(id).await?);
        CompleteTrace::of(&spans, &self.expect).with_context(|| format!("trace {id}"))
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            answered,
            sampled,
            last_error,
        } = self;
        write!(
            f,
            "{sent} requests sent, {answered} answered, {sampled} sampled"
        )?;
        if *answered > 0 && *sampled == 0 {
            write!(f, " (a policy may sample too few)")?;
        }
        match last_error {
            Some(error) => write!(f, "; {}", with_causes(error.as_ref())),
            None => Ok(()),
        }
    }
}

async fn request(http: &reqwest::Client, url: &Url) -> Result<Traced, RequestError> {
    let response = http.get(url.clone()).send().await;
    let response = response.map_err(|source| RequestError::Send {
        url: url.clone(),
        source,
    })?;
    let header = response.headers().get("traceresponse");
    header
        .and_then(|value| traced(value.to_str().ok()?))
        .ok_or_else(|| RequestError::Untraced {
            url: url.clone(),
            status: response.status().as_u16(),
        })
}

/// Parses `00-TRACE-SPAN-FLAGS`.
fn traced(header: &str) -> Option<Traced> {
    // The version is not checked: later ones keep these fields in place.
    let mut parts = header.split('-').skip(1);
    let id = parts.next().filter(|id| id.len() == 32)?.to_owned();
    let flags = u8::from_str_radix(parts.nth(1)?, 16).ok()?;
    Some(Traced {
        id,
        sampled: flags & 1 == 1,
    })
}

fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        _ => Err("must be a URL such as http://127.0.0.1:8080/".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ID: &str = "5b8aa5a2d2c872e8321cf37308d69df2";

    #[rstest::rstest]
    #[case("01", true)]
    #[case("03", true)]
    #[case("02", false)]
    #[case("00", false)]
    fn reads_the_sampled_flag(#[case] flags: &str, #[case] sampled: bool) {
        let header = format!("00-{ID}-051581bf3cb55c13-{flags}");
        let id = ID.to_owned();
        assert_eq!(traced(&header).unwrap(), Traced { id, sampled });
    }

    #[rstest::rstest]
    #[case("")]
    #[case("00-5b8a-051581bf3cb55c13-01")]
    #[case("00-5b8aa5a2d2c872e8321cf37308d69df2-051581bf3cb55c13")]
    #[case("00-5b8aa5a2d2c872e8321cf37308d69df2-051581bf3cb55c13-xx")]
    fn ignores_malformed_headers(#[case] header: &str) {
        assert_eq!(traced(header), None);
    }

    #[test]
    fn failure_describes_the_progress() {
        let progress = Progress {
            sent: 3,
            answered: 2,
            sampled: 0,
            last_error: Some(anyhow::anyhow!("refused").context("request to http://a/")),
        };
        assert_eq!(
            progress.to_string(),
            "3 requests sent, 2 answered, 0 sampled \
             (a policy may sample too few); request to http://a/: refused"
        );
    }
}
