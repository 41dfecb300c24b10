//! The state that the API's handlers share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use spoor_control::Control;

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
}
