//! A rate limit among many instances, from the real control plane to the sampler.

use std::{sync::Arc, time::Duration};

use opentelemetry_sdk::trace::SamplingDecision;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rstest::rstest;
use spoor_control::{ClientCounts, Control, ControlSettings};
use spoor_policy::{Probability, Strategy, TracesPerSecond, Version};
use spoor_telemetry::{
    control_stream,
    sampler::{Decisions, Live, LiveSampler},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    control_plane::{client, key, publish, serve},
    sampler::root,
};

const INSTANCES: usize = 30;
const LIMIT_PER_SECOND: u32 = 300;
const REPORT_INTERVAL: Duration = Duration::from_millis(200);
const WINDOW: Duration = Duration::from_secs(3);
/// Generous, for a busy machine: on an idle one, shares follow demand within seconds.
const DEADLINE: Duration = Duration::from_secs(90);

/// Instances whose demands are in the ratio 1 : 1/2 : 1/3 and so on. With equal shares, they would
/// keep 68 and 77 % of the traces that the limit allows.
#[rstest]
#[case::demand_under_the_limit(200.0, 0.95)]
#[case::demand_over_the_limit(500.0, 0.9)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uneven_demand_uses_the_whole_limit(#[case] demand: f64, #[case] part: f64) {
    let fixture = Fixture::start().await;
    let version = fixture.publish();
    fixture.wait_until_all_current().await;
    let shared = fixture.control.version();
    let harmonic: f64 = (1..=INSTANCES).map(|rank| 1.0 / rank as f64).sum();
    let load: Vec<_> = (1_u32..)
        .zip(&fixture.instances)
        .map(|(rank, live)| {
            let rate = demand / harmonic / f64::from(rank);
            let load = start_traces(Arc::clone(live), rate, u64::from(rank));
            tokio::spawn(fixture.stop.clone().run_until_cancelled_owned(load))
        })
        .collect();
    let began = Instant::now();
    loop {
        let (before, from) = (fixture.decisions(), Instant::now());
        sleep(WINDOW).await;
        let all = fixture.decisions();
        let allowed = f64::from(LIMIT_PER_SECOND) * from.elapsed().as_secs_f64();
        let started = (all.started - before.started) as f64;
        let kept = (all.sampled - before.sampled) as f64;
        let saved = f64::from(LIMIT_PER_SECOND) * 5.0;
        let most = f64::from(LIMIT_PER_SECOND) * began.elapsed().as_secs_f64() + saved;
        assert!(all.sampled as f64 <= most, "{all:?} of {most}");
        let clients = fixture.clients();
        assert_eq!(
            clients.current, INSTANCES,
            "new shares do not make a new version"
        );
        if kept >= part * allowed.min(started) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{kept} of {started}, {allowed}");
    }
    assert!(version <= shared && fixture.control.version() == shared);
    fixture.stop.cancel();
    for load in load {
        load.await.unwrap();
    }
}

struct Fixture {
    control: Control,
    instances: Vec<Arc<Live>>,
    stop: CancellationToken,
}

impl Fixture {
    async fn start() -> Self {
        let control = Control::new(ControlSettings::default());
        let stop = CancellationToken::new();
        let (address, _server) = serve(&control, &stop);
        let instance = |number: usize| {
            let live = Arc::new(Live::default());
            let client = client(address, &number.to_string(), &live, REPORT_INTERVAL);
            tokio::spawn(control_stream::run(client, stop.clone()));
            live
        };
        let instances = (0..INSTANCES).map(instance).collect();
        Self {
            control,
            instances,
            stop,
        }
    }

    fn publish(&self) -> Version {
        let limit = TracesPerSecond::new(LIMIT_PER_SECOND.into()).unwrap();
        publish(&self.control, Strategy::RateLimit(limit))
    }

    fn clients(&self) -> ClientCounts {
        self.control.evidence(&key("service-a")).unwrap().clients
    }

    /// Waits until the limit is divided among all instances, and each has its share.
    async fn wait_until_all_current(&self) {
        let deadline = Instant::now() + DEADLINE;
        let mut steady = 0;
        let mut version = self.control.version();
        while steady < 10 {
            assert!(Instant::now() < deadline, "{:?}", self.clients());
            sleep(Duration::from_millis(50)).await;
            let is_steady =
                self.clients().current == INSTANCES && version == self.control.version();
            steady = if is_steady { steady + 1 } else { 0 };
            version = self.control.version();
        }
    }

    fn decisions(&self) -> Decisions {
        let mut all = Decisions::default();
        for live in &self.instances {
            all += live.decisions();
        }
        all
    }
}

/// Starts traces like independent requests, at this rate.
async fn start_traces(live: Arc<Live>, per_second: f64, seed: u64) {
    let sampler = LiveSampler::new(live, Probability::ALWAYS);
    let mut random = StdRng::seed_from_u64(seed);
    let mut next = Instant::now();
    loop {
        let pause = -(1.0 - random.random::<f64>()).ln() / per_second;
        next += Duration::from_secs_f64(pause);
        tokio::time::sleep_until(next).await;
        let decision = root(&sampler, u128::from(random.random::<u64>()), "GET /").decision;
        assert_ne!(decision, SamplingDecision::RecordOnly);
    }
}
