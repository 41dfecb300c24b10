//! The roster: the child processes and their states.

use std::{collections::BTreeMap, mem};

use parking_lot::Mutex;
use spoor_control::{Control, Instance};
use spoor_policy::{Namespace, ServiceName};
use tokio::sync::watch;

use super::not_ready::NotReady;
use crate::service::Service;

/// The number of failures of a service after which the lab fails to start. One failure can be
/// transient on a busy machine; a wrong setting fails each time.
const MAX_START_ATTEMPTS: u32 = 3;

/// The states of all children. Each change is passed on to the control plane, which expects
/// acknowledgements from the running instances.
pub(crate) struct Roster {
    children: Mutex<BTreeMap<Service, Child>>,
    changed: watch::Sender<()>,
    control: Control,
}

/// A child process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Child {
    /// The current state.
    pub(crate) state: State,
    /// The number of restarts.
    pub(crate) restarts: u32,
    /// The number of processes that ended although no restart was requested, or that did not start.
    failures: u32,
    /// The reason why the last process failed.
    failure: Option<String>,
    /// True if a restart was requested, so that the end of the process is not a failure.
    is_restarting: bool,
}

/// The state of a child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// No process: not started yet, or waiting for a restart.
    #[default]
    Waiting,
    /// A process that is not ready yet.
    Starting(Process),
    /// A process that has reported that it is ready.
    Ready(Process),
    /// Stopped by the lab.
    Stopped,
}

/// A child's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// The process ID.
    pub(crate) pid: u32,
    /// The `service.instance.id`.
    pub(crate) instance: String,
}

impl Roster {
    /// Creates a roster of services without processes.
    pub(crate) fn new(services: impl IntoIterator<Item = Service>, control: Control) -> Self {
        let children = services
            .into_iter()
            .map(|service| (service, Child::default()))
            .collect();
        Self {
            children: Mutex::new(children),
            changed: watch::Sender::new(()),
            control,
        }
    }

    /// The current states of all children.
    pub(crate) fn children(&self) -> BTreeMap<Service, Child> {
        self.children.lock().clone()
    }

    /// Requests the replacement of a service's process. Returns false if it has no process.
    ///
    /// Only the task that waits for the process may signal it: after its end, the process ID may
    /// belong to another one.
    pub(crate) fn request_restart(&self, service: Service) -> bool {
        let mut children = self.children.lock();
        let child = children.get_mut(&service);
        let Some(child) = child.filter(|child| child.process().is_some()) else {
            return false;
        };
        child.is_restarting = true;
        self.changed.send_replace(());
        true
    }

    /// Waits until a restart of a service's process is requested.
    pub(super) async fn wait_for_restart_request(&self, service: Service) {
        let mut changed = self.changed.subscribe();
        while !self.is_restarting(service) && changed.changed().await.is_ok() {}
    }

    fn is_restarting(&self, service: Service) -> bool {
        let children = self.children.lock();
        children.get(&service).is_some_and(|it| it.is_restarting)
    }

    pub(super) fn record_started(&self, service: Service, process: Process) {
        self.update(service, |child| child.state = State::Starting(process));
    }

    pub(super) fn record_ready(&self, service: Service) {
        self.update(service, |child| {
            // The process may have ended since it responded.
            if let State::Starting(process) = &child.state {
                child.state = State::Ready(process.clone());
            }
        });
    }

    /// Records that a process ended, or could not be started. Returns whether that is a failure,
    /// and not the end of a process that [`Roster::request_restart`] has stopped.
    pub(super) fn record_ended(&self, service: Service, reason: String) -> bool {
        let mut is_failure = false;
        self.update(service, |child| {
            child.restarts += 1;
            child.state = State::Waiting;
            is_failure = !mem::take(&mut child.is_restarting);
            if is_failure {
                child.failures += 1;
                child.failure = Some(reason);
            }
        });
        is_failure
    }

    pub(super) fn record_stopped(&self, service: Service) {
        self.update(service, |child| child.state = State::Stopped);
    }

    pub(super) async fn wait_until_ready(&self) -> Result<(), NotReady> {
        let mut changed = self.changed.subscribe();
        loop {
            // Before the check, so that a change during it is not missed.
            changed.mark_unchanged();
            if self.check()? || changed.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    pub(super) fn unready(&self) -> Vec<Service> {
        self.services_where(|child| !child.is_ready())
    }

    /// The services whose process has ended at least once.
    pub(super) fn restarted(&self) -> Vec<Service> {
        self.services_where(|child| child.restarts > 0)
    }

    fn services_where(&self, condition: impl Fn(&Child) -> bool) -> Vec<Service> {
        let children = self.children.lock();
        let found = children.iter().filter(|(_, child)| condition(child));
        found.map(|(service, _)| *service).collect()
    }

    fn check(&self) -> Result<bool, NotReady> {
        let children = self.children.lock();
        let failed = |child: &Child| !child.is_ready() && child.failures >= MAX_START_ATTEMPTS;
        let mut failures = children.iter().filter(|(_, child)| failed(child));
        match failures.find_map(|(service, child)| Some((*service, child.failure.clone()?))) {
            Some((service, reason)) => Err(NotReady::Failed { service, reason }),
            None => Ok(children.values().all(Child::is_ready)),
        }
    }

    fn update(&self, service: Service, change: impl FnOnce(&mut Child)) {
        let mut children = self.children.lock();
        change(children.entry(service).or_default());
        // Under the lock, so that the control plane receives the changes in their order.
        self.control.set_expected(instances(&children));
        self.changed.send_replace(());
    }
}

impl Child {
    /// The running process, if any.
    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.state {
            State::Starting(process) | State::Ready(process) => Some(process),
            State::Waiting | State::Stopped => None,
        }
    }

    fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }
}

fn instances(children: &BTreeMap<Service, Child>) -> Vec<Instance> {
    let running = children.iter().filter_map(|(service, child)| {
        Some(Instance {
            namespace: Namespace::default(),
            service: ServiceName::new(service.name()).ok()?,
            id: child.process()?.instance.clone(),
        })
    });
    running.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn started_again(roster: &Roster) {
        assert!(roster.record_ended(Service::Wishlist, "ended".to_owned()));
        let instance = "w".to_owned();
        roster.record_started(Service::Wishlist, Process { pid: 1, instance });
    }

    #[test]
    fn one_failure_at_startup_is_tolerated() {
        let roster = Roster::new(
            [Service::Wishlist],
            Control::new(spoor_control::ControlSettings::default()),
        );
        started_again(&roster);
        assert!(!roster.check().unwrap());
        roster.record_ready(Service::Wishlist);
        assert!(roster.check().unwrap());
        assert_eq!(roster.restarted(), [Service::Wishlist]);
    }

    #[test]
    fn repeated_failure_at_startup_is_reported() {
        let roster = Roster::new(
            [Service::Wishlist],
            Control::new(spoor_control::ControlSettings::default()),
        );
        (0..MAX_START_ATTEMPTS).for_each(|_| started_again(&roster));
        let error = roster.check().unwrap_err();
        assert_eq!(error.services(), [Service::Wishlist]);
    }

    #[tokio::test]
    async fn requested_restarts_are_not_failures() {
        let roster = Roster::new(
            [Service::Wishlist],
            Control::new(spoor_control::ControlSettings::default()),
        );
        assert!(!roster.request_restart(Service::Wishlist));
        for _ in 0..MAX_START_ATTEMPTS {
            let instance = "w".to_owned();
            roster.record_started(Service::Wishlist, Process { pid: 1, instance });
            assert!(!roster.is_restarting(Service::Wishlist));
            let requested = roster.wait_for_restart_request(Service::Wishlist);
            let restart = async { assert!(roster.request_restart(Service::Wishlist)) };
            tokio::join!(requested, restart);
            assert!(!roster.record_ended(Service::Wishlist, "ended".to_owned()));
        }
        assert!(!roster.check().unwrap());
        // This process ends by itself.
        started_again(&roster);
        let restarts = roster.children()[&Service::Wishlist].restarts;
        assert_eq!(restarts, MAX_START_ATTEMPTS + 1);
    }
}
