//! Validation of a `SamplingPolicy`.

use jiff::Timestamp;
use spoor_policy::{
    AttributeKey, Namespace, OperationName, Policy, PolicyFields, PolicyKey, PolicyName,
    Probability, Rule, RuleCondition, RuleName, ServiceName, Strategy, TailPolicy, TracesPerSecond,
};

use crate::{
    AttributeMatch, ErrorMatch, FieldError, FieldPath, Head, KeepRule, Metadata, SamplingPolicy,
    Tail, TargetSpec,
    errors::{Checked, Errors},
    format_duration, formats, parse_duration, problem,
};

impl SamplingPolicy {
    /// Checks all fields and returns the policy. `created` is the time of its first acceptance: of
    /// policies with equal priority, the older wins.
    ///
    /// # Errors
    /// The errors in all fields.
    pub fn validate(&self, created: Timestamp) -> Result<Policy, Vec<FieldError>> {
        let mut errors = Errors::default();
        let root = FieldPath::root();
        errors.kind(&self.api_version, &self.kind, Self::KIND);
        let key = errors.key(&self.metadata, &root.field("metadata"));
        let (spec, at) = (&self.spec, root.field("spec"));
        let targets = errors.targets(&spec.targets, &at.field("targets"));
        if spec.head.is_none() && spec.tail.is_none() {
            errors.add(at.clone(), problem::NO_PART);
        }
        let head = spec.head.as_ref();
        let head = head.map(|head| errors.head(head, &at.field("head")));
        let tail = spec.tail.as_ref();
        let tail = tail.map(|tail| errors.tail(tail, &at.field("tail")));
        let expires_at = spec.expires_at.as_ref();
        let expires_at = expires_at.map(|text| errors.time(text, at.field("expiresAt")));
        // Returned only here, so that an error in one field does not hide those in others.
        let (Ok(key), Ok(head), Ok(tail), Ok(expires_at), true) = (
            key,
            head.transpose(),
            tail.transpose(),
            expires_at.transpose(),
            errors.is_empty(),
        ) else {
            return Err(errors.into_vec());
        };
        Policy::new(PolicyFields {
            key,
            priority: spec.priority,
            created,
            targets,
            head,
            tail,
            expires_at,
        })
        .map_err(|error| vec![FieldError::new(at, error.to_string())])
    }
}

impl Errors {
    fn key(&mut self, metadata: &Metadata, at: &FieldPath) -> Checked<PolicyKey> {
        let name = self.check(at.field("name"), PolicyName::new(&metadata.name));
        let namespace = self.namespace(metadata, at);
        Ok(PolicyKey {
            namespace: namespace?,
            name: name?,
        })
    }

    pub(crate) fn namespace(&mut self, metadata: &Metadata, at: &FieldPath) -> Checked<Namespace> {
        match &metadata.namespace {
            Some(namespace) => self.check(at.field("namespace"), Namespace::new(namespace)),
            None => Ok(Namespace::default()),
        }
    }

    fn targets(&mut self, targets: &[TargetSpec], at: &FieldPath) -> Vec<spoor_policy::Target> {
        self.at_most(targets.len(), Policy::MAX_TARGETS, at);
        self.distinct(targets.iter().map(|target| &target.service), |index| {
            at.index(index).field("service")
        });
        let mut checked = vec![];
        // All entries beyond the limit are a single error.
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
            .flat_map(|(index, name)| self.check(at.index(index), OperationName::new(name)))
            .collect()
    }

    fn head(&mut self, head: &Head, at: &FieldPath) -> Checked<Strategy> {
        let probability = head.probability.as_ref();
        let probability = probability.map(|text| self.probability(text, at.field("probability")));
        let rate = head.rate_limit.as_ref().map(|limit| {
            let at = at.field("rateLimit").field("tracesPerSecond");
            self.check(at, TracesPerSecond::new(limit.traces_per_second))
        });
        match (probability, rate) {
            (Some(probability), None) => probability.map(Strategy::Probability),
            (None, Some(rate)) => rate.map(Strategy::RateLimit),
            (Some(_), Some(_)) => Err(self.report(at.clone(), problem::HEAD_BOTH)),
            (None, None) => Err(self.report(at.clone(), problem::HEAD_NONE)),
        }
    }

    fn tail(&mut self, tail: &Tail, at: &FieldPath) -> Checked<TailPolicy> {
        let keep = at.field("keep");
        let before = self.len();
        self.at_most(tail.keep.len(), TailPolicy::MAX_RULES, &keep);
        self.distinct(tail.keep.iter().map(|rule| &rule.name), |index| {
            keep.index(index).field("name")
        });
        let indexed = tail.keep.iter().enumerate().take(TailPolicy::MAX_RULES);
        let rules = indexed
            .flat_map(|(index, rule)| self.rule(rule, &keep.index(index)))
            .collect();
        let otherwise = self.probability(&tail.otherwise, at.field("otherwise"))?;
        self.none_since(before)?;
        // Only without errors, since it would report duplicate names again, for the entire list.
        self.check(keep, TailPolicy::new(rules, otherwise))
    }

    fn rule(&mut self, rule: &KeepRule, at: &FieldPath) -> Checked<Rule> {
        // Without `..`, so that a new condition does not compile until it is matched below.
        // Otherwise it would be ignored beside another one.
        let KeepRule {
            name,
            error,
            slower_than,
            attribute,
        } = rule;
        let name = self.check(at.field("name"), RuleName::new(name));
        let error = error.as_ref().map(|ErrorMatch {}| Ok(RuleCondition::Error));
        let slower_than = slower_than.as_ref();
        let slower_than = slower_than.map(|text| self.slower_than(text, at.field("slowerThan")));
        let attribute = attribute.as_ref();
        let attribute = attribute.map(|it| self.attribute(it, &at.field("attribute")));
        let condition = match (error, slower_than, attribute) {
            (Some(one), None, None) | (None, Some(one), None) | (None, None, Some(one)) => one,
            (None, None, None) => Err(self.report(at.clone(), problem::RULE_NONE)),
            _ => Err(self.report(at.clone(), problem::RULE_SEVERAL)),
        };
        Ok(Rule {
            name: name?,
            condition: condition?,
        })
    }

    fn slower_than(&mut self, text: &str, at: FieldPath) -> Checked<RuleCondition> {
        // The format first, since it also bounds the number of digits, as the definition does.
        self.check(at.clone(), formats::DURATION.check(text))?;
        let duration = self.check(at.clone(), parse_duration(text))?;
        let condition = RuleCondition::SlowerThan(duration);
        if condition.check().is_err() {
            let limits = [RuleCondition::MIN_DURATION, RuleCondition::MAX_DURATION];
            let [min, max] = limits.map(format_duration);
            // The condition's own error has the duration in seconds, and not as it was written.
            return Err(self.report(at, format!("must be from {min} to {max}, not {text}")));
        }
        Ok(condition)
    }

    fn attribute(&mut self, attribute: &AttributeMatch, at: &FieldPath) -> Checked<RuleCondition> {
        let key = self.check(at.field("key"), AttributeKey::new(&attribute.key));
        let values = at.field("values");
        let before = self.len();
        self.distinct(&attribute.values, |index| values.index(index));
        self.none_since(before)?;
        let condition = RuleCondition::Attribute {
            key: key?,
            values: attribute.values.clone(),
        };
        self.check(values, condition.check())?;
        Ok(condition)
    }

    fn probability(&mut self, text: &str, at: FieldPath) -> Checked<Probability> {
        let max = formats::MAX_PERCENTAGE_BYTES;
        // The value first, since its message is more specific than one about the length.
        let probability = self.check(at.clone(), text.parse())?;
        if text.len() > max {
            let problem = format!("must be at most {max} bytes, not {}", text.len());
            return Err(self.report(at, problem));
        }
        Ok(probability)
    }

    fn time(&mut self, text: &str, at: FieldPath) -> Checked<Timestamp> {
        let text = self.check(at.clone(), formats::TIME.check(text))?;
        text.parse().map_err(|_| {
            let problem = formats::TIME.invalid(text);
            self.report(at, format!("{problem}; that day does not exist"))
        })
    }
}
