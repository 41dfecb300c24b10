//! Builder of policies for tests.

use jiff::{Timestamp, ToSpan};
use spoor_policy::{
    Namespace, Plan, Policy, PolicyFields, PolicyKey, PolicyName, Probability, Resolution, Rule,
    RuleCondition, RuleName, Strategy, TailPolicy, Target, TracesPerSecond,
};

pub const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// A policy, by default with head and tail for the whole namespace. Times are in seconds from
/// [`NOW`].
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub namespace: String,
    pub priority: i32,
    pub created: i64,
    pub ends: Option<i64>,
    pub targets: Vec<(String, Vec<String>)>,
    pub head: Option<Strategy>,
    pub otherwise: Option<Probability>,
    pub conditions: Vec<RuleCondition>,
}

impl Spec {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            priority: 0,
            created: -3600,
            ends: None,
            targets: vec![],
            head: Some(Strategy::Probability(Probability::ALWAYS)),
            otherwise: Some(Probability::NEVER),
            conditions: vec![RuleCondition::Error],
        }
    }

    pub fn namespace(self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self
        }
    }

    pub fn at(mut self, service: &str, operations: &[&str]) -> Self {
        let operations = operations.iter().map(ToString::to_string).collect();
        self.targets.push((service.to_owned(), operations));
        self
    }

    pub fn priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    pub fn created(self, created: i64) -> Self {
        Self { created, ..self }
    }

    pub fn ends(self, ends: i64) -> Self {
        Self {
            ends: Some(ends),
            ..self
        }
    }

    pub fn percent(self, percent: u32) -> Self {
        let probability = Probability::from_millionths(percent * 10_000).unwrap();
        Self {
            head: Some(Strategy::Probability(probability)),
            ..self
        }
    }

    pub fn limit(self, rate: i64) -> Self {
        Self {
            head: Some(Strategy::RateLimit(TracesPerSecond::new(rate).unwrap())),
            ..self
        }
    }

    pub fn otherwise(self, share: &str) -> Self {
        Self {
            otherwise: Some(share.parse().unwrap()),
            ..self
        }
    }

    pub fn rules(self, conditions: Vec<RuleCondition>) -> Self {
        Self { conditions, ..self }
    }

    pub fn head_only(self) -> Self {
        Self {
            otherwise: None,
            ..self
        }
    }

    pub fn tail_only(self) -> Self {
        Self { head: None, ..self }
    }

    pub fn build(&self) -> Policy {
        let targets = self.targets.iter().map(|(service, operations)| Target {
            service: service.parse().unwrap(),
            operations: operations
                .iter()
                .map(|name| name.parse().unwrap())
                .collect(),
        });
        let rule = |(at, condition)| Rule {
            name: RuleName::new(format!("rule-{at}")).unwrap(),
            condition,
        };
        let rules = self.conditions.iter().cloned().enumerate().map(rule);
        let tail = self
            .otherwise
            .map(|share| TailPolicy::new(rules.collect(), share).unwrap());
        let key = PolicyKey {
            namespace: Namespace::new(&self.namespace).unwrap(),
            name: name(&self.name),
        };
        let created = NOW + self.created.seconds();
        let ends = self.ends.map(|seconds| NOW + seconds.seconds());
        Policy::new(PolicyFields {
            key,
            priority: self.priority,
            created,
            targets: targets.collect(),
            head: self.head,
            tail,
            expires_at: ends,
        })
        .unwrap()
    }
}

pub fn name(name: &str) -> PolicyName {
    name.parse().unwrap()
}

pub fn key(policy: &str) -> PolicyKey {
    PolicyKey {
        namespace: Namespace::default(),
        name: name(policy),
    }
}

pub fn table<'a>(resolution: &'a Resolution, service: &str) -> &'a Plan {
    resolution.table.plan("default", service)
}
