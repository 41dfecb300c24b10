//! The data that a check reads.

use std::time::Duration;

use spoor_traces::tree::Tree;
use tokio::time::Instant;

use super::{answers::Answers, policies::Policies, report::Report};
use crate::{
    cli::LabClient,
    traces::{FoundTrace, MAX_TRACES, Query, QueryError, TraceClient, dropping_policies},
};

/// The sources of a check: a lab, or a cluster's traces and policies.
pub struct Context {
    /// The query API.
    pub traces: TraceClient,
    /// The lab's API, which only some checks use.
    pub lab: LabClient,
    /// The policies with their status.
    pub policies: Policies,
    /// The learner's answers.
    pub answers: Answers,
    /// The start of the check.
    pub began: Instant,
    /// The maximum age of a trace at the start of the check.
    pub lookback: Duration,
}

impl Context {
    /// Gets a trace, or `None` if there is none with this ID.
    pub async fn trace(&self, id: &str) -> Result<Option<FoundTrace>, QueryError> {
        match self.traces.trace(id).await {
            Ok(batches) => Ok(Some(FoundTrace {
                id: id.to_owned(),
                tree: Tree::new(batches),
            })),
            Err(QueryError::Unknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Searches for the traces of a service that are new enough, newest first.
    pub async fn traces_of(&self, service: &str) -> Result<Vec<FoundTrace>, QueryError> {
        let services = [service.to_owned()];
        self.traces.newest(&services, &self.query()).await
    }

    /// A search for the traces that are new enough.
    pub fn query(&self) -> Query {
        Query {
            // A check may wait for seconds, during which its window must not lose the oldest trace.
            lookback: self.lookback + self.began.elapsed(),
            limit: MAX_TRACES,
            ..Query::default()
        }
    }

    /// Reports the policies because of which traces of the services may be missing.
    pub async fn report_policies(&self, report: &mut Report, services: &[&str]) {
        // Most checks need traces only, so they must work where no policies can be read.
        let policies = self.policies.all().await.unwrap_or_default();
        for service in services {
            if let Some(dropping) = dropping_policies(&policies, service) {
                let seen = format!("{dropping}, and send requests again");
                report.missing(&format!("all traces of {service} are kept"), seen);
            }
        }
    }
}
