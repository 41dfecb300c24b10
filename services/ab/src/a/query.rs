//! The query parameters of service-a.

use std::time::Duration;

use serde::Deserialize;
use spoor_proto::spoor::ab::v1::WorkRequest;
use spoor_telemetry::duration::{self, DurationRange};

use crate::b::{InvalidRounds, Rounds};

/// The query parameters as text. Unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Query {
    // Text instead of numbers, so that each error names its parameter.
    wait: Option<String>,
    calc: Option<String>,
}

/// The error for an invalid parameter.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidQuery {
    #[error("wait: {0}")]
    Wait(String),
    #[error("calc: {0}")]
    Calc(#[from] InvalidRounds),
}

impl Query {
    /// The request to service-b. Unset fields use the settings of service-b.
    pub(super) fn into_request(self) -> Result<WorkRequest, InvalidQuery> {
        Ok(WorkRequest {
            wait_millis: self.wait.as_deref().map(wait_millis).transpose()?,
            calc_rounds: self
                .calc
                .map(|text| text.parse::<Rounds>())
                .transpose()?
                .map(Rounds::get),
        })
    }
}

fn wait_millis(text: &str) -> Result<u32, InvalidQuery> {
    let wait = duration::parse(text).map_err(|error| InvalidQuery::Wait(error.to_string()))?;
    if wait > MAX_WAIT {
        return Err(InvalidQuery::Wait(format!(
            "must be at most {MAX_WAIT:?}, not {text:?}"
        )));
    }
    u32::try_from(wait.as_millis()).map_err(|error| InvalidQuery::Wait(error.to_string()))
}

/// The longest wait that service-b accepts.
const MAX_WAIT: Duration = DurationRange::MAX;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn query(wait: Option<&str>, calc: Option<&str>) -> Result<WorkRequest, InvalidQuery> {
        Query {
            wait: wait.map(str::to_owned),
            calc: calc.map(str::to_owned),
        }
        .into_request()
    }

    #[test]
    fn absent_parameters_are_left_unset() {
        assert_eq!(query(None, None).unwrap(), WorkRequest::default());
    }

    #[test]
    fn zeros_are_passed_on() {
        let zeros = WorkRequest {
            wait_millis: Some(0),
            calc_rounds: Some(0),
        };
        assert_eq!(query(Some("0ms"), Some("0")).unwrap(), zeros);
    }

    #[rstest::rstest]
    #[case(Some("soon"), None, "wait: must be a duration")]
    #[case(Some("1h"), None, "wait: must be at most 10s")]
    #[case(None, Some("-1"), "calc: must be a number")]
    #[case(None, Some("4000000000"), "calc: must be at most")]
    fn errors_name_the_parameter(
        #[case] wait: Option<&str>,
        #[case] calc: Option<&str>,
        #[case] message: &str,
    ) {
        assert!(
            query(wait, calc)
                .unwrap_err()
                .to_string()
                .starts_with(message)
        );
    }
}
