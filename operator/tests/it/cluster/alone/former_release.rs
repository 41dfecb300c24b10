//! An upgrade under load from the release before stacks had samplers, and the rollback to it: no
//! trace that has to be kept is lost.
//!
//! `SPOOR_FORMER_CHART` names the folder of that release's chart, and `SPOOR_FORMER_IMAGE` the
//! image of its operator as `REPOSITORY:TAG`, which must be on the cluster. `.ci/former-release`
//! builds both.
//!
//! # What has to be kept
//!
//! Traces start at two services in turn, and have spans of both. The policy governs only those that
//! start at the first one, so of the second one's every span has to arrive. Of the first one's,
//! every error has to arrive, and each trace in Jaeger is whole, except those in progress while the
//! rollback moves connections from one engine to the other: each engine decides on its own part of
//! these. During the upgrade, both engines keep every trace while connections move.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use spoor_testing::programs::skip;
use tokio::time::{Instant, sleep};

use super::super::{
    command::{helm, kubectl},
    comparison::is_split,
    jaeger::{self, Trace, Traces},
    lab::{self, Lab, RELEASE, ROLLOUT_TIMEOUT, STACK},
    load::{self, Generated},
    pods, policies,
    sampler::{self, Length, SERVICES, SHORT},
    tail,
};
use crate::{apiserver::eventually, chart::without_applications_but};

const POLICY: &str = "former-release";
/// The service whose traces the policy governs.
const GOVERNED: &str = SERVICES[0];
/// The service whose traces are all kept.
const UNGOVERNED: &str = SERVICES[1];
/// The number of the release's first revision.
const FORMER_REVISION: &str = "1";
/// The time of load before a move and after it.
const LOAD_TIME: Duration = Duration::from_secs(5);
/// The longest time from the start of a trace until its last span is sent, without failures.
const MAX_SEND_DELAY: Duration = Duration::from_secs(10);
/// The time after which no connection leads to the former Collector: the Service's lag, and the
/// maximum age of connections with its jitter and grace.
const CONNECTION_DRAIN_TIME: Duration = Duration::from_secs(15);
/// The time in which two tiers with the default waits send everything.
const FORMER_ENGINE_DRAIN_TIME: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn upgrade_and_rollback_lose_nothing() {
    const TEST: &str = "upgrade from the former release";
    let Some(former) = FormerRelease::from_env(TEST) else {
        return;
    };
    let Some(lab) = Lab::alone(TEST).await else {
        return;
    };
    lab.empty_cluster().await;
    former.install(&lab).await;
    policies::apply(&lab, POLICY, &tail::errors_kept(GOVERNED, "10%")).await;
    tail::wait_until_in_force(&lab, POLICY).await;
    let jaeger = pods::of_service(&lab, "jaeger").await;

    let (length, since) = (Length::from_env(), SystemTime::now());
    let senders = length.start(&lab, SHORT, load::UNTIL_STOPPED).await;
    sleep(LOAD_TIME).await;
    upgrade(&lab).await;
    sleep(LOAD_TIME).await;
    let rollback = roll_back(&lab).await;
    sleep(LOAD_TIME).await;
    let sent = sampler::stop(senders).await;
    sampler::wait_until_empty(&lab).await;

    let mut found = jaeger::all_traces(&lab, GOVERNED, since).await;
    // A part of a split trace may have spans of only one service.
    found.extend(jaeger::traces(&lab, UNGOVERNED, since).await);
    let kept_jaeger = pods::of_service(&lab, "jaeger").await;
    assert_eq!(kept_jaeger, jaeger, "Jaeger has its traces in memory");
    let missing = Missing::new(&sent, &found, rollback);
    lab.log(format_args!("{missing}; {}", Sizes::of(&sent, &found)));
    assert_eq!(missing, Missing::default());

    policies::patch(&lab, POLICY, &sampler::otherwise("20%")).await;
    tail::wait_until_in_force(&lab, POLICY).await;
    lab.log("the former operator applies new rules");
    lab.empty_cluster().await;
}

/// The release before stacks had samplers.
struct FormerRelease {
    chart: String,
    image: String,
}

impl FormerRelease {
    /// Reads the chart and the image of the release from the environment. Returns none, with a
    /// message, if a variable is missing; with `SPOOR_REQUIRE_ALL=1` that is a failure.
    fn from_env(test: &str) -> Option<Self> {
        let read = |variable: &str| {
            let value = std::env::var(variable).ok();
            if value.is_none() {
                skip(test, &format!("{variable} is not set"));
            }
            value
        };
        Some(Self {
            chart: read("SPOOR_FORMER_CHART")?,
            image: read("SPOOR_FORMER_IMAGE")?,
        })
    }

    /// Installs the release with its own definitions, and waits until everything is ready.
    async fn install(&self, lab: &Lab) {
        lab::create_namespace(lab.namespace).await;
        let (repository, tag) = self.image.rsplit_once(':').expect("an image with a tag");
        let image = format!("images.operator.repository={repository},images.operator.tag={tag}");
        let values = [values(lab), vec![image]].concat();
        let mut arguments = vec!["install", RELEASE, &self.chart];
        arguments.extend(["--namespace", lab.namespace]);
        arguments.extend(values.iter().flat_map(|value| ["--set", value.as_str()]));
        helm(&arguments).await;
        lab.wait_until_settled().await;
        lab.log("the former release is installed");
    }
}

/// The values of both releases, except the images: the small installation, without `sampler`.
fn values(lab: &Lab) -> Vec<String> {
    let request = |part: &str| {
        let cpu = lab::SMALL_CPU_REQUEST;
        format!("stack.spec.{part}.resources.requests.cpu={cpu}")
    };
    let own = [
        format!("operator.namespaces={{{}}}", lab.namespace),
        format!(
            "stack.spec.jaeger.storage.memory.maxTraces={}",
            lab::MAX_TRACES
        ),
        format!(
            "stack.spec.jaeger.resources.limits.memory={}",
            lab::JAEGER_MEMORY
        ),
        request("jaeger"),
        request("collector"),
    ];
    [without_applications_but(""), own.to_vec()].concat()
}

/// Upgrades the release, whose Job updates the definitions. Returns once the sampler decides and
/// the former engine is gone.
async fn upgrade(lab: &Lab) {
    let began = SystemTime::now();
    lab.release("upgrade", &values(lab)).await;
    let moved = wait_for_move(lab, "collector", began).await;
    lab.log(format_args!("upgraded: {moved}"));
    sleep(CONNECTION_DRAIN_TIME).await;
    policies::until(lab, POLICY, "traces decided by the sampler", |policy| {
        let decided = policy["status"]["tail"]["decided"].as_u64();
        decided.is_some_and(|decided| decided > 0)
    })
    .await;
    sleep(FORMER_ENGINE_DRAIN_TIME).await;
    end_former_engine(lab).await;
}

/// Ends the period for which the operator keeps the former engine, which allows for the longest
/// waits. This engine has the default waits, and is empty by now.
async fn end_former_engine(lab: &Lab) {
    let long_ago = Timestamp::now().as_second() - 600;
    let long_ago = Timestamp::from_second(long_ago).unwrap();
    let since = format!("spoor.dev/route-since={long_ago}");
    let service = format!("{STACK}-otlp");
    let annotate = ["annotate", "service", &service, &since, "--overwrite"];
    kubectl(&[&annotate[..], &["--namespace", lab.namespace]].concat()).await;
    let tiers = "app.kubernetes.io/name in (collector-gather,collector-decide)";
    eventually("the end of the former engine", ROLLOUT_TIMEOUT, || async {
        match pods::list(lab, tiers).await.len() {
            0 => Ok(()),
            left => Err(format!("{left} pods")),
        }
    })
    .await;
    lab.wait_until_settled().await;
    lab.log("the former engine is gone");
}

/// Rolls the release back. Returns once the former engine gets all traffic.
async fn roll_back(lab: &Lab) -> Move {
    let began = SystemTime::now();
    let release = ["rollback", RELEASE, FORMER_REVISION];
    helm(&[&release[..], &["--namespace", lab.namespace]].concat()).await;
    let moved = wait_for_move(lab, "collector-gather", began).await;
    lab.log(format_args!("rolled back: {moved}"));
    sleep(CONNECTION_DRAIN_TIME).await;
    lab.wait_until_settled().await;
    moved
}

/// The period within which the Service for spans changed to another part of the stack.
#[derive(Clone, Copy, Debug)]
struct Move {
    begins: SystemTime,
    ends: SystemTime,
}

impl Move {
    /// Returns true if spans of the trace may have been sent to both parts.
    fn includes(&self, trace: &Trace) -> bool {
        let period = self.begins - MAX_SEND_DELAY..=self.ends + CONNECTION_DRAIN_TIME;
        period.contains(&(UNIX_EPOCH + trace.started_at))
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasts = self.ends.duration_since(self.begins).unwrap_or_default();
        write!(f, "traffic began to move within a period of {lasts:.1?}")
    }
}

/// Waits until the Service for spans leads to this part of the stack. `began` is the time at which
/// the upgrade or rollback that causes this began.
async fn wait_for_move(lab: &Lab, part: &str, began: SystemTime) -> Move {
    const POLL_INTERVAL: Duration = Duration::from_millis(100);
    let services: Api<Service> = Api::namespaced(lab.client.clone(), lab.namespace);
    let (service, started) = (format!("{STACK}-otlp"), Instant::now());
    let mut begins = began;
    loop {
        let asked = SystemTime::now();
        let found = services.get(&service).await.unwrap();
        let selector = found.spec.and_then(|spec| spec.selector);
        let selector = selector.unwrap_or_default();
        let leads_to = selector.get("app.kubernetes.io/name");
        if leads_to.is_some_and(|name| name == part) {
            let ends = SystemTime::now();
            return Move { begins, ends };
        }
        assert!(
            started.elapsed() < ROLLOUT_TIMEOUT,
            "{service} leads to {leads_to:?} and not to {part}"
        );
        begins = asked;
        sleep(POLL_INTERVAL).await;
    }
}

/// The numbers of traces that should be in Jaeger as a whole and are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Missing {
    /// The traces with an error whose error is missing.
    errors: usize,
    /// The traces that no rule governs of which a span is missing.
    ungoverned: u64,
    /// The traces of which only a part is there, and that were not in progress during the rollback.
    split: usize,
}

impl Missing {
    fn new(sent: &[Generated], found: &Traces, rollback: Move) -> Self {
        let ids = sent.iter().flat_map(|sent| &sent.ids.with_error);
        let has_error = |id: &&String| found.get(*id).is_some_and(|trace| trace.has_error);
        let ungoverned = sent.iter().map(|sent| sent.services[UNGOVERNED].traces);
        let is_whole_and_ungoverned =
            |trace: &&Trace| !is_split(trace) && trace.root.as_deref() == Some(UNGOVERNED);
        let split = found
            .values()
            .filter(|trace| is_split(trace) && !rollback.includes(trace));
        let whole_and_ungoverned = found.values().filter(is_whole_and_ungoverned).count();
        Self {
            errors: ids.filter(|id| !has_error(id)).count(),
            ungoverned: ungoverned.sum::<u64>() - whole_and_ungoverned as u64,
            split: split.count(),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "missing: {} errors, spans of {} traces without a rule, parts of {} traces outside the rollback",
            self.errors, self.ungoverned, self.split
        )
    }
}

/// Numbers for the log, which are not asserted.
struct Sizes {
    sent: u64,
    errors: usize,
    found: usize,
    split: usize,
    repeated: usize,
}

impl Sizes {
    fn of(sent: &[Generated], found: &Traces) -> Self {
        let repeated = found.values().map(|trace| trace.spans - trace.distinct);
        Self {
            sent: sent.iter().map(|sent| sent.traces).sum(),
            errors: sent.iter().map(|sent| sent.ids.with_error.len()).sum(),
            found: found.len(),
            split: found.values().filter(|trace| is_split(trace)).count(),
            repeated: repeated.sum(),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} traces sent, {} with an error; {} in Jaeger, {} of them in part; {} spans repeated",
            self.sent, self.errors, self.found, self.split, self.repeated
        )
    }
}

#[test]
fn only_the_rollback_excuses_a_split_trace() {
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
    let moved = Move {
        begins: at(1_000),
        ends: at(1_001),
    };
    let trace = |root: &str, distinct: usize, seconds: u64| Trace {
        root: Some(root.to_owned()),
        spans: load::SPANS,
        distinct,
        has_error: true,
        started_at: Duration::from_secs(seconds),
        ..Trace::default()
    };
    let started = |traces: u64| load::Started { traces, errors: 0 };
    let id = |number: u32| format!("{number:032x}");
    let sent = Generated {
        traces: 4,
        spans: 0,
        exported: 0,
        dropped: BTreeMap::new(),
        services: BTreeMap::from([GOVERNED, UNGOVERNED].map(|it| (it.to_owned(), started(2)))),
        ids: load::TraceIds {
            with_error: vec![id(1), id(2)],
            without_error: vec![id(3), id(4)],
        },
    };
    let sent = std::slice::from_ref(&sent);
    let mut found = Traces::from([
        (id(1), trace(GOVERNED, load::SPANS, 500)),
        (id(2), trace(GOVERNED, 1, 1_010)),
        (id(3), trace(UNGOVERNED, load::SPANS, 1_010)),
        (id(4), trace(UNGOVERNED, load::SPANS, 2_000)),
    ]);
    assert_eq!(Missing::new(sent, &found, moved), Missing::default());

    found.remove(&id(1));
    found.insert(id(2), trace(GOVERNED, 1, 2_000));
    found.insert(id(3), trace(UNGOVERNED, 1, 1_010));
    let missing = Missing {
        errors: 1,
        ungoverned: 1,
        split: 1,
    };
    assert_eq!(Missing::new(sent, &found, moved), missing);
}
