//! Validation of pods' resources, scheduling and additions.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use serde_json::Value;

use super::PodSettings;
use crate::{
    FieldPath,
    errors::{Checked, Errors},
    formats::{self, Format},
    problem,
    read::shape,
    tracing_stack::kubernetes,
    tracing_stack::{
        PodAdditions, Quantity, Resources, Scheduling, TaintEffect, Toleration, TolerationOperator,
    },
};

impl PodSettings {
    /// The most entries of `requests`, `limits`, `nodeSelector`, `annotations`, `labels` and `env`.
    pub(crate) const MAX_ENTRIES: usize = 16;
    pub(crate) const MAX_TOLERATIONS: usize = 32;
    pub(crate) const MAX_CONSTRAINTS: usize = 16;
    pub(crate) const MAX_PULL_SECRETS: usize = 8;
}

impl Errors {
    pub(super) fn pod(
        &mut self,
        resources: &Option<Resources>,
        scheduling: &Option<Scheduling>,
        additions: &Option<PodAdditions>,
        at: &FieldPath,
    ) -> Checked<PodSettings> {
        let settings = PodSettings {
            resources: resources.clone().unwrap_or_default(),
            scheduling: scheduling.clone().unwrap_or_default(),
            additions: additions.clone().unwrap_or_default(),
        };
        let before = self.len();
        self.resources(&settings.resources, &at.field("resources"));
        self.scheduling(&settings.scheduling, &at.field("scheduling"));
        self.additions(&settings.additions, &at.field("pod"));
        self.none_since(before)?;
        Ok(settings)
    }

    fn resources(&mut self, resources: &Resources, at: &FieldPath) {
        let requests = self.amounts(&resources.requests, &at.field("requests"));
        let limits = self.amounts(&resources.limits, &at.field("limits"));
        // Otherwise Kubernetes would accept the stack and later refuse its pods, as with invalid
        // tolerations.
        for (name, limit) in limits {
            if requests.get(name).is_some_and(|request| *request > limit) {
                self.add(at.field("limits").field(name), problem::LIMITS);
            }
        }
    }

    fn amounts<'a>(
        &mut self,
        quantities: &'a BTreeMap<String, Quantity>,
        at: &FieldPath,
    ) -> BTreeMap<&'a str, u128> {
        self.at_most(quantities.len(), PodSettings::MAX_ENTRIES, at);
        let mut amounts = BTreeMap::new();
        for (name, quantity) in quantities {
            let at = at.field(name);
            self.require(at.clone(), formats::RESOURCE.check(name));
            let amount = self.check(at, quantity.millionths());
            amounts.extend(amount.map(|amount| (name.as_str(), amount)));
        }
        amounts
    }

    fn scheduling(&mut self, scheduling: &Scheduling, at: &FieldPath) {
        let selector = &scheduling.node_selector;
        self.entries(selector, &formats::LABEL_VALUE, &at.field("nodeSelector"));
        let (tolerations, max) = (&scheduling.tolerations, PodSettings::MAX_TOLERATIONS);
        let tolerations_at = at.field("tolerations");
        self.at_most(tolerations.len(), max, &tolerations_at);
        for (index, toleration) in tolerations.iter().enumerate() {
            self.toleration(toleration, &tolerations_at.index(index));
        }
        let spread = &scheduling.topology_spread_constraints;
        let spread_at = at.field("topologySpreadConstraints");
        self.at_most(spread.len(), PodSettings::MAX_CONSTRAINTS, &spread_at);
        // The API server checks the same outlines, which are part of the definition.
        let mut generator = SchemaGenerator::default();
        if let Some(affinity) = &scheduling.affinity {
            let schema = kubernetes::affinity(&mut generator);
            let (affinity, at) = (Value::Object(affinity.0.clone()), at.field("affinity"));
            self.extend(shape::errors(&affinity, schema.as_value(), &at));
        }
        // Checked as one list, since the schema is for the entire field.
        let spread = spread.iter().map(|it| Value::Object(it.0.clone()));
        let spread: Value = spread.collect();
        let schema = kubernetes::topology_spread_constraints(&mut generator);
        self.extend(shape::errors(&spread, schema.as_value(), &spread_at));
        if let Some(name) = &scheduling.priority_class_name {
            let at = at.field("priorityClassName");
            self.require(at, formats::OBJECT_NAME.check(name));
        }
    }

    fn toleration(&mut self, toleration: &Toleration, at: &FieldPath) {
        let exists = toleration.operator == Some(TolerationOperator::Exists);
        match &toleration.key {
            Some(key) => {
                self.require(at.field("key"), formats::LABEL_KEY.check(key));
            }
            None if !exists => self.add(at.field("key"), problem::TOLERATION_KEY),
            None => {}
        }
        if let Some(value) = &toleration.value {
            self.require(at.field("value"), formats::LABEL_VALUE.check(value));
            if exists {
                self.add(at.field("value"), problem::TOLERATION_VALUE);
            }
        }
        if toleration.toleration_seconds.is_some()
            && toleration.effect != Some(TaintEffect::NoExecute)
        {
            self.add(at.field("tolerationSeconds"), problem::TOLERATION_SECONDS);
        }
    }

    /// Checks a mapping whose keys have the format of label keys.
    fn entries(&mut self, entries: &BTreeMap<String, String>, values: &Format, at: &FieldPath) {
        self.at_most(entries.len(), PodSettings::MAX_ENTRIES, at);
        for (key, value) in entries {
            self.require(at.field(key), formats::LABEL_KEY.check(key));
            self.require(at.field(key), values.check(value));
        }
    }

    fn additions(&mut self, additions: &PodAdditions, at: &FieldPath) {
        let (annotations, labels) = (&additions.annotations, &additions.labels);
        self.entries(annotations, &formats::TEXT, &at.field("annotations"));
        self.entries(labels, &formats::LABEL_VALUE, &at.field("labels"));
        let env = at.field("env");
        self.at_most(additions.env.len(), PodSettings::MAX_ENTRIES, &env);
        let name_at = |index| env.index(index).field("name");
        self.distinct(additions.env.iter().map(|it| &it.name), name_at);
        for (index, variable) in additions.env.iter().enumerate() {
            self.require(name_at(index), formats::ENV_NAME.check(&variable.name));
            let at = env.index(index).field("value");
            self.require(at, formats::TEXT.check(&variable.value));
        }
        let (secrets, max) = (&additions.image_pull_secrets, PodSettings::MAX_PULL_SECRETS);
        self.secrets(secrets, max, &at.field("imagePullSecrets"));
    }
}
