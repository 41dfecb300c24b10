//! The stages of the tour.

use std::{collections::BTreeMap, time::Duration};

use http::Uri;
use jiff::Timestamp;
use serde_json::json;
use spoor_policy::{Probability, Strategy};
use spoor_traces::tree::Tree;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    DemoError,
    rates::{self, RateResult, observe},
};
use crate::cli::out::say;
use crate::{
    cli::Output,
    lab::{
        Lab, Ports, Settings,
        admin::{Document, Documents},
    },
    load::{Load, drive},
    traces::{Canvas, Query, Traces, render},
};

/// The samples that the tour applies, one after the other.
const SAMPLES: [(&str, &str); 3] = [
    (
        "k8s/samples/policies/alternatives/service-a-100-percent.yaml",
        include_str!("../../../k8s/samples/policies/alternatives/service-a-100-percent.yaml"),
    ),
    (
        "k8s/samples/policies/service-a-1-percent.yaml",
        include_str!("../../../k8s/samples/policies/service-a-1-percent.yaml"),
    ),
    (
        "k8s/samples/policies/alternatives/service-a-0.1-percent.yaml",
        include_str!("../../../k8s/samples/policies/alternatives/service-a-0.1-percent.yaml"),
    ),
];
const FIRST_REQUESTS: u64 = 12;
const FIRST_CONNECTIONS: usize = 4;
/// A, its call of B, B, its wait and its calculation.
const SPANS_OF_A_TO_B: usize = 5;
const DEADLINE: Duration = Duration::from_secs(15);

/// Takes the whole tour; whether every rate was observed as asked for and nobody was restarted.
pub(super) async fn take(ports: Ports, output: Output) -> Result<bool, DemoError> {
    let people = output == Output::Table;
    let folder = Folder::new()?;
    let began = Instant::now();
    let lab = Lab::start(Settings::of_tour(ports, folder.path.clone())).await?;
    let started_in = began.elapsed();
    let toured = stages(&lab, people, started_in).await;
    let stopped = lab.stop().await;
    let (results, restarted) = toured?;
    let passed = restarted.is_empty() && results.iter().all(RateResult::passed);
    if people {
        say!("\n{stopped}");
        say!("{}", conclusion(&results, &restarted));
    } else {
        say!(
            "{}",
            json!({"rates": results, "restarted": restarted, "passed": passed})
        );
    }
    Ok(passed)
}

type Toured = (Vec<RateResult>, Vec<String>);

async fn stages(lab: &Lab, people: bool, started_in: Duration) -> Result<Toured, DemoError> {
    let say = |text: &str| {
        if people {
            say!("{text}");
        }
    };
    let processes = lab.processes();
    say(&format!(
        "1. The lab: {} services, ready in {} ms",
        processes.len(),
        started_in.as_millis()
    ));
    for (service, pid) in &processes {
        say(&format!("   {service:<10} process {pid}"));
    }

    let url = address(lab, "service-a")?;
    say(&format!(
        "\n2. A trace: {FIRST_REQUESTS} requests to {url}, one of them from end to end\n"
    ));
    let (id, tree) = first_trace(lab, &url).await?;
    say(render(&id, &tree, Canvas::terminal()).trim_end());

    say("\n3. The same policy three times, each applied while everything runs\n");
    say(rates::HEADINGS);
    let mut results = vec![];
    for (sample, text) in SAMPLES {
        let result = rate(lab, &url, sample, text, people).await?;
        say(&result.to_string());
        results.push(result);
    }
    Ok((results, restarted(&processes, &lab.processes())))
}

/// Sends some requests at B's usual pace and waits for a whole trace of one; also for a part of
/// every other, so that none comes in later and is counted with a rate.
async fn first_trace(lab: &Lab, url: &Uri) -> Result<(String, Tree), DemoError> {
    let load = Load::as_answered(
        url.clone(),
        "/",
        FIRST_REQUESTS,
        FIRST_CONNECTIONS,
        DEADLINE,
    );
    drive(&load, |_| {}, CancellationToken::new()).await?;
    let traces = Traces::at(&address(lab, "traces")?.to_string())?;
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        let have_all_come = rates::kept_traces(lab) >= FIRST_REQUESTS;
        if let (true, Some(found)) = (have_all_come, whole_trace(&traces).await?) {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let what = "a whole trace of service-a and service-b".to_owned();
    Err(DemoError::TimedOut {
        what,
        seconds: DEADLINE.as_secs(),
    })
}

async fn whole_trace(traces: &Traces) -> Result<Option<(String, Tree)>, DemoError> {
    let found = traces
        .newest(&["service-a".to_owned()], &Query::default())
        .await?;
    let whole = found
        .into_iter()
        .find(|found| found.tree.rows().len() >= SPANS_OF_A_TO_B);
    Ok(whole.map(|found| (found.id, found.tree)))
}

/// Applies a sample, waits until everybody has it, and observes it.
async fn rate(
    lab: &Lab,
    url: &Uri,
    sample: &'static str,
    text: &str,
    people: bool,
) -> Result<RateResult, DemoError> {
    let asked = asked(sample, text)?;
    let document = Document {
        source: sample.to_owned(),
        text: text.to_owned(),
    };
    lab.desk()
        .apply(&Documents {
            documents: vec![document],
        })
        .map_err(|error| DemoError::Apply {
            sample,
            reason: error.to_string(),
        })?;
    let version = lab.control().version();
    let everywhere = lab.control().converged(version);
    let everywhere = tokio::time::timeout(DEADLINE, everywhere)
        .await
        .map_err(|_| {
            let what = format!("every instance to have {sample}");
            DemoError::TimedOut {
                what,
                seconds: DEADLINE.as_secs(),
            }
        })?;
    observe(lab, url, asked, version, everywhere.took, people).await
}

/// The probability that a sample asks for.
fn asked(sample: &'static str, text: &str) -> Result<Probability, DemoError> {
    let manifests = spoor_api::read::policies(text, sample)
        .map_err(|errors| DemoError::Sample { sample, errors })?;
    let head = manifests
        .iter()
        .filter_map(|manifest| manifest.policy.validate(Timestamp::now()).ok()?.head())
        .next();
    match head {
        Some(Strategy::Probability(probability)) => Ok(probability),
        _ => Err(DemoError::Apply {
            sample,
            reason: "it asks for no probability".to_owned(),
        }),
    }
}

fn restarted(before: &BTreeMap<String, u32>, after: &BTreeMap<String, u32>) -> Vec<String> {
    before
        .iter()
        .filter(|(name, pid)| after.get(*name) != Some(pid))
        .map(|(n, _)| n.clone())
        .collect()
}

fn conclusion(results: &[RateResult], restarted: &[String]) -> String {
    let failed: Vec<&str> = results
        .iter()
        .filter(|result| !result.passed())
        .map(|result| &*result.asked)
        .collect();
    match (failed.is_empty(), restarted.is_empty()) {
        (true, true) => "Every rate was observed as asked for, every sampled trace arrived, and no service was restarted.".to_owned(),
        (false, _) => format!("Not as asked for: {}.", failed.join(", ")),
        (true, false) => format!("Restarted meanwhile: {}.", restarted.join(", ")),
    }
}

fn address(lab: &Lab, name: &str) -> Result<Uri, DemoError> {
    let url = lab.urls().get(name).and_then(|url| url.parse().ok());
    url.ok_or_else(|| DemoError::TimedOut {
        what: format!("the address of {name}"),
        seconds: 0,
    })
}

/// A folder for this tour alone, gone with it.
struct Folder {
    path: std::path::PathBuf,
}

impl Folder {
    fn new() -> Result<Self, DemoError> {
        let path = std::env::temp_dir().join(format!("spoor-demo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).map_err(DemoError::Folder)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!("leaving {}: {error}", self.path.display());
        }
    }
}
