//! The error of a start at which not all services become ready.

use std::{process::ExitStatus, time::Duration};

use crate::service::Service;

/// The error if not all services become ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// A service ended at each attempt.
    #[error("{service} ended during startup ({status}); see its output above")]
    Ended {
        /// The service.
        service: Service,
        /// The exit status.
        status: ExitStatus,
    },
    /// A service could not be started.
    #[error("cannot start {service}: {reason}")]
    Spawn {
        /// The service.
        service: Service,
        /// The cause.
        reason: String,
    },
    /// Services were not ready in time.
    #[error("{} not ready within {within:?}", names(services))]
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
            Self::Ended { service, .. } | Self::Spawn { service, .. } => vec![*service],
            Self::TimedOut { services, .. } => services.clone(),
        }
    }
}

fn names(services: &[Service]) -> String {
    services
        .iter()
        .map(|service| service.name())
        .collect::<Vec<_>>()
        .join(", ")
}
