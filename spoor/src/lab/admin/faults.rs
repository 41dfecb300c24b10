//! Faults: which there are, add, clear.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
};
use http::StatusCode;
use spoor_control::{Control, Fault, ServiceFaults};
use spoor_policy::{Namespace, OperationName, Probability, ServiceName};

use super::{Admin, FaultSetting, Faults, Problem};

/// Services refuse more.
pub const MAX_DELAY: Duration = spoor_telemetry::faults::Fault::MAX_DELAY;
/// More than anybody sets by hand.
const PER_SERVICE: usize = 64;

pub(super) async fn list(State(admin): State<Admin>) -> Json<Faults> {
    Json(faults(&admin.control))
}

pub(super) async fn add(
    State(admin): State<Admin>,
    Path(service): Path<String>,
    setting: Result<Json<FaultSetting>, JsonRejection>,
) -> Result<Json<Faults>, Problem> {
    let service = service_name(&service)?;
    known(&admin, &service)?;
    let Json(setting) = setting.map_err(|error| invalid(error.body_text()))?;
    let fault = fault(&setting)?;
    let mut of_service = of(&admin.control, &service);
    of_service.retain(|other| other.operation != fault.operation);
    if of_service.len() >= PER_SERVICE {
        return Err(invalid(format!(
            "{service} has {PER_SERVICE} faults: clear some first"
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
    Path(service): Path<String>,
) -> Result<Json<Faults>, Problem> {
    admin
        .control
        .set_faults(&Namespace::default(), &service_name(&service)?, vec![]);
    Ok(Json(faults(&admin.control)))
}

pub(super) async fn clear_all(State(admin): State<Admin>) -> Json<Faults> {
    for ServiceFaults {
        namespace, service, ..
    } in admin.control.faults()
    {
        admin.control.set_faults(&namespace, &service, vec![]);
    }
    Json(faults(&admin.control))
}

fn faults(control: &Control) -> Faults {
    let of_service =
        |ServiceFaults {
             service, faults, ..
         }: ServiceFaults| { (service.to_string(), faults.iter().map(setting).collect()) };
    control.faults().into_iter().map(of_service).collect()
}

fn of(control: &Control, service: &ServiceName) -> Vec<Fault> {
    let mut all = control.faults().into_iter();
    all.find(|of| of.service == *service)
        .map(|of| of.faults)
        .unwrap_or_default()
}

fn fault(setting: &FaultSetting) -> Result<Fault, Problem> {
    let operation = setting
        .operation
        .as_deref()
        .map(OperationName::new)
        .transpose();
    let errors = setting
        .errors
        .as_deref()
        .map(str::parse::<Probability>)
        .transpose();
    let delay = Duration::from_millis(setting.delay_milliseconds);
    if delay > MAX_DELAY {
        return Err(invalid(format!(
            "delayMilliseconds: must be at most {}",
            MAX_DELAY.as_millis()
        )));
    }
    Ok(Fault {
        operation: operation.map_err(|error| invalid(format!("operation: {error}")))?,
        delay,
        error_rate: errors
            .map_err(|error| invalid(format!("errors: {error}")))?
            .unwrap_or(Probability::NEVER),
    })
}

fn setting(fault: &Fault) -> FaultSetting {
    let errors = fault.error_rate;
    FaultSetting {
        operation: fault.operation.as_ref().map(ToString::to_string),
        delay_milliseconds: u64::try_from(fault.delay.as_millis()).unwrap_or(u64::MAX),
        errors: (errors != Probability::NEVER).then(|| errors.to_string()),
    }
}

fn service_name(text: &str) -> Result<ServiceName, Problem> {
    ServiceName::new(text).map_err(|error| invalid(format!("service {text:?}: {error}")))
}

/// A fault for a service that nobody runs is a slip of the pen.
fn known(admin: &Admin, service: &ServiceName) -> Result<(), Problem> {
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
        "no service {:?}: there are {}",
        service.as_str(),
        known.join(", ")
    );
    Err(Problem::new(StatusCode::NOT_FOUND, "Not found", detail))
}

fn invalid(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid fault", detail)
}
