//! The query parameters of service-a.

use serde::Deserialize;
use spoor_proto::spoor::ab::v1::WorkRequest;
use spoor_telemetry::duration::{self, DurationRange};

use crate::b::Rounds;

/// The query parameters as text. Unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Query {
    // Text instead of numbers, so that each error names its parameter.
    wait: Option<String>,
    calc: Option<String>,
}

impl Query {
    /// The request to service-b, or a message that names the invalid parameter. Unset fields use
    /// the settings of service-b.
    pub(super) fn into_request(self) -> Result<WorkRequest, String> {
        let wait = self.wait.as_deref().map(wait_millis).transpose();
        let calc = self.calc.map(|text| text.parse::<Rounds>()).transpose();
        Ok(WorkRequest {
            wait_millis: wait.map_err(|error| format!("wait: {error}"))?,
            calc_rounds: calc
                .map_err(|error| format!("calc: {error}"))?
                .map(Rounds::get),
        })
    }
}

fn wait_millis(text: &str) -> Result<u32, String> {
    let wait = duration::parse(text).map_err(|error| error.to_string())?;
    // The longest wait that service-b accepts.
    let max = DurationRange::MAX;
    if wait > max {
        return Err(format!("must be at most {max:?}, not {text:?}"));
    }
    u32::try_from(wait.as_millis()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn query(wait: Option<&str>, calc: Option<&str>) -> Result<WorkRequest, String> {
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
        assert!(query(wait, calc).unwrap_err().starts_with(message));
    }
}
