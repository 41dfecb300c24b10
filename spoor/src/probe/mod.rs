//! `spoor probe`: a request, and its trace from end to end.

mod whole;

use std::{collections::VecDeque, fmt, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use reqwest::Url;
use spoor_traces::tree::members;

use crate::cli::{in_a_line, out::say};
use crate::traces::{Source, Traces};
use whole::Whole;

/// Between two requests.
const PAUSE: Duration = Duration::from_secs(1);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The traces that are looked for at once; the oldest gives way.
const MOST_AWAITED: usize = 16;

/// Send requests until the trace of one is there, whole
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor probe
  spoor probe --url http://service-a:8080/ --traces-url http://tracing-query:16686 \\
    --expect service-a,service-b --timeout 60s

Ends with 1 if there is no such trace in time.")]
pub struct ProbeArgs {
    /// What to ask for, once a second
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
    /// How long to try
    #[arg(long, default_value = "60s", value_parser = crate::cli::duration)]
    timeout: Duration,
}

/// No whole trace was seen in time.
#[derive(Debug, thiserror::Error)]
#[error("no whole trace within {within:?}: {progress}")]
struct TimedOut {
    within: Duration,
    progress: Progress,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    /// There is no answer.
    #[error("asking {url}")]
    Send {
        /// What was asked for.
        url: Url,
        /// Why not.
        source: reqwest::Error,
    },
    /// It says nothing of a trace.
    #[error("{url} answered {status} without a traceresponse")]
    Untraced {
        /// What was asked for.
        url: Url,
        /// The status code.
        status: u16,
    },
}

/// What happened so far.
#[derive(Debug, Default)]
struct Progress {
    sent: u32,
    answered: u32,
    sampled: u32,
    /// What kept the last attempt from its end.
    last: Option<anyhow::Error>,
}

/// The trace of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Traced {
    id: String,
    sampled: bool,
}

impl ProbeArgs {
    /// Sends requests until the trace of one is there, whole, or the time is over.
    ///
    /// # Errors
    /// What is missing when the time is over.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let traces = self.source.open()?;
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let mut progress = Progress::default();
        let found = self.find(&http, &traces, &mut progress);
        match tokio::time::timeout(self.timeout, found).await {
            Ok((id, whole)) => {
                say!("{id}: {whole}");
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
        traces: &Traces,
        progress: &mut Progress,
    ) -> (String, Whole) {
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
                Err(error) => progress.last = Some(error.into()),
            }
            if awaited.len() > MOST_AWAITED {
                awaited.pop_front();
            }
            tokio::time::sleep(PAUSE).await;
            for id in &awaited {
                match self.look_at(traces, id).await {
                    Ok(whole) => return (id.clone(), whole),
                    Err(reason) => progress.last = Some(reason),
                }
            }
        }
    }

    async fn look_at(&self, traces: &Traces, id: &str) -> anyhow::Result<Whole> {
        let spans = members(traces.trace(id).await?);
        Whole::of(&spans, &self.expect).with_context(|| format!("trace {id}"))
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            answered,
            sampled,
            last,
        } = self;
        write!(
            f,
            "{sent} requests sent, {answered} answered, {sampled} of them sampled"
        )?;
        if *answered > 0 && *sampled == 0 {
            write!(f, " (a policy may trace too few of them)")?;
        }
        match last {
            Some(last) => write!(f, "; {}", in_a_line(last)),
            None => Ok(()),
        }
    }
}

async fn request(http: &reqwest::Client, url: &Url) -> Result<Traced, RequestError> {
    let answer = http.get(url.clone()).send().await;
    let answer = answer.map_err(|source| RequestError::Send {
        url: url.clone(),
        source,
    })?;
    let header = answer.headers().get("traceresponse");
    header
        .and_then(|value| traced(value.to_str().ok()?))
        .ok_or_else(|| RequestError::Untraced {
            url: url.clone(),
            status: answer.status().as_u16(),
        })
}

/// Reads `00-TRACE-SPAN-FLAGS`.
fn traced(header: &str) -> Option<Traced> {
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
        _ => Err("must be an address such as http://127.0.0.1:8080/".into()),
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
    fn the_answer_says_whether_it_is_sampled(#[case] flags: &str, #[case] sampled: bool) {
        let header = format!("00-{ID}-051581bf3cb55c13-{flags}");
        let id = ID.to_owned();
        assert_eq!(traced(&header).unwrap(), Traced { id, sampled });
    }

    #[rstest::rstest]
    #[case("")]
    #[case("00-5b8a-051581bf3cb55c13-01")]
    #[case("00-5b8aa5a2d2c872e8321cf37308d69df2-051581bf3cb55c13")]
    #[case("00-5b8aa5a2d2c872e8321cf37308d69df2-051581bf3cb55c13-xx")]
    fn what_names_no_trace_is_none(#[case] header: &str) {
        assert_eq!(traced(header), None);
    }

    #[test]
    fn the_failure_says_how_far_it_came() {
        let progress = Progress {
            sent: 3,
            answered: 2,
            sampled: 0,
            last: Some(anyhow::anyhow!("refused").context("asking http://a/")),
        };
        assert_eq!(
            progress.to_string(),
            "3 requests sent, 2 answered, 0 of them sampled \
             (a policy may trace too few of them); asking http://a/: refused"
        );
    }
}
