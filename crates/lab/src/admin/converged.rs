//! Waiting until policies are in force everywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Deserialize;
use spoor_policy::{PolicyKey, Version};
use spoor_runtime::QueryParameters;
use tokio::time::timeout_at;

use super::{
    policies::{blocking, key},
    problem::problem,
    state::{Admin, MAX_WAITING_REQUESTS},
};
use crate::{
    policies::Progress,
    wire::{ConvergenceResult, Problem},
};

/// The longest time that a request can wait.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// The time after which a request no longer waits for a stuck policy. A service that is being
/// restarted has no instances for a moment, during which its policies seem stuck.
const STUCK_AFTER: Duration = Duration::from_secs(3);
/// The interval at which a check is repeated without a notification: none is sent when an instance
/// becomes silent or a polling client disappears.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The delay after a notification, so that acknowledgements that arrive together are handled
/// together. The checks of all waiting requests run one after another.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Deserialize)]
pub(super) struct Parameters {
    /// The longest time to wait, in milliseconds.
    #[serde(default)]
    within: u64,
    /// The policies to wait for, as `NAMESPACE/NAME`, separated by commas. If unset, all.
    policies: Option<String>,
    /// The first version whose changes count. If unset, the one published last.
    sequence: Option<u64>,
}

/// Waits, for at most `within`, until every instance has its newest plan in force. If policies are
/// named, waits instead until the instances of the services that have changed since the given version
/// have it, and each of the policies has converged or is stuck.
///
/// The result counts the instances of the policies' services. If no policies are named, it counts
/// those of the services that have changed since the given version, or those of all services if they
/// have not converged in time.
pub(super) async fn converged(
    State(admin): State<Admin>,
    query: Result<QueryParameters<Parameters>, Problem>,
) -> Result<Json<ConvergenceResult>, Problem> {
    let QueryParameters(parameters) =
        query.map_err(|refusal| refusal.with_title("Invalid query"))?;
    let within = Duration::from_millis(parameters.within).min(MAX_WAIT);
    let _permit = admin.permits.waiting.try_acquire().map_err(|_| {
        let detail = format!(
            "{MAX_WAITING_REQUESTS} requests are waiting for policies, which is the limit; try again \
             in a few seconds"
        );
        problem(StatusCode::SERVICE_UNAVAILABLE, "Busy", detail)
    })?;
    let control = admin.control.clone();
    // Waits until the plans of a version that is being published are served.
    let current = blocking(&admin.permits.statuses, move || control.version()).await?;
    let since = Version {
        sequence: parameters.sequence.unwrap_or(current.sequence),
        ..current
    };
    Ok(Json(match &parameters.policies {
        None => wait_for_all(&admin, since, within).await?,
        Some(names) => wait_for_policies(&admin, keys(names)?, since, within).await?,
    }))
}

/// The named policies, without duplicates.
fn keys(names: &str) -> Result<BTreeSet<PolicyKey>, Problem> {
    let parts = names.split(',').map(|name| name.split_once('/'));
    let keys = parts.map(|parts| {
        let detail = "policies must be NAMESPACE/NAME, separated by commas";
        let (namespace, name) =
            parts.ok_or_else(|| problem(StatusCode::BAD_REQUEST, "Invalid query", detail))?;
        key(namespace, name)
    });
    keys.collect()
}

async fn wait_for_all(
    admin: &Admin,
    since: Version,
    within: Duration,
) -> Result<ConvergenceResult, Problem> {
    let check = move |admin: &Admin| {
        admin.control.convergence(since)?;
        admin.control.convergence_where_changed(since)
    };
    let reached = wait_until(admin, Instant::now() + within, check, |it, _| it.is_some()).await?;
    let (expected, waiting) = match reached {
        Some(reached) => (reached.instances, vec![]),
        None => unconverged_instances(admin).await?,
    };
    Ok(ConvergenceResult {
        converged: reached.is_some(),
        milliseconds: reached.and_then(|reached| milliseconds(reached.took)),
        expected,
        waiting,
        reasons: vec![],
    })
}

async fn wait_for_policies(
    admin: &Admin,
    keys: BTreeSet<PolicyKey>,
    since: Version,
    within: Duration,
) -> Result<ConvergenceResult, Problem> {
    let began = Instant::now();
    let deadline = began + within;
    // The change may also affect services for which the policies no longer decide.
    let check = move |admin: &Admin| admin.control.convergence_where_changed(since);
    let changed = wait_until(admin, deadline, check, |it, _| it.is_some()).await?;
    let check = move |admin: &Admin| admin.policies.progress(&keys);
    let progress = wait_until(admin, deadline, check, |progress, now| {
        let is_over = |it: &Progress| it.is_converged || it.is_stuck && now > began + STUCK_AFTER;
        progress.iter().all(is_over)
    })
    .await?;
    let unconverged = progress.iter().filter(|it| !it.is_converged);
    let reasons: Vec<String> = unconverged
        .map(|it| format!("{}: {}", it.key, it.message))
        .collect();
    // Policies may share services, but only within a namespace.
    let services = progress.iter().flat_map(|it| {
        let instances = it.instances.iter();
        instances.map(move |(service, count)| ((&it.key.namespace, service), count))
    });
    let services: BTreeMap<_, _> = services.collect();
    Ok(ConvergenceResult {
        converged: changed.is_some() && reasons.is_empty(),
        milliseconds: changed.and_then(|changed| milliseconds(changed.took)),
        expected: services.into_values().sum(),
        waiting: match changed {
            Some(_) => vec![],
            None => unconverged_instances(admin).await?.1,
        },
        reasons,
    })
}

/// Repeats a check, after changes and at intervals, until its result is final or the deadline has
/// passed. Checks run one at a time, and not on a worker thread: there may be thousands of services
/// and policies.
async fn wait_until<T: Send + 'static>(
    admin: &Admin,
    deadline: Instant,
    check: impl Fn(&Admin) -> T + Send + Sync + 'static,
    is_final: impl Fn(&T, Instant) -> bool,
) -> Result<T, Problem> {
    let mut changes = admin.control.changed();
    let check = Arc::new(check);
    loop {
        // Before the check, so that a change during it is not missed.
        changes.mark_unchanged();
        let (current, check) = (admin.clone(), Arc::clone(&check));
        let result = blocking(&admin.permits.checks, move || check(&current)).await?;
        let now = Instant::now();
        if is_final(&result, now) || now >= deadline {
            return Ok(result);
        }
        let next = deadline.min(now + CHECK_INTERVAL);
        let _ = timeout_at(next.into(), changes.changed()).await;
        tokio::time::sleep(MIN_CHECK_INTERVAL).await;
    }
}

fn milliseconds(took: Duration) -> Option<f64> {
    // Zero means that no instance had to acknowledge anything.
    (took > Duration::ZERO).then_some(took.as_secs_f64() * 1000.0)
}

/// The number of instances, and the names of those that have not acknowledged their newest plan or
/// are silent. At most 100 are named; a last entry gives the number of the others.
async fn unconverged_instances(admin: &Admin) -> Result<(usize, Vec<String>), Problem> {
    let control = admin.control.clone();
    // One at a time, and not on a worker thread: there may be thousands of instances.
    let count = move || control.instance_counts();
    let counts = blocking(&admin.permits.checks, count).await?;
    let listed = counts.not_current.iter();
    let mut names: Vec<String> = listed
        .map(|it| format!("{} {}", it.service, it.instance))
        .collect();
    names.sort_unstable();
    let more = (counts.expected - counts.current).saturating_sub(names.len());
    names.extend((more > 0).then(|| format!("{more} more")));
    Ok((counts.expected, names))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn repeated_policies_are_looked_up_once() {
        let found = keys("default/one,other/one,default/one").unwrap();
        let found: Vec<&str> = found.iter().map(|key| key.namespace.as_str()).collect();
        assert_eq!(found, ["default", "other"]);
    }
}
