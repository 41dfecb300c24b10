//! The handlers for status and metrics.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use spoor_control::InstanceState;

use super::{policies::blocking_json, problem::internal, state::Admin};
use crate::{
    service::Service,
    supervisor::{Child, State as ChildState},
    wire::{InstanceStatus, Problem, ServiceStatus, Status},
};

pub(super) async fn status(State(admin): State<Admin>) -> Result<Response, Problem> {
    let current = admin.clone();
    let work = move || Ok(current_status(&current));
    blocking_json(&admin.permits.statuses, work).await
}

fn current_status(admin: &Admin) -> Status {
    let version = admin.control.version();
    let children = admin.roster.children();
    let instances = admin.control.instances().into_iter();
    Status {
        version: version.into(),
        urls: (*admin.urls).clone(),
        services: children
            .iter()
            .map(|(service, child)| service_status(*service, child))
            .collect(),
        instances: instances.map(instance_status).collect(),
        decision_wait_milliseconds: u64::try_from(admin.decision_wait.as_millis())
            .unwrap_or(u64::MAX),
        folder: admin.policies.folder_status(),
    }
}

/// The control plane's and the pipeline's metrics, as OpenMetrics text.
pub(super) async fn metrics(State(admin): State<Admin>) -> Result<Response, Problem> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &admin.metrics)
        .map_err(|error| internal(format!("cannot encode the metrics: {error}")))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

pub(super) fn service_status(service: Service, child: &Child) -> ServiceStatus {
    let state = match child.state {
        ChildState::Waiting => "waiting",
        ChildState::Starting(_) => "starting",
        ChildState::Ready(_) => "ready",
        ChildState::Stopped => "stopped",
    };
    ServiceStatus {
        name: service.name().into(),
        state: state.into(),
        pid: child.process().map(|process| process.pid),
        instance: child.process().map(|process| process.instance.clone()),
        restarts: child.restarts,
    }
}

fn instance_status(state: InstanceState) -> InstanceStatus {
    InstanceStatus {
        service: state.instance.service.to_string(),
        instance: state.instance.id,
        expected: state.is_expected,
        connected: state.is_connected,
        current: state.is_current,
        held: state.held.map(Into::into),
        spans_exported: state.spans_exported,
        spans_dropped: state.spans_dropped,
    }
}
