//! Validation of a `SamplingPolicy`.

use jiff::Timestamp;
use spoor_policy::{
    AttributeKey, Namespace, OperationName, Policy, PolicyKey, PolicyName, Probability, Rule,
    RuleCondition, RuleName, ServiceName, Strategy, TailPolicy, TracesPerSecond,
};

use crate::{
    AttributeMatch, FieldError, FieldPath, Head, KeepRule, Metadata, SamplingPolicy,
    SamplingPolicySpec, Tail, TargetSpec, errors::Errors, field::quoted, form, parse_duration,
    problem,
};

impl SamplingPolicy {
    /// Checks all fields and returns the policy. `created` is the time of its first acceptance: of
    /// policies with equal priority, the older wins.
    ///
    /// # Errors
    /// All errors, in the order of the document.
    pub fn validate(&self, created: Timestamp) -> Result<Policy, Vec<FieldError>> {
        let mut errors = Errors::default();
        let root = FieldPath::root();
        errors.kind(&self.api_version, &self.kind, Self::KIND);
        let key = errors.key(&self.metadata, &root.field("metadata"));
        let parts = errors.spec(&self.spec, &root.field("spec"));
        let (Some(key), Some(parts), true) = (key, parts, errors.is_empty()) else {
            return Err(errors.into_found());
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

/// The valid fields of a specification.
struct Parts {
    targets: Vec<spoor_policy::Target>,
    head: Option<Strategy>,
    tail: Option<TailPolicy>,
    expires_at: Option<Timestamp>,
}

impl Errors {
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
            self.add(at.clone(), problem::NOTHING);
        }
        let head = spec
            .head
            .as_ref()
            .map(|head| self.head(head, &at.field("head")));
        let tail = spec
            .tail
            .as_ref()
            .map(|tail| self.tail(tail, &at.field("tail")));
        let expires_at = spec
            .expires_at
            .as_ref()
            .map(|text| self.time(text, at.field("expiresAt")));
        // `Some(None)` is an absent field, `None` an invalid one.
        Some(Parts {
            targets,
            head: head.map_or(Some(None), |head| head.map(Some))?,
            tail: tail.map_or(Some(None), |tail| tail.map(Some))?,
            expires_at: expires_at.map_or(Some(None), |time| time.map(Some))?,
        })
    }

    fn targets(&mut self, targets: &[TargetSpec], at: &FieldPath) -> Vec<spoor_policy::Target> {
        self.at_most(targets.len(), Policy::MAX_TARGETS, at);
        self.distinct(targets.iter().map(|target| &target.service), |index| {
            at.index(index).field("service")
        });
        let mut checked = vec![];
        // Entries beyond the limit are one error, not one each.
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
                .probability(text, at.field("probability"))
                .map(Strategy::Probability),
            (None, Some(limit)) => {
                let at = at.field("rateLimit").field("tracesPerSecond");
                self.check(at, TracesPerSecond::new(limit.traces_per_second))
                    .map(Strategy::RateLimit)
            }
            (Some(_), Some(_)) => {
                self.add(at.clone(), problem::HEAD_BOTH);
                None
            }
            (None, None) => {
                self.add(at.clone(), problem::HEAD_NONE);
                None
            }
        }
    }

    fn tail(&mut self, tail: &Tail, at: &FieldPath) -> Option<TailPolicy> {
        let keep = at.field("keep");
        let before = self.len();
        self.at_most(tail.keep.len(), TailPolicy::MAX_RULES, &keep);
        self.distinct(tail.keep.iter().map(|rule| &rule.name), |index| {
            keep.index(index).field("name")
        });
        let indexed = tail.keep.iter().enumerate().take(TailPolicy::MAX_RULES);
        let rules = indexed
            .filter_map(|(index, rule)| self.rule(rule, &keep.index(index)))
            .collect();
        let otherwise = self.probability(&tail.otherwise, at.field("otherwise"))?;
        if self.len() > before {
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

    fn condition(&mut self, rule: &KeepRule, at: &FieldPath) -> Option<RuleCondition> {
        let condition = match (&rule.error, &rule.slower_than, &rule.attribute) {
            (Some(_), None, None) => RuleCondition::Error,
            (None, Some(text), None) => {
                let at = at.field("slowerThan");
                self.check(at.clone(), form::DURATION.check(text))?;
                let condition =
                    RuleCondition::SlowerThan(self.check(at.clone(), parse_duration(text))?);
                self.check(at, condition.check())?;
                condition
            }
            (None, None, Some(attribute)) => self.attribute(attribute, &at.field("attribute"))?,
            (None, None, None) => {
                self.add(at.clone(), problem::RULE_NONE);
                return None;
            }
            _ => {
                self.add(at.clone(), problem::RULE_SEVERAL);
                return None;
            }
        };
        Some(condition)
    }

    fn attribute(&mut self, attribute: &AttributeMatch, at: &FieldPath) -> Option<RuleCondition> {
        let key = self.check(at.field("key"), AttributeKey::new(&attribute.key));
        let values = at.field("values");
        let before = self.len();
        self.distinct(&attribute.values, |index| values.index(index));
        if self.len() > before {
            return None;
        }
        let condition = RuleCondition::Attribute {
            key: key?,
            values: attribute.values.clone(),
        };
        self.check(values, condition.check())?;
        Some(condition)
    }

    fn probability(&mut self, text: &str, at: FieldPath) -> Option<Probability> {
        let max = form::MAX_PERCENTAGE_BYTES;
        let probability = self.check(at.clone(), text.parse())?;
        if text.len() > max {
            self.add(
                at,
                format!("must be at most {max} bytes, not {}", text.len()),
            );
            return None;
        }
        Some(probability)
    }

    fn time(&mut self, text: &str, at: FieldPath) -> Option<Timestamp> {
        let checked = form::TIME.check(text);
        let parsed = checked.and_then(|text| {
            text.parse().map_err(|_| {
                let problem = form::TIME.problem;
                format!("{problem}, not {}; that day does not exist", quoted(text))
            })
        });
        self.check(at, parsed)
    }
}
