//! The stages of the tour.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use serde_json::json;
use spoor_api::changes::Document;
use spoor_lab::{Lab, LabPorts, LabSettings, Service, wire::Documents};
use spoor_load::{BaseUrl, Load, drive};
use spoor_policy::{Probability, Strategy};
use spoor_traces::tree::Tree;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    rates::{self, RateResult, observe},
    within,
};
use crate::cli::out::outln;
use crate::{
    cli::Output,
    traces::{Canvas, Detail, Query, TraceClient, render, trace_client},
};

macro_rules! sample {
    ($path:literal) => {
        ($path, include_str!(concat!("../../../", $path)))
    };
}

/// The sample policies that the tour applies, one after the other: their paths and texts.
const SAMPLES: [(&str, &str); 3] = [
    sample!("k8s/samples/policies/alternatives/service-a-100-percent.yaml"),
    sample!("k8s/samples/policies/service-a-1-percent.yaml"),
    sample!("k8s/samples/policies/alternatives/service-a-0.1-percent.yaml"),
];
const FIRST_REQUESTS: u64 = 12;
const FIRST_CONNECTIONS: usize = 4;
/// The spans of a complete trace: service-a, its call, service-b, its wait and its calculation.
const SPANS_PER_TRACE: usize = 5;
const TIMEOUT: Duration = Duration::from_secs(15);

/// The next steps after the tour, whose lab has been stopped.
const NEXT: &str = "\nNext: `spoor up`, then open http://127.0.0.1:16686/policies, the console: it shows which policy decides at each place, how often traces are kept there, and changes the rates.";

/// Runs the tour. True if every observed rate matches its policy, every sampled trace arrived and no
/// service was restarted.
pub(super) async fn run(ports: LabPorts, output: Output) -> anyhow::Result<bool> {
    let is_text = output == Output::Table;
    let folder = tempfile::Builder::new().prefix("spoor-demo-").tempdir();
    // Removed when dropped, after a failure too.
    let folder = folder.context("cannot create a folder for the tour's data")?;
    let began = Instant::now();
    // All other settings are the defaults, whatever variables such as SPOOR_STORE_BYTES say.
    let settings = LabSettings {
        data: Some(folder.path().to_owned()),
        // Not all services: offers starts traces by itself, which would be counted too.
        services: vec![Service::ServiceA, Service::ServiceB],
        ports,
        ..LabSettings::default()
    };
    let lab = Lab::start(settings).await?;
    let started_in = began.elapsed();
    let toured = stages(&lab, is_text, started_in).await;
    // Before the result is evaluated, so that the lab is stopped after a failure, too.
    let stopped = lab.stop().await;
    // After the stop, since the lab writes to the folder until then.
    if let Err(error) = folder.close() {
        tracing::warn!(%error, "cannot remove the tour's folder");
    }
    let (results, restarted) = toured?;
    let passed = restarted.is_empty() && results.iter().all(RateResult::passed);
    if is_text {
        outln!("\n{stopped}");
        outln!("{}", conclusion(&results, &restarted));
        outln!("{NEXT}");
    } else {
        let json = json!({"rates": results, "restarted": restarted, "passed": passed});
        outln!("{json}");
    }
    Ok(passed)
}

type TourResults = (Vec<RateResult>, Vec<String>);

async fn stages(lab: &Lab, is_text: bool, started_in: Duration) -> anyhow::Result<TourResults> {
    let print = |text: &str| {
        if is_text {
            outln!("{text}");
        }
    };
    let processes = lab.processes();
    let (services, ms) = (processes.len(), started_in.as_millis());
    let ready = format!("1. The lab: {services} services, ready in {ms} ms");
    print(&ready);
    for (service, pid) in &processes {
        print(&format!("   {service:<10} process {pid}"));
    }

    let url = address(lab, "service-a")?;
    print(&format!(
        "\n2. A trace: {FIRST_REQUESTS} requests to {url}/, and the trace of one\n"
    ));
    let (id, tree) = first_trace(lab, &url).await?;
    print(render(&id, &tree, Detail::default(), Canvas::terminal()).trim_end());

    print("\n3. Three sampling rates, each applied while the services run\n");
    print(rates::HEADINGS);
    let mut results = vec![];
    for (sample, text) in SAMPLES {
        let result = rate(lab, &url, sample, text, is_text).await?;
        print(&result.to_string());
        results.push(result);
    }
    Ok((results, restarted(&processes, &lab.processes())))
}

/// Sends some requests with service-b's usual latency and waits for the complete trace of one. It
/// also waits until all other traces have arrived, so that none of them is counted with a rate.
async fn first_trace(lab: &Lab, url: &BaseUrl) -> anyhow::Result<(String, Tree)> {
    let load = Load::closed_loop(url.clone(), "/", FIRST_REQUESTS, FIRST_CONNECTIONS, TIMEOUT);
    let sent = drive(&load, |_| {}, CancellationToken::new()).await;
    sent.context("cannot send load")?;
    let traces = trace_client(&address(lab, "traces")?.to_string());
    let arrived = async {
        loop {
            // A complete trace alone is not enough, or the others would be counted with the first
            // rate.
            let have_all_arrived = rates::kept_traces(lab) >= FIRST_REQUESTS;
            if let (true, Some(found)) = (have_all_arrived, complete_trace(&traces).await?) {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let what = "a complete trace of service-a and service-b";
    within(TIMEOUT, what, arrived).await?
}

async fn complete_trace(traces: &TraceClient) -> anyhow::Result<Option<(String, Tree)>> {
    let found = traces.newest(&["service-a"], &Query::default()).await?;
    let complete = found
        .into_iter()
        // Spans of a trace arrive from two processes; one with fewer spans is incomplete.
        .find(|found| found.tree.rows().len() >= SPANS_PER_TRACE);
    Ok(complete.map(|found| (found.id, found.tree)))
}

/// Applies a sample, waits until every instance has it, and observes the rate.
async fn rate(
    lab: &Lab,
    url: &BaseUrl,
    sample: &'static str,
    text: &str,
    show_bar: bool,
) -> anyhow::Result<RateResult> {
    let policy_rate = probability(sample, text)?;
    let document = Document {
        source: sample.to_owned(),
        text: text.to_owned(),
    };
    let documents = vec![document];
    let applied = lab.apply(&Documents { documents });
    applied.with_context(|| format!("cannot apply {sample}"))?;
    // Read after `apply` has returned, which publishes first.
    let version = lab.control().version();
    let converged = lab.control().converged(version);
    let what = format!("every instance to have {sample}");
    let took = within(TIMEOUT, what, converged).await?.took;
    observe(lab, url, policy_rate, version, took, show_bar).await
}

/// The probability in a sample policy.
fn probability(sample: &'static str, text: &str) -> anyhow::Result<Probability> {
    let manifests = spoor_api::read::policies(text, sample).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!("cannot read {sample}: {}", errors.join("; "))
    })?;
    let mut policies = manifests.iter().map(|manifest| &manifest.policy);
    let head = policies.find_map(|policy| policy.validate(Timestamp::now()).ok()?.head);
    match head {
        Some(Strategy::Probability(probability)) => Ok(probability),
        _ => bail!("cannot apply {sample}: the policy has no probability"),
    }
}

fn restarted(before: &BTreeMap<String, u32>, after: &BTreeMap<String, u32>) -> Vec<String> {
    let before = before.iter();
    let restarted = before.filter(|(name, pid)| after.get(*name) != Some(pid));
    restarted.map(|(name, _)| name.clone()).collect()
}

fn conclusion(results: &[RateResult], restarted: &[String]) -> String {
    let failed = results.iter().filter(|result| !result.passed());
    let failed: Vec<&str> = failed.map(|result| &*result.policy_rate).collect();
    match (failed.is_empty(), restarted.is_empty()) {
        (true, true) => "Every observed rate matches its policy, every sampled trace arrived, and no service was restarted.".to_owned(),
        (false, _) => format!("At these rates, the observed rate does not match the policy, or a sampled trace did not arrive: {}.", failed.join(", ")),
        (true, false) => format!("These services were restarted during the tour: {}.", restarted.join(", ")),
    }
}

fn address(lab: &Lab, name: &str) -> anyhow::Result<BaseUrl> {
    let url = lab.urls().get(name).and_then(|url| url.parse().ok());
    url.with_context(|| format!("the lab has no address for {name}"))
}
