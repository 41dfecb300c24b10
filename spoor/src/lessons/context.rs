//! The data that a check reads.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use spoor_traces::tree::Tree;
use tokio::time::Instant;

use super::{answers::Answers, policies::Policies, report::Report};
use crate::{
    cli::{LabClient, pluralize},
    traces::{FoundTrace, MAX_TRACES, Part, Query, QueryError, TraceClient, dropping_policies},
};

/// The most searches for the traces of one service, so that a check ends on a busy cluster.
const MAX_SEARCHES: usize = 20;

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
        all_pages(async |latest_start| {
            let query = Query {
                latest_start,
                ..self.query()
            };
            self.traces.newest(&[service], &query).await
        })
        .await
    }

    /// Reports the traces of a service that are too old, unless the check has passed: the learner's
    /// last attempt may be one of them, while the findings are about an earlier one.
    pub async fn report_older(&self, report: &mut Report, service: &str) {
        let query = self.query();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let end = now.unwrap_or_default().saturating_sub(query.lookback);
        let query = Query {
            lookback: Duration::MAX,
            latest_start: u64::try_from(end.as_nanos()).ok(),
            ..query
        };
        if !report.is_passed()
            // Only a hint: a database may refuse such a long period.
            && let Ok(older) = self.traces.newest(&[service], &query).await
            && !older.is_empty()
        {
            let older = pluralize(older.len(), "older trace", "older traces");
            report.add_source(format!(
                "{older} of {service}, too old to count; if your last one is among them, its times \
                 are not the current time in nanoseconds"
            ));
        }
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

    /// Reports the needed services that the lab does not run.
    pub async fn report_services(&self, report: &mut Report, needed: &[&str]) {
        // Most checks need traces only, so they must work without a lab.
        if let (Policies::Lab(lab), false) = (&self.policies, needed.is_empty())
            && let Ok(status) = lab.status().await
        {
            let runs = |service: &str| status.services.iter().any(|it| it.name == service);
            for service in needed.iter().filter(|service| !runs(service)) {
                let what = format!("a lab with the service {service}");
                report.wrong(&what, "this lab does not run it");
            }
        }
    }

    /// Reports the policies that may be the reason why traces of the services are missing. Only
    /// these parts of the policies are considered.
    pub async fn report_policies(&self, report: &mut Report, services: &[&str], parts: &[Part]) {
        // Most checks need traces only, so they must work where no policies can be read.
        let policies = self.policies.all().await.unwrap_or_default();
        for service in services {
            if let Some(dropping) = dropping_policies(&policies, service, parts) {
                let seen = format!("{dropping}, and send what is missing again");
                report.missing(&format!("all traces of {service} are kept"), seen);
            }
        }
    }
}

/// Reads all pages of a search, each of which continues from the oldest trace of the page before.
/// With only one page, later load would hide the traces of the exercise.
async fn all_pages<E>(
    mut search: impl AsyncFnMut(Option<u64>) -> Result<Vec<FoundTrace>, E>,
) -> Result<Vec<FoundTrace>, E> {
    let (mut all, mut ids, mut latest_start) = (vec![], HashSet::new(), None);
    for _ in 0..MAX_SEARCHES {
        let page = search(latest_start).await?;
        let is_last = page.len() < usize::from(MAX_TRACES);
        let before = all.len();
        // The oldest one is found again, as are others that started at the same time.
        all.extend(page.into_iter().filter(|it| ids.insert(it.id.clone())));
        if is_last || all.len() == before {
            break;
        }
        latest_start = all.last().map(|it: &FoundTrace| it.tree.start());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::convert::Infallible;

    use super::*;
    use crate::traces::spans::span;

    #[tokio::test]
    async fn reads_beyond_the_limit_of_a_search() {
        let stored: Vec<FoundTrace> = (1..=3_400)
            .rev()
            .map(|start| FoundTrace {
                id: start.to_string(),
                tree: Tree::new(vec![span("service-a", "GET /", 1, 0, start, start)]),
            })
            .collect();
        let search = async |latest_start: Option<u64>| {
            let is_early = |it: &&FoundTrace| latest_start.is_none_or(|at| it.tree.start() <= at);
            let found = stored.iter().filter(is_early).take(MAX_TRACES.into());
            Ok::<_, Infallible>(found.cloned().collect())
        };
        assert_eq!(all_pages(search).await.unwrap().len(), stored.len());
    }
}
