//! The handlers for faults.

use std::{collections::BTreeSet, time::Duration};

use axum::{Json, extract::State};
use http::StatusCode;
use spoor_control::{Control, ServiceFaults};
use spoor_policy::{Fault, FaultDelay, Namespace, OperationName, Probability, ServiceName};
use spoor_runtime::{JsonBody, PathParameters, RequestBody};

use super::{
    problem::{conflict, problem},
    state::Admin,
};
use crate::wire::{FaultSetting, FaultsByService, Problem};

/// The most faults of a service. Each request looks its operation up among them.
const MAX_FAULTS_PER_SERVICE: usize = 64;

impl RequestBody for FaultSetting {
    const EXAMPLE: &'static str =
        r#"{"operation": "GET /", "delayMilliseconds": 250, "errors": "20%"}"#;
}

pub(super) async fn list(State(admin): State<Admin>) -> Json<FaultsByService> {
    Json(faults(&admin.control))
}

pub(super) async fn add(
    State(admin): State<Admin>,
    PathParameters(service): PathParameters<String>,
    setting: Result<JsonBody<FaultSetting>, Problem>,
) -> Result<Json<FaultsByService>, Problem> {
    let service = service_name(&service)?;
    check_known(&admin, &service)?;
    let JsonBody(setting) = setting.map_err(|refusal| invalid(refusal.detail))?;
    let fault = fault(&setting)?;
    let mut of_service = faults_of(&admin.control, &service);
    // The control plane replaces a service's faults as a whole.
    of_service.retain(|other| other.operation != fault.operation);
    if of_service.len() >= MAX_FAULTS_PER_SERVICE {
        return Err(conflict(format!(
            "{service} has {MAX_FAULTS_PER_SERVICE} faults, which is the limit; clear some first"
        )));
    }
    of_service.push(fault);
    admin
        .control
        .set_faults(&Namespace::default(), &service, of_service);
    Ok(Json(faults(&admin.control)))
}

pub(super) async fn clear(
    State(admin): State<Admin>,
    PathParameters(service): PathParameters<String>,
) -> Result<Json<FaultsByService>, Problem> {
    let service = service_name(&service)?;
    // A service that has ended may still have faults.
    if faults_of(&admin.control, &service).is_empty() {
        check_known(&admin, &service)?;
    }
    admin
        .control
        .set_faults(&Namespace::default(), &service, vec![]);
    Ok(Json(faults(&admin.control)))
}

pub(super) async fn clear_all(State(admin): State<Admin>) -> Json<FaultsByService> {
    for ServiceFaults {
        namespace, service, ..
    } in admin.control.faults()
    {
        admin.control.set_faults(&namespace, &service, vec![]);
    }
    Json(faults(&admin.control))
}

fn faults(control: &Control) -> FaultsByService {
    let of_service =
        |ServiceFaults {
             service, faults, ..
         }: ServiceFaults| { (service.to_string(), faults.iter().map(setting).collect()) };
    control.faults().into_iter().map(of_service).collect()
}

fn faults_of(control: &Control, service: &ServiceName) -> Vec<Fault> {
    let mut all = control.faults().into_iter();
    all.find(|it| it.service == *service)
        .map(|it| it.faults)
        .unwrap_or_default()
}

fn fault(setting: &FaultSetting) -> Result<Fault, Problem> {
    let operation = setting
        .operation
        .as_deref()
        .map(OperationName::new)
        .transpose();
    let error_rate = setting
        .errors
        .as_deref()
        .map(str::parse::<Probability>)
        .transpose();
    let delay = FaultDelay::new(Duration::from_millis(setting.delay_milliseconds));
    let fault = Fault {
        operation: operation.map_err(|error| invalid(format!("operation: {error}")))?,
        delay: delay.map_err(|error| invalid(format!("delayMilliseconds: {error}")))?,
        error_rate: error_rate
            .map_err(|error| invalid(format!("errors: {error}")))?
            .unwrap_or(Probability::NEVER),
    };
    if fault.delay == FaultDelay::default() && fault.error_rate == Probability::NEVER {
        let detail = "the fault has no effect; give a delay or a share of errors above 0";
        return Err(invalid(detail.to_owned()));
    }
    Ok(fault)
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

/// Refuses a fault for a service without instances: its name is probably misspelt.
fn check_known(admin: &Admin, service: &ServiceName) -> Result<(), Problem> {
    let children = admin.roster.children().into_keys();
    let children = children.map(|service| service.to_string());
    let clients = admin.control.instances().into_iter();
    let known: BTreeSet<String> = clients
        .map(|client| client.instance.service.to_string())
        .chain(children)
        .collect();
    if known.contains(service.as_str()) {
        return Ok(());
    }
    let known: Vec<String> = known.into_iter().collect();
    let detail = format!(
        "unknown service {:?}; the services are {}",
        service.as_str(),
        known.join(", ")
    );
    Err(problem(StatusCode::NOT_FOUND, "Not found", detail))
}

fn invalid(detail: String) -> Problem {
    problem(StatusCode::BAD_REQUEST, "Invalid fault", detail)
}
