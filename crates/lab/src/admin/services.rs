//! The handler that restarts a service.

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;

use super::{
    problem::{not_found, problem},
    state::Admin,
    status::service_status,
};
use crate::{
    supervisor::send_sigterm,
    wire::{Problem, ServiceStatus},
};

/// Ends a service's process, which the supervisor then restarts, and responds with the status
/// from before.
pub(super) async fn restart(
    State(admin): State<Admin>,
    Path(name): Path<String>,
) -> Result<Json<ServiceStatus>, Problem> {
    let children = admin.roster.children();
    let running = children.iter().find_map(|(service, child)| {
        let process = child.process().filter(|_| service.name() == name)?;
        Some((service_status(*service, child), process.pid))
    });
    let (before, pid) =
        running.ok_or_else(|| not_found(format_args!("a running service {name:?}")))?;
    // The supervisor starts it again, as after a crash.
    send_sigterm(pid).map_err(|error| {
        let title = "Cannot restart the service";
        problem(StatusCode::INTERNAL_SERVER_ERROR, title, error.to_string())
    })?;
    Ok(Json(before))
}
