//! How far a version has come.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spoor_policy::Version;

use crate::{
    Control, Instance, InstanceState, processes::Processes, record::Standing, service::Service,
};

/// Looking at every instance after every acknowledgement would cost the square of their number.
const PAUSE: Duration = Duration::from_millis(2);

/// Everybody who should be there holds its newest plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convergence {
    /// How many hold it.
    pub instances: usize,
    /// From the publication to the last acknowledgement of what it changed; zero where it
    /// changed nothing for anybody.
    pub took: Duration,
}

impl Control {
    /// Waits until every expected and every connected instance holds the newest plan of its
    /// service, none of them silent. For how long is the caller's to bound.
    pub async fn converged(&self, version: Version) -> Convergence {
        self.until_converged(|control| control.convergence(version))
            .await
    }

    /// The same for the services whose plan has changed at this version or since: no other had to
    /// be told of it.
    pub async fn converged_where_changed(&self, version: Version) -> Convergence {
        self.until_converged(|control| control.convergence_of(version, true))
            .await
    }

    /// The same if it is so now.
    #[must_use]
    pub fn convergence(&self, version: Version) -> Option<Convergence> {
        self.convergence_of(version, false)
    }

    async fn until_converged(&self, check: impl Fn(&Self) -> Option<Convergence>) -> Convergence {
        let mut changed = self.changed();
        loop {
            changed.mark_unchanged();
            if let Some(convergence) = check(self) {
                return convergence;
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn convergence_of(&self, version: Version, only_changed: bool) -> Option<Convergence> {
        if self
            .0
            .published
            .load()
            .as_ref()
            .is_none_or(|it| it.version < version)
        {
            return None;
        }
        let now = Instant::now();
        let mut all = Convergence {
            instances: 0,
            took: Duration::ZERO,
        };
        for service in self.0.services.all() {
            if only_changed && !service.has_plan_since(version) {
                continue;
            }
            let (instances, took) =
                service.convergence(version, self.0.settings.silent_after, now)?;
            all.instances += instances;
            all.took = all.took.max(took);
        }
        Some(all)
    }
}

impl Service {
    fn has_plan_since(&self, version: Version) -> bool {
        let state = self.state();
        state
            .served
            .as_ref()
            .is_some_and(|served| served.version >= version)
    }

    fn convergence(
        &self,
        version: Version,
        silent_after: Duration,
        now: Instant,
    ) -> Option<(usize, Duration)> {
        let state = self.state();
        let served = state.served.as_deref();
        let (mut instances, mut took) = (0, Duration::ZERO);
        for (_, processes) in state.relevant() {
            if processes?.standing(served, silent_after, now) != Standing::Current {
                return None;
            }
            instances += 1;
            if served.is_some_and(|served| served.version >= version) {
                took = took.max(processes?.took().unwrap_or_default());
            }
        }
        Some((instances, took))
    }

    pub(crate) fn instances(&self, silent_after: Duration, now: Instant) -> Vec<InstanceState> {
        let state = self.state();
        let served = state.served.as_deref();
        let nobody = Processes::default();
        let states = state.relevant().map(|(id, processes)| {
            let processes = processes.unwrap_or(&nobody);
            let standing = processes.standing(served, silent_after, now);
            InstanceState {
                instance: Instance {
                    namespace: self.namespace.clone(),
                    service: self.name.clone(),
                    id: id.to_owned(),
                },
                expected: state.expected.contains(id),
                connected: processes.is_connected(),
                silent: processes
                    .speaking()
                    .all(|it| it.is_silent(silent_after, now)),
                held: processes.speaking().map(|it| it.held).min().flatten(),
                current: standing == Standing::Current,
                took: processes.took(),
                refused: processes.speaking().find_map(|it| it.refused.clone()),
                heard_ago: processes
                    .speaking()
                    .map(|it| now.saturating_duration_since(it.heard))
                    .min(),
                spans_exported: processes
                    .all()
                    .fold(0, |sum, it| sum.saturating_add(it.spans_exported)),
                spans_dropped: dropped(processes),
            }
        });
        let mut states: Vec<InstanceState> = states.collect();
        states.sort_by(|one, other| one.instance.id.cmp(&other.instance.id));
        states
    }
}

fn dropped(processes: &Processes) -> BTreeMap<String, u64> {
    let mut dropped = BTreeMap::new();
    for (reason, spans) in processes.all().flat_map(|it| &it.spans_dropped) {
        let sum: &mut u64 = dropped.entry(reason.clone()).or_default();
        *sum = sum.saturating_add(*spans);
    }
    dropped
}
