//! From what people wrote to what it means.

use std::{collections::HashSet, fmt::Display, hash::Hash};

use jiff::Timestamp;
use spoor_policy::{
    AttributeKey, Condition, Namespace, OperationName, Policy, PolicyKey, PolicyName, Probability,
    Rule, RuleName, ServiceName, Strategy, TailPolicy, TracesPerSecond,
};

use crate::{
    API_VERSION, AttributeMatch, FieldError, FieldPath, Head, KeepRule, Metadata, SamplingPolicy,
    SamplingPolicySpec, Tail, Target, field::quoted, parse_duration,
};

impl SamplingPolicy {
    /// Checks everything and gives the policy that it means. `created` is when it was first
    /// accepted: of equal priority the older wins.
    ///
    /// # Errors
    /// Every field that is wrong, in the order of the document.
    pub fn validate(&self, created: Timestamp) -> Result<Policy, Vec<FieldError>> {
        let mut errors = Errors::default();
        let root = FieldPath::root();
        if self.api_version != API_VERSION {
            let problem = format!(
                "must be \"{API_VERSION}\", not {}",
                quoted(&self.api_version)
            );
            errors.add(root.field("apiVersion"), problem);
        }
        if self.kind != Self::KIND {
            let problem = format!("must be \"{}\", not {}", Self::KIND, quoted(&self.kind));
            errors.add(root.field("kind"), problem);
        }
        let key = errors.key(&self.metadata, &root.field("metadata"));
        let parts = errors.spec(&self.spec, &root.field("spec"));
        let (Some(key), Some(parts), true) = (key, parts, errors.0.is_empty()) else {
            return Err(errors.0);
        };
        let Parts {
            targets,
            head,
            tail,
            expires_at,
        } = parts;
        Policy::new(
            key,
            self.spec.priority,
            created,
            targets,
            head,
            tail,
            expires_at,
        )
        .map_err(|error| vec![FieldError::new(root.field("spec"), error.to_string())])
    }
}

/// The members of a specification, checked one by one.
struct Parts {
    targets: Vec<spoor_policy::Target>,
    head: Option<Strategy>,
    tail: Option<TailPolicy>,
    expires_at: Option<Timestamp>,
}

/// Collects what is wrong, so that all of it can be said at once. A check that gives `None` has
/// said why.
#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, path: FieldPath, problem: impl Into<String>) {
        self.0.push(FieldError::new(path, problem));
    }

    fn check<T, E: Display>(&mut self, path: FieldPath, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.add(path, error.to_string()))
            .ok()
    }

    fn key(&mut self, metadata: &Metadata, at: &FieldPath) -> Option<PolicyKey> {
        let name = self.check(at.field("name"), PolicyName::new(&metadata.name));
        let namespace = match &metadata.namespace {
            Some(namespace) => self.check(at.field("namespace"), Namespace::new(namespace)),
            None => Some(Namespace::default()),
        };
        Some(PolicyKey {
            namespace: namespace?,
            name: name?,
        })
    }

    fn spec(&mut self, spec: &SamplingPolicySpec, at: &FieldPath) -> Option<Parts> {
        let targets = self.targets(&spec.targets, &at.field("targets"));
        if spec.head.is_none() && spec.tail.is_none() {
            self.add(
                at.clone(),
                "must have \"head\", \"tail\" or both, such as `head: {probability: 1%}`",
            );
        }
        let head = spec
            .head
            .as_ref()
            .map(|head| self.head(head, &at.field("head")));
        let tail = spec
            .tail
            .as_ref()
            .map(|tail| self.tail(tail, &at.field("tail")));
        let expires_at = spec.expires_at.as_ref().map(|text| {
            let parsed = text.parse::<Timestamp>().map_err(|_| {
                format!(
                    "must be a time such as \"2027-01-01T12:00:00Z\", not {}",
                    quoted(text)
                )
            });
            self.check(at.field("expiresAt"), parsed)
        });
        // What is absent is fine; what is there but wrong is not.
        Some(Parts {
            targets,
            head: head.map_or(Some(None), |head| head.map(Some))?,
            tail: tail.map_or(Some(None), |tail| tail.map(Some))?,
            expires_at: expires_at.map_or(Some(None), |time| time.map(Some))?,
        })
    }

    fn targets(&mut self, targets: &[Target], at: &FieldPath) -> Vec<spoor_policy::Target> {
        self.at_most(targets.len(), Policy::MAX_TARGETS, at);
        self.distinct(targets.iter().map(|target| &target.service), |index| {
            at.index(index).field("service")
        });
        let mut checked = vec![];
        for (index, target) in targets.iter().enumerate().take(Policy::MAX_TARGETS) {
            let at = at.index(index);
            let service = self.check(at.field("service"), ServiceName::new(&target.service));
            let operations = self.operations(&target.operations, &at.field("operations"));
            checked.extend(service.map(|service| spoor_policy::Target {
                service,
                operations,
            }));
        }
        checked
    }

    fn operations(&mut self, operations: &[String], at: &FieldPath) -> Vec<OperationName> {
        self.at_most(operations.len(), Policy::MAX_OPERATIONS, at);
        self.distinct(operations, |index| at.index(index));
        let indexed = operations.iter().enumerate().take(Policy::MAX_OPERATIONS);
        indexed
            .filter_map(|(index, name)| self.check(at.index(index), OperationName::new(name)))
            .collect()
    }

    fn head(&mut self, head: &Head, at: &FieldPath) -> Option<Strategy> {
        match (&head.probability, &head.rate_limit) {
            (Some(text), None) => self
                .check(at.field("probability"), text.parse::<Probability>())
                .map(Strategy::Probability),
            (None, Some(limit)) => {
                let at = at.field("rateLimit").field("tracesPerSecond");
                self.check(at, TracesPerSecond::new(limit.traces_per_second))
                    .map(Strategy::RateLimit)
            }
            (Some(_), Some(_)) => {
                self.add(
                    at.clone(),
                    "must have one of \"probability\" and \"rateLimit\", not both: delete one",
                );
                None
            }
            (None, None) => {
                self.add(
                    at.clone(),
                    "must have one of \"probability\" and \"rateLimit\", such as `probability: 1%`",
                );
                None
            }
        }
    }

    fn tail(&mut self, tail: &Tail, at: &FieldPath) -> Option<TailPolicy> {
        let keep = at.field("keep");
        let before = self.0.len();
        self.at_most(tail.keep.len(), TailPolicy::MAX_RULES, &keep);
        self.distinct(tail.keep.iter().map(|rule| &rule.name), |index| {
            keep.index(index).field("name")
        });
        let indexed = tail.keep.iter().enumerate().take(TailPolicy::MAX_RULES);
        let rules = indexed
            .filter_map(|(index, rule)| self.rule(rule, &keep.index(index)))
            .collect();
        let otherwise = self.check(at.field("otherwise"), tail.otherwise.parse::<Probability>())?;
        if self.0.len() > before {
            return None;
        }
        self.check(keep, TailPolicy::new(rules, otherwise))
    }

    fn rule(&mut self, rule: &KeepRule, at: &FieldPath) -> Option<Rule> {
        let name = self.check(at.field("name"), RuleName::new(&rule.name));
        let condition = self.condition(rule, at);
        Some(Rule {
            name: name?,
            condition: condition?,
        })
    }

    fn condition(&mut self, rule: &KeepRule, at: &FieldPath) -> Option<Condition> {
        let condition = match (&rule.error, &rule.slower_than, &rule.attribute) {
            (Some(_), None, None) => Condition::Error,
            (None, Some(text), None) => {
                let at = at.field("slowerThan");
                let condition =
                    Condition::SlowerThan(self.check(at.clone(), parse_duration(text))?);
                self.check(at, condition.check())?;
                condition
            }
            (None, None, Some(attribute)) => self.attribute(attribute, &at.field("attribute"))?,
            (None, None, None) => {
                self.add(at.clone(), "must have one of \"error\", \"slowerThan\" and \"attribute\", such as `error: {}`");
                return None;
            }
            _ => {
                self.add(at.clone(), "must have only one of \"error\", \"slowerThan\" and \"attribute\": make a rule of each");
                return None;
            }
        };
        Some(condition)
    }

    fn attribute(&mut self, attribute: &AttributeMatch, at: &FieldPath) -> Option<Condition> {
        let key = self.check(at.field("key"), AttributeKey::new(&attribute.key));
        let values = at.field("values");
        let before = self.0.len();
        self.distinct(&attribute.values, |index| values.index(index));
        if self.0.len() > before {
            return None;
        }
        let condition = Condition::Attribute {
            key: key?,
            values: attribute.values.clone(),
        };
        self.check(values, condition.check())?;
        Some(condition)
    }

    fn at_most(&mut self, found: usize, max: usize, at: &FieldPath) {
        if found > max {
            self.add(
                at.clone(),
                format!("must have at most {max} entries, not {found}"),
            );
        }
    }

    fn distinct<T: Eq + Hash + Display>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        path: impl Fn(usize) -> FieldPath,
    ) {
        let mut seen = HashSet::new();
        for (index, item) in items.into_iter().enumerate() {
            let name = item.to_string();
            if !seen.insert(item) {
                self.add(
                    path(index),
                    format!("{} stands twice: name it once", quoted(&name)),
                );
            }
        }
    }
}
