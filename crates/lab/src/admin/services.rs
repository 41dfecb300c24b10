//! The handler that restarts a service.

use axum::{Json, extract::State};
use spoor_runtime::PathParameters;

use super::{
    problem::{conflict, not_found},
    state::Admin,
    status::service_status,
};
use crate::{
    supervisor::State as ChildState,
    wire::{Problem, ServiceStatus},
};

/// Ends a service's process, which the supervisor then restarts, and responds with the status
/// before the restart.
pub(super) async fn restart(
    State(admin): State<Admin>,
    PathParameters(name): PathParameters<String>,
) -> Result<Json<ServiceStatus>, Problem> {
    let children = admin.roster.children();
    let named = children.iter().find(|(service, _)| service.name() == name);
    let (service, child) = named.ok_or_else(|| not_found(format_args!("service {name:?}")))?;
    let before = service_status(*service, child);
    // A service that waits for its restart, or was stopped, has no process to end.
    if !admin.roster.request_restart(*service) {
        return Err(conflict(match child.state {
            ChildState::Stopped => format!("{name} is stopped, since the lab is stopping"),
            _ => format!("{name} is already restarting; try again once it is ready"),
        }));
    }
    Ok(Json(before))
}
