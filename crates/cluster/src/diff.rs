//! The effect that applying policies would have on the services.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use spoor_api::changes::{Comparison, Document, differences};
use spoor_console::BackendError;
use spoor_policy::{Namespace, Policy, PolicyKey, resolve};
use spoor_status::warnings;

use crate::{
    ClusterClient,
    documents::Planned,
    object::{policy, valid_policy},
};

type Policies = BTreeMap<PolicyKey, Policy>;

impl ClusterClient {
    /// Computes what applying the documents would change. Changes nothing.
    ///
    /// # Errors
    /// [`BackendError::Validate`], as for [`Self::apply_documents`]; [`BackendError::Refuse`] if the
    /// user may not list the policies of a namespace. For a user who may list but not apply, the
    /// comparison has Kubernetes' reason as a warning.
    pub async fn compare(&self, documents: &[Document]) -> Result<Comparison, BackendError> {
        let planned = self.plan(documents)?;
        let now = Timestamp::now();
        let before = self.in_force(&planned).await?;
        let mut after = before.clone();
        let (mut problems, mut refusals) = (vec![], BTreeMap::new());
        for plan in &planned {
            let resource = match self.dry_run(plan).await {
                // What the API server would store: the fields of other managers may stay.
                Ok(object) => policy(&object).unwrap_or_else(|_| plan.resource.clone()),
                Err(BackendError::Refuse(reason)) => {
                    refusals.insert(&plan.key, reason);
                    plan.resource.clone()
                }
                Err(BackendError::Validate(messages)) => {
                    problems.extend(messages);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let created = before.get(&plan.key).map_or(now, |policy| policy.created);
            match resource.validate(created) {
                Ok(policy) => {
                    after.insert(plan.key.clone(), policy);
                }
                Err(errors) => problems.extend(errors.iter().map(ToString::to_string)),
            }
        }
        if !problems.is_empty() {
            return Err(BackendError::Validate(problems));
        }
        let mut comparison = compare(before, after, &planned, now);
        for (key, reason) in refusals {
            let warnings = comparison.warnings.entry(key.to_string()).or_default();
            warnings.push(format!("cannot be applied: {reason}"));
        }
        Ok(comparison)
    }

    /// The valid policies of the namespaces that a change concerns.
    async fn in_force(&self, planned: &[Planned]) -> Result<Policies, BackendError> {
        let namespaces: BTreeSet<&Namespace> = planned.iter().map(|it| &it.key.namespace).collect();
        let mut policies = Policies::new();
        for namespace in namespaces {
            let objects = self.objects(Some(namespace)).await?;
            let valid = objects.iter().filter_map(valid_policy);
            policies.extend(valid.map(|policy| (policy.key.clone(), policy)));
        }
        Ok(policies)
    }
}

fn compare(before: Policies, after: Policies, planned: &[Planned], now: Timestamp) -> Comparison {
    let before: Vec<Policy> = before.into_values().collect();
    let after: Vec<Policy> = after.into_values().collect();
    let resolution = resolve(&after, now);
    let warn = |plan: &Planned| {
        let outcome = resolution.outcomes.get(&plan.key)?;
        Some((plan.key.to_string(), warnings(outcome)))
    };
    Comparison {
        differences: differences((&before, &resolve(&before, now)), (&after, &resolution)),
        warnings: planned.iter().filter_map(warn).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]

    use spoor_api::{SamplingPolicy, read};

    use super::*;

    fn policies(text: &str) -> Vec<SamplingPolicy> {
        let read = read::policies(text, "p.yaml").unwrap();
        read.into_iter().map(|it| it.policy).collect()
    }

    fn of(resources: &[SamplingPolicy]) -> Policies {
        let valid = resources
            .iter()
            .map(|it| it.validate(Timestamp::UNIX_EPOCH).unwrap());
        valid.map(|policy| (policy.key.clone(), policy)).collect()
    }

    fn named(name: &str, probability: &str) -> String {
        format!(
            "---\napiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {{name: {name}}}\n\
             spec: {{targets: [{{service: a}}], head: {{probability: {probability}}}}}\n"
        )
    }

    #[test]
    fn only_changed_places_and_warnings_are_shown() {
        let before = of(&policies(&named("a", "1%")));
        let changed = policies(&(named("a", "2%") + &named("b", "5%")));
        let after = of(&changed);
        let planned: Vec<Planned> = after
            .keys()
            .zip(&changed)
            .map(|(key, resource)| Planned {
                key: key.clone(),
                resource: resource.clone(),
            })
            .collect();
        let comparison = compare(before, after, &planned, Timestamp::UNIX_EPOCH);
        let [difference] = comparison.differences.as_slice() else {
            panic!("{comparison:?}");
        };
        let setting = |of: &Option<spoor_api::changes::PlaceSetting>| {
            of.as_ref()
                .map(|it| format!("{} {}", it.policy, it.setting))
        };
        assert_eq!(setting(&difference.before).as_deref(), Some("a 1%"));
        assert_eq!(setting(&difference.after).as_deref(), Some("a 2%"));
        let warnings = &comparison.warnings["default/b"];
        assert!(warnings[0].starts_with("has no effect"), "{warnings:?}");
    }
}
