//! The error if not all services become ready when a lab starts.

use std::time::Duration;

use spoor_policy::message::listed;

use crate::service::Service;

/// The error if not all services become ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// A service ended, or could not be started, at each attempt.
    #[error("{service} {reason} during startup; see its output above, if there is any")]
    Failed {
        /// The service.
        service: Service,
        /// The last failure.
        reason: String,
    },
    /// Services were not ready in time.
    #[error(
        "{} not ready within {within:?}; see their output above, if there is any",
        listed(services, Service::ALL.len())
    )]
    TimedOut {
        /// The services that are not ready.
        services: Vec<Service>,
        /// The time allowed.
        within: Duration,
    },
}

impl NotReady {
    /// The services concerned.
    pub(super) fn services(&self) -> Vec<Service> {
        match self {
            Self::Failed { service, .. } => vec![*service],
            Self::TimedOut { services, .. } => services.clone(),
        }
    }
}
