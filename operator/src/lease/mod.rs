//! Which of a role's replicas leads: a Lease, as client-go's leader election has it.
//!
//! Nobody compares clocks: a lease has run out when it was not seen to change for as long as it
//! holds, by the clock of who looks. A leader that can't reach the API server goes on, since
//! nobody else can have become one as long as that is so for all; it steps down when it sees
//! another holder.

mod claims;
mod record;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use claims::{CLAIM_LEASE, CLAIM_TIMING, Claimer, Claims, refusal};

use crate::kubernetes::{CallError, within};
use record::{Seen, Step};

/// How long a lease holds and how often it is looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A leader that has not renewed it for this long may be replaced.
    pub duration: Duration,
    /// The leader renews it this often.
    pub renew: Duration,
    /// Others look this often, and everybody after a failure.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew: Duration::from_secs(5),
            retry: Duration::from_secs(2),
        }
    }
}

/// Somebody who would lead.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where the Lease is.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// The candidate, unlike any other: a pod's name and something random.
    pub identity: String,
    /// How long it holds.
    pub timing: Timing,
}

/// Who leads, as far as one candidate knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Not this one, yet.
    Standby,
    /// This one; nobody can take over before that time.
    Leader {
        /// When the lease runs out unless it is renewed.
        until: Instant,
    },
    /// Not this one any more: it never leads again.
    Deposed {
        /// Who does.
        by: String,
    },
}

impl Leadership {
    /// Whether it leads and nobody can have taken over.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        matches!(self, Self::Leader { until } if Instant::now() < *until)
    }

    /// Whether it leads as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(self, Self::Leader { .. })
    }
}

/// Stands for election until `stop`, then gives the lease up. The future has to be polled.
pub fn stand(
    client: Client,
    candidate: Candidate,
    stop: CancellationToken,
) -> (
    watch::Receiver<Leadership>,
    impl Future<Output = ()> + Send + 'static,
) {
    let (told, leadership) = watch::channel(Leadership::Standby);
    let election = Election {
        api: Api::namespaced(client, &candidate.namespace),
        candidate: Arc::new(candidate),
        seen: None,
        told,
    };
    (leadership, election.run(stop))
}

/// Waits until this candidate has led and does no more, and names who does.
pub async fn deposed(mut leadership: watch::Receiver<Leadership>) -> String {
    let is_deposed = |leadership: &Leadership| matches!(leadership, Leadership::Deposed { .. });
    if let Ok(deposed) = leadership.wait_for(is_deposed).await
        && let Leadership::Deposed { by } = &*deposed
    {
        return by.clone();
    }
    std::future::pending().await
}

struct Election {
    api: Api<Lease>,
    candidate: Arc<Candidate>,
    /// The lease as it was when it was last seen to change.
    seen: Option<Seen>,
    told: watch::Sender<Leadership>,
}

impl Election {
    async fn run(mut self, stop: CancellationToken) {
        let mut is_failing = false;
        loop {
            let attempt = stop.run_until_cancelled(self.attempt()).await;
            match attempt {
                None => break,
                Some(Ok(())) => is_failing = false,
                Some(Err(error)) => {
                    // Once for each time that it is away.
                    if !is_failing {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            lease = self.candidate.name,
                            "can't look after the lease"
                        );
                    }
                    is_failing = true;
                }
            }
            if matches!(*self.told.borrow(), Leadership::Deposed { .. }) {
                return;
            }
            let pause = self.pause(is_failing);
            if stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                break;
            }
        }
        self.release().await;
    }

    /// Looks at the lease, and takes or renews it if that is due.
    async fn attempt(&mut self) -> Result<(), CallError> {
        let started = Instant::now();
        let Candidate {
            name,
            identity,
            timing,
            ..
        } = &*self.candidate.clone();
        let deadline = timing.duration / 3;
        let found = within(deadline, self.api.get_opt(name)).await?;
        self.seen = found.map(|lease| Seen::at(lease, Instant::now(), self.seen.take()));
        let was_leader = self.told.borrow().is_leader();
        let step = record::step(self.seen.as_ref(), identity, was_leader, started);
        let written = match step {
            Step::Wait => return Ok(()),
            Step::GiveWay { to } => {
                tracing::error!(lease = name, to, "another one leads");
                self.told.send_replace(Leadership::Deposed { by: to });
                return Ok(());
            }
            Step::Create => {
                let lease = record::first(&self.candidate, Timestamp::now());
                within(deadline, self.api.create(&PostParams::default(), &lease)).await
            }
            Step::Hold(lease) => {
                let lease = record::held(*lease, &self.candidate, Timestamp::now());
                let parameters = PostParams::default();
                within(deadline, self.api.replace(name, &parameters, &lease)).await
            }
        };
        match written {
            Ok(lease) => {
                self.seen = Some(Seen::at(lease, Instant::now(), self.seen.take()));
                if !was_leader {
                    tracing::info!(lease = name, identity, "leads");
                }
                // From before the call: that is when others may have seen it change.
                let until = started + timing.duration;
                self.told.send_replace(Leadership::Leader { until });
                Ok(())
            }
            // Somebody else was faster; the next look says who.
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn pause(&self, is_failing: bool) -> Duration {
        let timing = &self.candidate.timing;
        let pause = match is_failing || !self.told.borrow().is_leader() {
            true => timing.retry,
            false => timing.renew,
        };
        pause.mul_f64(rand::random_range(0.8..1.0))
    }

    /// Lets another one lead at once.
    async fn release(self) {
        let is_leader = self.told.borrow().is_leader();
        let Some(seen) = self.seen.filter(|_| is_leader) else {
            return;
        };
        let lease = record::released(seen.lease, Timestamp::now());
        let parameters = PostParams::default();
        let name = &self.candidate.name;
        let released = within(
            self.candidate.timing.retry,
            self.api.replace(name, &parameters, &lease),
        );
        self.told.send_replace(Leadership::Standby);
        if let Err(error) = released.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                lease = name,
                "can't give the lease up: it runs out by itself"
            );
        }
    }
}
