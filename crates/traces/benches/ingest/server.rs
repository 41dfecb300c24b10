//! The pipeline in a separate process, which is queried over its standard input.

use std::{
    io::{BufRead, Write},
    time::{Duration, Instant},
};

use rustix::time::ClockId;
use spoor_policy::{
    Namespace, Policy, PolicyFields, PolicyKey, PolicyName, Probability, Rule, RuleCondition,
    RuleName, TailPolicy, resolve,
};
use spoor_traces::{Pipeline, PipelineSettings, Search, TailSettings, TraceStore};
use tokio_util::sync::CancellationToken;

pub fn run(mode: &str) {
    crate::pin(0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let tail = TailSettings {
            decision_wait: Duration::from_millis(500),
            max_trace_duration: Duration::from_millis(500),
            max_bytes: 1 << 30,
            ..TailSettings::default()
        };
        let settings = PipelineSettings {
            store_bytes: 1 << 30,
            tail,
            ..PipelineSettings::default()
        };
        let pipeline = Pipeline::start(settings, CancellationToken::new());
        if mode == "tail" {
            pipeline.set_tail(tail_table());
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        println!("{}", listener.local_addr().expect("an address").port());
        let queried = pipeline.clone();
        std::thread::spawn(move || serve_queries(&queried));
        axum::serve(listener, pipeline.otlp_http())
            .await
            .expect("to serve");
    });
}

fn tail_table() -> spoor_policy::TailTable {
    let rule = |name: &str, condition| Rule {
        name: RuleName::new(name).expect("a name"),
        condition,
    };
    let keep = vec![
        rule("errors", RuleCondition::Error),
        rule(
            "slow",
            RuleCondition::SlowerThan(Duration::from_millis(500)),
        ),
    ];
    let tail =
        TailPolicy::new(keep, "10%".parse::<Probability>().expect("a share")).expect("a policy");
    let key = PolicyKey {
        namespace: Namespace::default(),
        name: PolicyName::new("all").expect("a name"),
    };
    let now = jiff::Timestamp::now();
    let policy = Policy::new(PolicyFields {
        key,
        priority: 0,
        created: now,
        targets: Vec::new(),
        head: None,
        tail: Some(tail),
        expires_at: None,
    })
    .expect("a policy");
    resolve(&[policy], now).tail
}

fn serve_queries(pipeline: &Pipeline) {
    for line in std::io::stdin().lock().lines() {
        let result = match line.expect("a query").as_str() {
            "resident" => resident().to_string(),
            "spans" => pipeline.store().occupancy().spans.to_string(),
            "decided" => {
                let totals = pipeline.totals();
                (totals.received - totals.gathering).to_string()
            }
            "totals" => {
                let totals = pipeline.totals();
                format!(
                    "{} kept, {} dropped, {} early",
                    totals.kept,
                    totals.dropped(),
                    totals.traces_decided_early
                )
            }
            "processor_time" => crate::processor_time(ClockId::ProcessCPUTime).to_string(),
            "search" => searches(pipeline.store()),
            other => format!("unknown: {other}"),
        };
        println!("{result}");
        std::io::stdout().flush().expect("to write");
    }
}

/// The resident memory, in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: u64 = pages
        .split(' ')
        .nth(1)
        .expect("a field")
        .parse()
        .expect("a number");
    pages * rustix::param::page_size() as u64
}

fn searches(store: &TraceStore) -> String {
    let tag = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let service = Some("service-a".to_owned());
    let all = [
        ("newest 20", Search::default()),
        (
            "by service",
            Search {
                service: service.clone(),
                ..Search::default()
            },
        ),
        (
            "by operation",
            Search {
                service,
                operation: Some("POST /orders".into()),
                ..Search::default()
            },
        ),
        (
            "error=true",
            Search {
                tags: tag("error", "true"),
                ..Search::default()
            },
        ),
        (
            "customer.tier=gold, 1500 traces",
            Search {
                tags: tag("customer.tier", "gold"),
                limit: 1500,
                ..Search::default()
            },
        ),
        (
            "status 500 among the oldest",
            Search {
                tags: tag("http.response.status_code", "500"),
                start_max: Some(1_790_000_000_050_000_000),
                ..Search::default()
            },
        ),
        (
            "a tag that no span has",
            Search {
                tags: tag("customer.tier", "platinum"),
                ..Search::default()
            },
        ),
        (
            "a duration that no span has",
            Search {
                duration_min: Some(Duration::from_secs(1)),
                ..Search::default()
            },
        ),
        (
            "an operation that no span has",
            Search {
                operation: Some("x".into()),
                ..Search::default()
            },
        ),
    ];
    let timed = all.iter().map(|(name, search)| {
        let mut times: Vec<Duration> = Vec::new();
        let mut found = 0;
        for _ in 0..5 {
            let started = Instant::now();
            let ids = store.find(search).into_iter();
            found = ids
                .filter_map(|id| store.trace(id))
                .collect::<Vec<_>>()
                .len();
            times.push(started.elapsed());
        }
        times.sort();
        format!(
            "{name}: {:.2} ms, at worst {:.2} ms ({found} traces)",
            times[2].as_secs_f64() * 1e3,
            times[4].as_secs_f64() * 1e3
        )
    });
    timed.collect::<Vec<_>>().join("|")
}
