//! Waiting until policies are in force, as the operator reports it in their status.

use std::{collections::BTreeMap, time::Duration};

use spoor_api::{
    SamplingPolicy,
    status::{Clients, Condition, ConditionStatus},
};
use spoor_console::BackendError;
use spoor_policy::PolicyKey;
use tokio::time::{Instant, sleep};

use crate::ClusterClient;

/// The time between two reads of a status.
const READ_INTERVAL: Duration = Duration::from_millis(500);

/// The result of waiting for policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Convergence {
    /// True if all policies have converged.
    pub is_converged: bool,
    /// The time from publication to the slowest acknowledgement, if there was one.
    pub milliseconds: Option<u64>,
    /// The number of instances that should apply the policies.
    pub expected: usize,
    /// The reasons why policies have not converged, each after the policy's namespace and name.
    pub reasons: Vec<String>,
}

impl ClusterClient {
    /// Waits for at most `within` until policies have converged in these generations.
    ///
    /// # Errors
    /// [`BackendError`] if a status cannot be read.
    pub async fn converged(
        &self,
        generations: &BTreeMap<PolicyKey, i64>,
        within: Duration,
    ) -> Result<Convergence, BackendError> {
        let deadline = Instant::now() + within;
        let mut convergence = Convergence::default();
        for (key, generation) in generations {
            loop {
                let policy = self.get(key).await?;
                let problem = problem(&policy, *generation);
                let is_late = Instant::now() + READ_INTERVAL > deadline;
                if problem.is_some() && !is_late {
                    sleep(READ_INTERVAL).await;
                    continue;
                }
                convergence.add(&policy);
                let problem = problem.map(|problem| format!("{key}: {problem}"));
                convergence.reasons.extend(problem);
                break;
            }
        }
        convergence.is_converged = convergence.reasons.is_empty();
        Ok(convergence)
    }
}

impl Convergence {
    fn add(&mut self, policy: &SamplingPolicy) {
        let clients = policy.status.as_ref().and_then(|it| it.clients.as_ref());
        if let Some(Clients {
            expected,
            slowest_milliseconds,
            ..
        }) = clients
        {
            self.expected += usize::try_from(*expected).unwrap_or(usize::MAX);
            self.milliseconds = self.milliseconds.max(*slowest_milliseconds);
        }
    }
}

/// The reason why a policy has not converged in a generation.
fn problem(policy: &SamplingPolicy, generation: i64) -> Option<String> {
    let Some(condition) = policy.condition(Condition::CONVERGED) else {
        return Some("no operator has reported its status yet".to_owned());
    };
    // Otherwise the condition may be that of the policy before the change.
    if condition.observed_generation < Some(generation) {
        return Some("the operator has not seen the change yet".to_owned());
    }
    (condition.status != ConditionStatus::True).then(|| condition.message.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn policy(status: &str, observed: i64) -> SamplingPolicy {
        let condition = json!({
            "type": "Converged", "status": status, "reason": "R", "message": "waiting for a-0",
            "observedGeneration": observed, "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let policy = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": "a"},
            "spec": {"head": {"probability": "1%"}},
            "status": {"conditions": [condition]},
        });
        serde_json::from_value(policy).unwrap()
    }

    #[rstest::rstest]
    #[case::converged("True", 2, None)]
    #[case::newer("True", 3, None)]
    #[case::earlier("True", 1, Some("the operator has not seen the change yet"))]
    #[case::waiting("Unknown", 2, Some("waiting for a-0"))]
    fn only_the_applied_generation_counts(
        #[case] status: &str,
        #[case] observed: i64,
        #[case] expected: Option<&str>,
    ) {
        let found = problem(&policy(status, observed), 2);
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn policy_without_status_has_not_converged() {
        let mut policy = policy("True", 1);
        policy.status = None;
        assert!(problem(&policy, 1).is_some());
    }
}
