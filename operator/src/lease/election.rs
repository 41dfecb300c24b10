//! Leader election by a Lease.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    leadership::{Candidate, Leadership},
    record::{self, LeaseAction, ObservedLease},
};
use crate::kubernetes::{ApiServerError, with_deadline};

/// Campaigns for a lease until `stop`, then releases it. The caller has to poll the future.
pub fn campaign(
    client: Client,
    candidate: Candidate,
    stop: CancellationToken,
) -> (
    watch::Receiver<Leadership>,
    impl Future<Output = ()> + Send + 'static,
) {
    let (sender, leadership) = watch::channel(Leadership::Standby);
    let election = Election {
        api: Api::namespaced(client, &candidate.namespace),
        candidate: Arc::new(candidate),
        observed: None,
        leadership: sender,
    };
    (leadership, election.run(stop))
}

/// Waits until this candidate has lost its leadership. Returns the identity of the new leader.
pub async fn lost_leadership(mut leadership: watch::Receiver<Leadership>) -> String {
    let is_lost = |leadership: &Leadership| matches!(leadership, Leadership::Lost { .. });
    if let Ok(lost) = leadership.wait_for(is_lost).await
        && let Leadership::Lost { to } = &*lost
    {
        return to.clone();
    }
    std::future::pending().await
}

struct Election {
    api: Api<Lease>,
    candidate: Arc<Candidate>,
    /// The lease, and the time at which this process last saw it change.
    observed: Option<ObservedLease>,
    leadership: watch::Sender<Leadership>,
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
                    // One line for each outage.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            lease = self.candidate.name,
                            "cannot read or renew the lease; retrying"
                        );
                    }
                }
            }
            if matches!(*self.leadership.borrow(), Leadership::Lost { .. }) {
                return;
            }
            let pause = self.pause(is_failing);
            let slept = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            if slept.is_none() {
                break;
            }
        }
        self.release().await;
    }

    /// Reads the lease, and acquires or renews it if that is due.
    async fn attempt(&mut self) -> Result<(), ApiServerError> {
        let started = Instant::now();
        let candidate = self.candidate.clone();
        let (name, identity) = (&candidate.name, &candidate.identity);
        // A read and a write of this length leave a third of the duration for the next attempt.
        let deadline = candidate.timing.duration / 3;
        let read = with_deadline(deadline, self.api.get_opt(name)).await?;
        self.observed =
            read.map(|lease| ObservedLease::observe(lease, Instant::now(), self.observed.take()));
        let was_leader = self.leadership.borrow().is_leader();
        let action = record::next_action(self.observed.as_ref(), identity, was_leader, started);
        let written = match action {
            LeaseAction::Wait => return Ok(()),
            LeaseAction::StepDown { to } => {
                tracing::error!(lease = name, to, "lost leadership");
                self.leadership.send_replace(Leadership::Lost { to });
                return Ok(());
            }
            LeaseAction::Create => {
                let lease = record::created(&candidate, Timestamp::now());
                with_deadline(deadline, self.api.create(&PostParams::default(), &lease)).await
            }
            LeaseAction::Hold(lease) => {
                let lease = record::held(*lease, &candidate, Timestamp::now());
                let parameters = PostParams::default();
                with_deadline(deadline, self.api.replace(name, &parameters, &lease)).await
            }
        };
        match written {
            Ok(lease) => {
                let before = self.observed.take();
                self.observed = Some(ObservedLease::observe(lease, Instant::now(), before));
                if !was_leader {
                    tracing::info!(lease = name, identity, "became the leader");
                }
                // Measured from before the call: other candidates may have seen the change as early as
                // that.
                let until = started + candidate.timing.duration;
                self.leadership.send_replace(Leadership::Leader { until });
                Ok(())
            }
            // Another candidate was faster; the next attempt reads which one.
            // The resourceVersion in the update makes this a compare-and-swap.
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn pause(&self, is_failing: bool) -> Duration {
        let timing = &self.candidate.timing;
        let pause = match is_failing || !self.leadership.borrow().is_leader() {
            true => timing.retry,
            false => timing.renew,
        };
        // Jitter, so that replicas started together do not collide on each attempt.
        pause.mul_f64(rand::random_range(0.8..1.0))
    }

    /// Releases the lease, so that another candidate can acquire it immediately.
    async fn release(mut self) {
        let is_leader = self.leadership.borrow().is_leader();
        let Some(observed) = self.observed.take().filter(|_| is_leader) else {
            return;
        };
        self.leadership.send_replace(Leadership::Standby);
        let mut released = self.write_released(observed.lease).await;
        if released.as_ref().is_err_and(ApiServerError::is_conflict) {
            // The stop interrupted a renewal that the API server had received.
            released = self.release_newest().await;
        }
        if let Err(error) = released {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                lease = self.candidate.name,
                "cannot release the lease; it expires by itself"
            );
        }
    }

    /// Reads the lease again, and releases it if this candidate still holds it.
    async fn release_newest(&self) -> Result<(), ApiServerError> {
        let candidate = &self.candidate;
        let read = self.api.get_opt(&candidate.name);
        let read = with_deadline(candidate.timing.retry, read).await?;
        let newest = read.map(|lease| ObservedLease::observe(lease, Instant::now(), None));
        match newest {
            Some(newest) if newest.holder() == Some(candidate.identity.as_str()) => {
                self.write_released(newest.lease).await
            }
            _ => Ok(()),
        }
    }

    async fn write_released(&self, lease: Lease) -> Result<(), ApiServerError> {
        let lease = record::released(lease, Timestamp::now());
        let parameters = PostParams::default();
        let write = self.api.replace(&self.candidate.name, &parameters, &lease);
        let written = with_deadline(self.candidate.timing.retry, write).await;
        written.map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{Method, Request, Response, StatusCode};
    use kube::client::Body;
    use parking_lot::Mutex;
    use tower::{BoxError, service_fn};

    use super::*;
    use crate::lease::leadership::Timing;

    #[tokio::test]
    async fn lease_of_interrupted_renewal_is_released() {
        let candidate = Candidate {
            namespace: "spoor".to_owned(),
            name: "spoor-policies".to_owned(),
            identity: "a".to_owned(),
            timing: Timing::default(),
        };
        let lease = |version: &str| {
            let mut lease = record::created(&candidate, Timestamp::now());
            lease.metadata.resource_version = Some(version.to_owned());
            lease
        };
        let before = ObservedLease::observe(lease("1"), Instant::now(), None);
        let stored = Arc::new(Mutex::new(lease("2")));
        let server = stored.clone();
        let service = service_fn(move |request: Request<Body>| {
            let stored = server.clone();
            async move {
                let is_write = request.method() == Method::PUT;
                let sent = request.into_body().collect_bytes().await?;
                let mut stored = stored.lock();
                if is_write {
                    let sent: Lease = serde_json::from_slice(&sent)?;
                    if sent.metadata.resource_version != stored.metadata.resource_version {
                        let mut conflict = Response::new(Body::from(b"conflict".to_vec()));
                        *conflict.status_mut() = StatusCode::CONFLICT;
                        return Ok(conflict);
                    }
                    *stored = sent;
                }
                let body = serde_json::to_vec(&*stored)?;
                Ok::<_, BoxError>(Response::new(Body::from(body)))
            }
        });
        let until = Instant::now();
        let election = Election {
            api: Api::namespaced(Client::new(service, "spoor"), "spoor"),
            candidate: Arc::new(candidate),
            observed: Some(before),
            leadership: watch::Sender::new(Leadership::Leader { until }),
        };
        election.release().await;
        let spec = stored.lock().spec.clone().unwrap();
        assert_eq!(spec.holder_identity, None);
    }
}
