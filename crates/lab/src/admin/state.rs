//! The state that the API's handlers share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use spoor_control::Control;
use tokio::sync::Semaphore;

use crate::{policies::PolicyStore, supervisor::Roster};

/// The parts of a lab that the API shows and changes.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) policies: PolicyStore,
    pub(crate) control: Control,
    pub(crate) roster: Arc<Roster>,
    pub(crate) decision_wait: Duration,
    pub(crate) urls: Arc<BTreeMap<String, String>>,
    pub(crate) metrics: Arc<Registry>,
    pub(crate) permits: Permits,
}

/// The permits for requests that use a limited resource for a long time.
#[derive(Clone)]
pub(crate) struct Permits {
    /// For operations of the policy store. Each uses a blocking thread, which queries of traces
    /// also need.
    pub(crate) operations: Arc<Semaphore>,
    /// For the status, and for the version with which a wait for policies begins. Operations must not
    /// delay them.
    pub(super) statuses: Arc<Semaphore>,
    /// For reading and changing faults, one request after the other.
    pub(super) faults: Arc<Semaphore>,
    /// For requests that wait until policies are in force. Each occupies a connection, which the
    /// listener cannot close to make room for others.
    pub(super) waiting: Arc<Semaphore>,
    /// For the repeated checks of waiting requests, which must not delay operations, however many
    /// requests there are.
    pub(super) checks: Arc<Semaphore>,
}

/// The most concurrent operations. All need the same lock.
const MAX_OPERATIONS: usize = 2;
/// The most statuses that are read concurrently. Each uses a blocking thread.
const MAX_STATUSES: usize = 2;
/// The most requests that wait concurrently: a small part of the requests that the listener
/// accepts.
pub(super) const MAX_WAITING_REQUESTS: usize = 128;

impl Default for Permits {
    fn default() -> Self {
        Self {
            operations: Arc::new(Semaphore::new(MAX_OPERATIONS)),
            statuses: Arc::new(Semaphore::new(MAX_STATUSES)),
            faults: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING_REQUESTS)),
            checks: Arc::new(Semaphore::new(1)),
        }
    }
}
