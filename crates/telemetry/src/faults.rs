//! Faults to inject, for one operation or all: a delay and an error rate.

use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use opentelemetry::{Context, KeyValue, trace::TraceContextExt};
use rand::RngExt;
use spoor_policy::{Fault, FaultDelay, InvalidFaultDelay, OperationName, Probability};
use spoor_proto::spoor::control::v1;

use crate::duration;

/// The fault to inject into one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injection {
    /// The delay of the request.
    pub delay: Option<Duration>,
    /// True if the request fails after the delay.
    pub should_fail: bool,
}

/// The error message of a request that fails because of an injected fault.
pub(crate) const FAILURE: &str = "injected fault";

impl Injection {
    /// Waits for the delay, and returns whether the request must fail. Both are events of the span
    /// in the context.
    pub(crate) async fn inject(self, context: &Context) -> bool {
        if let Some(delay) = self.delay {
            record(context, KeyValue::new("fault.delay", delay.as_secs_f64()));
            tokio::time::sleep(delay).await;
        }
        if self.should_fail {
            record(context, KeyValue::new("fault.error", true));
        }
        self.should_fail
    }
}

fn record(context: &Context, fault: KeyValue) {
    context.span().add_event("fault.injected", vec![fault]);
}

/// Text or a message that does not describe faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    /// Not `key=value`.
    #[error("\"{0}\" must be operation=…, delay=… or errors=…")]
    Member(String),
    /// The operation's name is invalid.
    #[error("operation: {0}")]
    Operation(#[from] spoor_policy::InvalidName),
    /// The delay is not a number with a unit.
    #[error("delay: must be a number of ms or s such as \"300ms\" or \"1.5s\", not \"{0}\"")]
    Delay(String),
    /// The delay is too long.
    #[error("delay: {0}")]
    TooLong(#[from] InvalidFaultDelay),
    /// The error rate is invalid.
    #[error("errors: {0}")]
    ErrorRate(#[from] spoor_policy::InvalidProbability),
}

/// The faults in force. Requests read them without a lock.
#[derive(Debug, Default)]
pub struct Faults {
    /// By operation. The fault of all other operations has an empty name.
    table: ArcSwapOption<HashMap<String, Fault>>,
}

impl Faults {
    /// Replaces all faults. If two have the same operation, the later is used.
    pub fn set(&self, faults: Vec<Fault>) {
        let named = |fault: Fault| {
            let operation = fault.operation.as_ref().map(ToString::to_string);
            (operation.unwrap_or_default(), fault)
        };
        let table: HashMap<String, Fault> = faults.into_iter().map(named).collect();
        // No table instead of an empty one: requests then need a single load.
        let table = (!table.is_empty()).then(|| Arc::new(table));
        self.table.store(table);
    }

    /// The fault to inject into a request of this operation (its server span's name).
    #[must_use]
    pub fn decide(&self, operation: &str) -> Injection {
        let table = self.table.load();
        let found = table
            .as_ref()
            .and_then(|table| table.get(operation).or_else(|| table.get("")));
        let Some(fault) = found else {
            return Injection::default();
        };
        Injection {
            delay: (fault.delay != FaultDelay::NONE).then(|| fault.delay.duration()),
            should_fail: should_inject(fault.error_rate),
        }
    }
}

/// The failure of a request that a service simulates at its own error rate.
#[derive(Debug, thiserror::Error)]
#[error("simulated failure ({0} of requests fail)")]
pub struct SimulatedFailure(Probability);

/// Fails at random, at this rate, and logs the failure.
///
/// # Errors
/// [`SimulatedFailure`].
pub fn simulate_failure(rate: Probability) -> Result<(), SimulatedFailure> {
    if !should_inject(rate) {
        return Ok(());
    }
    let failure = SimulatedFailure(rate);
    tracing::error!(error = &failure as &dyn Error, "request failed");
    Err(failure)
}

/// Decides at random, at this rate, whether to inject a fault.
fn should_inject(rate: Probability) -> bool {
    // No random number is drawn for a rate of zero, the usual one.
    rate != Probability::NEVER
        && rand::rng().random_range(0..Probability::ALWAYS.millionths()) < rate.millionths()
}

/// Parses faults in settings and flags: members are separated by commas, and faults by semicolons,
/// such as `operation=GET /,delay=300ms,errors=20%;errors=1%`.
///
/// # Errors
/// [`InvalidFault`] names the member.
pub fn parse(text: &str) -> Result<Vec<Fault>, InvalidFault> {
    text.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(parse_fault)
        .collect()
}

fn parse_fault(text: &str) -> Result<Fault, InvalidFault> {
    let mut fault = Fault {
        operation: None,
        delay: FaultDelay::NONE,
        error_rate: Probability::NEVER,
    };
    let members = text.split(',').map(str::trim);
    for member in members.filter(|member| !member.is_empty()) {
        let invalid_member = || InvalidFault::Member(member.to_owned());
        let (key, value) = member.split_once('=').ok_or_else(invalid_member)?;
        match key.trim() {
            "operation" => fault.operation = Some(OperationName::new(value.trim())?),
            "delay" => fault.delay = parse_delay(value.trim())?,
            "errors" => fault.error_rate = value.trim().parse()?,
            _ => return Err(invalid_member()),
        }
    }
    Ok(fault)
}

fn parse_delay(text: &str) -> Result<FaultDelay, InvalidFault> {
    let delay = duration::parse(text).map_err(|_| InvalidFault::Delay(text.to_owned()))?;
    Ok(FaultDelay::new(delay)?)
}

/// Validates a fault that the control plane sent.
///
/// # Errors
/// [`InvalidFault`] names the field.
pub fn from_message(message: v1::Fault) -> Result<Fault, InvalidFault> {
    let operation = match message.operation.as_str() {
        "" => None,
        name => Some(OperationName::new(name)?),
    };
    let delay = Duration::from_millis(message.delay_millis.into());
    Ok(Fault {
        operation,
        delay: FaultDelay::new(delay)?,
        error_rate: Probability::from_millionths(message.error_rate_millionths)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn fault(operation: Option<&str>, millis: u64, millionths: u32) -> Fault {
        Fault {
            operation: operation.map(|name| OperationName::new(name).unwrap()),
            delay: FaultDelay::new(Duration::from_millis(millis)).unwrap(),
            error_rate: Probability::from_millionths(millionths).unwrap(),
        }
    }

    #[rstest]
    #[case("", vec![])]
    #[case("delay=300ms", vec![fault(None, 300, 0)])]
    #[case("errors=20%", vec![fault(None, 0, 200_000)])]
    #[case(" operation = GET /a , delay = 1.5s , errors = 0.1% ;", vec![fault(Some("GET /a"), 1500, 1000)])]
    #[case("operation=A/B,delay=1ms;errors=100%", vec![fault(Some("A/B"), 1, 0), fault(None, 0, 1_000_000)])]
    fn reads_faults(#[case] text: &str, #[case] faults: Vec<Fault>) {
        assert_eq!(parse(text).unwrap(), faults);
    }

    #[rstest]
    #[case("slow", "\"slow\" must be operation=…, delay=… or errors=…")]
    #[case("speed=1", "\"speed=1\" must be")]
    #[case("delay=300", "delay: must be a number of ms or s such as \"300ms\"")]
    #[case("delay=-1s", "delay: must be a number")]
    #[case("delay=NaNs", "delay: must be a number")]
    #[case("delay=61s", "delay: must be at most 60 s")]
    #[case("errors=0.2", "errors: must be a percentage")]
    #[case("errors=150%", "errors: must be from \"0%\" to \"100%\"")]
    #[case("operation=,delay=1s", "operation: must not be empty")]
    fn errors_name_the_valid_form(#[case] text: &str, #[case] message: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn message_with_too_long_delay_is_invalid() {
        let message = |delay_millis| v1::Fault {
            delay_millis,
            ..v1::Fault::default()
        };
        assert_eq!(from_message(message(60_000)), Ok(fault(None, 60_000, 0)));
        let error = from_message(message(60_001)).unwrap_err();
        assert_eq!(error.to_string(), "delay: must be at most 60 s");
    }

    #[test]
    fn operation_fault_overrides_the_general_fault() {
        let faults = Faults::default();
        assert_eq!(faults.decide("GET /"), Injection::default());
        faults.set(vec![fault(Some("GET /"), 5, 0), fault(None, 0, 1_000_000)]);
        let (slow, failing) = (faults.decide("GET /"), faults.decide("POST /"));
        assert_eq!(
            (slow.delay, slow.should_fail),
            (Some(Duration::from_millis(5)), false)
        );
        assert_eq!((failing.delay, failing.should_fail), (None, true));
        faults.set(vec![]);
        assert_eq!(faults.decide("POST /"), Injection::default());
    }

    #[test]
    fn errors_occur_at_their_rate() {
        let faults = Faults::default();
        faults.set(vec![fault(None, 0, 200_000)]);
        let failed = (0..20_000).filter(|_| faults.decide("any").should_fail);
        let failed = failed.count();
        // Ten standard deviations either side.
        assert!((3_430..=4_570).contains(&failed), "{failed}");
    }
}
