//! The handlers for faults.

use std::{fmt::Display, time::Duration};

use axum::{extract::State, response::Response};
use http::{HeaderMap, StatusCode};
use spoor_control::Control;
use spoor_policy::{
    Fault, FaultDelay, Namespace, OperationName, Probability, ServiceName, message::listed,
};
use spoor_runtime::{JsonBody, PathParameters, RequestBody};

use super::{
    policies::blocking_json,
    problem::{body_too_large, conflict, problem, refuse_compressed},
    state::Admin,
};
use crate::{
    service::Service,
    wire::{FaultSetting, FaultsByService, Problem},
};

/// The most faults of a service. Each request to it looks up its operation among them.
const MAX_FAULTS_PER_SERVICE: usize = 64;

/// The most faults of all services. Each response lists them.
const MAX_FAULTS: usize = 1_000;

impl RequestBody for FaultSetting {
    const EXAMPLE: &'static str =
        r#"{"operation": "GET /", "delayMilliseconds": 250, "errors": "20%"}"#;
}

pub(super) async fn list(State(admin): State<Admin>) -> Result<Response, Problem> {
    respond(admin, |_| Ok(())).await
}

pub(super) async fn add(
    State(admin): State<Admin>,
    PathParameters(service): PathParameters<String>,
    headers: HeaderMap,
    setting: Result<JsonBody<FaultSetting>, Problem>,
) -> Result<Response, Problem> {
    let too_large = StatusCode::PAYLOAD_TOO_LARGE.as_u16();
    if setting.as_ref().is_err_and(|it| it.status == too_large) {
        return Err(body_too_large());
    }
    refuse_compressed(&headers)?;
    let service = service_name(&service)?;
    check_known(&admin, &service)?;
    let JsonBody(setting) = setting.map_err(|refusal| invalid(refusal.detail))?;
    let fault = fault(&setting)?;
    respond(admin, move |control| add_to(control, &service, fault)).await
}

fn add_to(control: &Control, service: &ServiceName, fault: Fault) -> Result<(), Problem> {
    let mut of_service = faults_of(control, service);
    let all = control.faults();
    let all: usize = all.iter().map(|it| it.faults.len()).sum();
    let others = all.saturating_sub(of_service.len());
    // The control plane replaces a service's faults as a whole.
    of_service.retain(|other| other.operation != fault.operation);
    if others + of_service.len() >= MAX_FAULTS {
        return Err(conflict(format!(
            "the lab has {MAX_FAULTS} faults, which is the limit; clear some first"
        )));
    }
    if of_service.len() >= MAX_FAULTS_PER_SERVICE {
        return Err(conflict(format!(
            "{service} has {MAX_FAULTS_PER_SERVICE} faults, which is the limit; clear some first"
        )));
    }
    of_service.push(fault);
    control.set_faults(&Namespace::default(), service, of_service);
    Ok(())
}

pub(super) async fn clear(
    State(admin): State<Admin>,
    PathParameters(service): PathParameters<String>,
) -> Result<Response, Problem> {
    let service = service_name(&service)?;
    let is_known = check_known(&admin, &service);
    respond(admin, move |control| {
        // A service that has ended may still have faults.
        if faults_of(control, &service).is_empty() {
            is_known?;
        }
        control.set_faults(&Namespace::default(), &service, vec![]);
        Ok(())
    })
    .await
}

pub(super) async fn clear_all(State(admin): State<Admin>) -> Result<Response, Problem> {
    respond(admin, |control| {
        for it in control.faults() {
            control.set_faults(&it.namespace, &it.service, vec![]);
        }
        Ok(())
    })
    .await
}

/// Changes the faults, and responds with all of them.
async fn respond(
    admin: Admin,
    change: impl FnOnce(&Control) -> Result<(), Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let control = admin.control;
    let work = move || change(&control).map(|()| faults(&control));
    blocking_json(&admin.permits.faults, work).await
}

fn faults(control: &Control) -> FaultsByService {
    let mut by_service = FaultsByService::new();
    for it in control.faults() {
        let settings = it.faults.iter().map(setting).collect();
        by_service.insert(it.service.to_string(), settings);
    }
    by_service
}

fn faults_of(control: &Control, service: &ServiceName) -> Vec<Fault> {
    let mut all = control.faults().into_iter();
    all.find(|it| it.service == *service)
        .map(|it| it.faults)
        .unwrap_or_default()
}

fn fault(setting: &FaultSetting) -> Result<Fault, Problem> {
    let operation = setting.operation.as_deref().map(OperationName::new);
    let delay = FaultDelay::new(Duration::from_millis(setting.delay_milliseconds));
    let error_rate = setting.errors.as_deref().map(str::parse::<Probability>);
    let fault = Fault {
        operation: field("operation", operation.transpose())?,
        delay: field("delayMilliseconds", delay)?,
        error_rate: field("errors", error_rate.transpose())?.unwrap_or(Probability::NEVER),
    };
    if fault.delay == FaultDelay::default() && fault.error_rate == Probability::NEVER {
        let detail = "the fault has no effect; give a delay or an error rate above 0";
        return Err(invalid(detail.to_owned()));
    }
    Ok(fault)
}

fn field<T>(name: &str, read: Result<T, impl Display>) -> Result<T, Problem> {
    read.map_err(|error| invalid(format!("{name}: {error}")))
}

fn setting(fault: &Fault) -> FaultSetting {
    let errors = fault.error_rate;
    FaultSetting {
        operation: fault.operation.as_ref().map(ToString::to_string),
        delay_milliseconds: fault.delay.as_millis().into(),
        errors: (errors != Probability::NEVER).then(|| errors.to_string()),
    }
}

fn service_name(text: &str) -> Result<ServiceName, Problem> {
    ServiceName::new(text).map_err(|error| invalid(format!("service {text:?}: {error}")))
}

/// Refuses a service that the lab does not run and that has no instances in the default namespace,
/// where faults are set: its name is probably misspelled.
fn check_known(admin: &Admin, service: &ServiceName) -> Result<(), Problem> {
    let children = admin.roster.children();
    let mut known: Vec<String> = children.keys().map(Service::to_string).collect();
    let is_known = known.iter().any(|it| it == service.as_str())
        || admin.control.has_instances(&Namespace::default(), service);
    if is_known {
        return Ok(());
    }
    known.sort();
    let known = listed(&known, Service::ALL.len());
    let service = service.as_str();
    let detail = format!("unknown service {service:?}; the lab's services are {known}");
    Err(problem(StatusCode::NOT_FOUND, "Not found", detail))
}

fn invalid(detail: String) -> Problem {
    problem(StatusCode::BAD_REQUEST, "Invalid fault", detail)
}
