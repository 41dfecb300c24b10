//! What the leader does: it resolves whenever something changed or expires, and writes what
//! became of that.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use spoor_api::SamplingPolicy;
use spoor_control::Control;
use tokio::sync::{Notify, watch};

use super::{
    apply,
    build::{Built, Inputs, Service},
    clients::Clients,
    dereference::Sources,
    metrics::Metrics,
    preprocess::Found,
    status::Statuses,
};
use crate::{
    kubernetes::{
        events::{Event, Events},
        resources::reference,
        watch::Watches,
    },
    lease::{Claims, Leadership},
};

/// What comes together is resolved together: an API server sends a change of many objects as
/// many events.
const TOGETHER: Duration = Duration::from_millis(3);
/// Clocks are set now and then: what is further away is looked at again after this time.
const LONGEST: Duration = Duration::from_secs(3600);
/// How often clients are looked at while they are about to take something.
const CLOSELY: Duration = Duration::from_millis(50);
/// The same while they are not.
const NOW_AND_THEN: Duration = Duration::from_secs(2);
/// Something that was published is moving for at least this long.
const MOVES: Duration = Duration::from_secs(3);

/// What the leader's two tasks share.
pub(super) struct Leader {
    pub(super) sources: Sources,
    pub(super) watches: Watches,
    pub(super) control: Control,
    pub(super) metrics: Metrics,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) claims: Claims,
    events: Arc<Events>,
    resolved: ArcSwapOption<Resolved>,
    /// Ticks when the watches did and what that meant is resolved.
    news: watch::Sender<u64>,
    /// Clients of services that nobody expected have come.
    arrivals: Notify,
    connected: ArcSwapOption<BTreeSet<Service>>,
}

/// What was found and what that means. Together, so that no status speaks of a generation with
/// what was resolved of another.
struct Resolved {
    policies: Vec<Arc<Found>>,
    built: Arc<Built>,
}

impl Leader {
    pub(super) fn new(
        sources: Sources,
        watches: Watches,
        control: Control,
        metrics: Metrics,
        leadership: watch::Receiver<Leadership>,
        claims: Claims,
        events: Arc<Events>,
    ) -> Self {
        Self {
            sources,
            watches,
            control,
            metrics,
            leadership,
            claims,
            events,
            resolved: ArcSwapOption::empty(),
            news: watch::Sender::new(0),
            arrivals: Notify::new(),
            connected: ArcSwapOption::empty(),
        }
    }

    /// Resolves and publishes if anything changed, and says when something expires.
    pub(super) fn resolve(&self) -> Option<Timestamp> {
        let started = Instant::now();
        let now = Timestamp::now();
        let snapshot = self.sources.snapshot(&self.claims);
        self.tell_refusals();
        let connected = self.connected.load_full().unwrap_or_default();
        let inputs = Inputs::of(&snapshot, &connected);
        let before = self.resolved.load_full().map(|before| before.built.clone());
        let built = match &before {
            Some(before) if before.holds_for(&inputs, now) => {
                let further = before.with_stacks(&snapshot.stacks);
                further.map_or_else(|| before.clone(), Arc::new)
            }
            _ => {
                let built = Built::new(inputs, &snapshot.stacks, now);
                apply::apply(&self.control, &built, before.as_deref());
                self.metrics.resolved(started.elapsed());
                self.metrics.count(&built.inputs);
                Arc::new(built)
            }
        };
        let next_expiry = built.resolution.next_expiry;
        self.resolved.store(Some(Arc::new(Resolved {
            policies: snapshot.policies,
            built,
        })));
        // Somebody may have edited a status.
        self.news
            .send_modify(|ticks| *ticks = ticks.wrapping_add(1));
        next_expiry
    }

    /// Tells on each policy of a namespace that another installation serves that this one does not.
    fn tell_refusals(&self) {
        for found in self.sources.policies.all() {
            if let Some(by) = self.claims.refused_by(&found.key.namespace) {
                let regarding = reference(SamplingPolicy::KIND, &found.key, &found.uid);
                self.events
                    .tell(Event::refused(regarding, &by, self.claims.identity()));
            }
        }
    }

    /// Resolves at every change, for ever.
    pub(super) async fn keep_resolving(&self, mut expiry: Option<Timestamp>) {
        let mut changed = self.watches.changed();
        loop {
            tokio::select! {
                ticked = changed.changed() => if ticked.is_err() { return },
                () = self.arrivals.notified() => {}
                () = until(expiry) => {}
            }
            tokio::time::sleep(TOGETHER).await;
            changed.mark_unchanged();
            expiry = self.resolve();
        }
    }

    /// Writes statuses whenever that is due, for ever; only while nobody else can be the leader.
    pub(super) async fn keep_writing(&self, mut statuses: Statuses) {
        let mut news = self.news.subscribe();
        let mut heard = self.control.changed();
        let mut leadership = self.leadership.clone();
        let mut moves_until = Instant::now();
        let mut last: Option<Arc<Built>> = None;
        loop {
            if leadership.wait_for(Leadership::is_certain).await.is_err() {
                return;
            }
            news.mark_unchanged();
            heard.mark_unchanged();
            self.see_who_connects();
            let Some(resolved) = self.resolved.load_full() else {
                return;
            };
            let Resolved { policies, built } = &*resolved;
            if last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, built)) {
                moves_until = Instant::now() + MOVES;
                last = Some(built.clone());
            }
            let clients = Clients {
                control: &self.control,
                pods: &self.sources.pods,
                mislabelled: &self.sources.mislabelled,
            };
            let next = statuses.write(policies, built, &clients).await;
            let began = Instant::now();
            let pause = match next.is_moving || began < moves_until {
                true => CLOSELY,
                false => NOW_AND_THEN,
            };
            let due = next.at.unwrap_or(began + LONGEST);
            tokio::select! {
                ticked = news.changed() => if ticked.is_err() { return },
                () = tokio::time::sleep_until(due.into()) => {}
                () = async {
                    if heard.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    tokio::time::sleep_until((began + pause).into()).await;
                } => {}
            }
        }
    }

    /// Remembers which services have had clients, for as long as they have pods: who has come
    /// once is missed when it is gone.
    fn see_who_connects(&self) {
        let instances = self.control.instances().into_iter();
        let connected = instances
            .filter(|it| it.connected)
            .map(|it| (it.instance.namespace, it.instance.service));
        let known = self.connected.load_full().unwrap_or_default();
        let mut services: BTreeSet<Service> = connected.collect();
        services.extend(known.iter().cloned());
        if services != *known {
            let pods = self.sources.pods.all();
            let there: BTreeSet<_> = pods
                .iter()
                .filter_map(|pod| Some((&pod.namespace, pod.service.as_ref()?)))
                .collect();
            services.retain(|(namespace, service)| there.contains(&(namespace, service)));
        }
        if services != *known {
            self.connected.store(Some(Arc::new(services)));
            self.arrivals.notify_one();
        }
    }
}

async fn until(time: Option<Timestamp>) {
    let Some(time) = time else {
        return std::future::pending().await;
    };
    let left = Timestamp::now().duration_until(time);
    let left = Duration::try_from(left).unwrap_or_default();
    tokio::time::sleep(left.min(LONGEST)).await;
}
