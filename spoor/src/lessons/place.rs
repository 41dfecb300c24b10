//! Where a check looks.

use std::time::Duration;

use tokio::time::Instant;

use super::{answers::Answers, policies::Policies};
use crate::{
    cli::Client,
    traces::{AskError, Found, Query, Traces},
};

/// A lab, or whatever else has traces and policies.
pub struct Place {
    /// The traces.
    pub traces: Traces,
    /// The lab's API; asked only by checks that need the lab itself.
    pub lab: Client,
    /// The policies, and what became of them.
    pub policies: Policies,
    /// What the learner answered.
    pub answers: Answers,
    /// When the check began.
    pub began: Instant,
    /// How old a trace may have been then.
    pub lookback: Duration,
}

/// The most that one search finds.
const MOST: u16 = 1500;

impl Place {
    /// The traces of a service that count, the newest first.
    pub async fn traces_of(&self, service: &str) -> Result<Vec<Found>, AskError> {
        let query = Query {
            lookback: self.lookback + self.began.elapsed(),
            limit: MOST,
            ..Query::default()
        };
        self.traces.newest(&[service.to_owned()], &query).await
    }
}
