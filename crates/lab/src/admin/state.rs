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
    pub(crate) places: Places,
}

/// The places for requests that hold something for longer than a moment.
#[derive(Clone)]
pub(crate) struct Places {
    /// For operations of the policy store. Each takes a thread, of those that queries of traces
    /// also need.
    pub(super) operations: Arc<Semaphore>,
    /// For requests that wait until policies are in force. Each keeps its connection, which the
    /// listener cannot close in favour of others.
    pub(super) waiting: Arc<Semaphore>,
}

/// The most operations at a time. All need the same lock.
const MAX_OPERATIONS: usize = 2;
/// The most requests that wait at a time.
pub(super) const MAX_WAITING: usize = 32;

impl Default for Places {
    fn default() -> Self {
        Self {
            operations: Arc::new(Semaphore::new(MAX_OPERATIONS)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }
}
