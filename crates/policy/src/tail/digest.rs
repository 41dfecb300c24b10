//! The digest of a namespace's tail rules.

use xxhash_rust::xxh3::Xxh3Default;

use super::{NamedTail, NamespaceTail, Rule, RuleCondition, TailTable};
use crate::{Digest, Namespace};

impl TailTable {
    /// The digest of a namespace's tail policies, with their names. It is the same in every process
    /// and at every time, since two roles of the operator compare theirs.
    #[must_use]
    pub fn digest(&self, namespace: &Namespace) -> Digest {
        let mut hasher = RuleHasher::default();
        if let Some(tail) = self.namespaces.get(namespace) {
            hasher.namespace(tail);
        }
        Digest(hasher.0.digest128())
    }
}

/// Hashes values so that different values never hash the same bytes: strings and lists are preceded by
/// their length, and variants by a number.
#[derive(Default)]
struct RuleHasher(Xxh3Default);

impl RuleHasher {
    fn namespace(&mut self, tail: &NamespaceTail) {
        self.optional(tail.others.as_ref());
        self.length(tail.services.len());
        for (service, tail) in &tail.services {
            self.text(service.as_str());
            self.optional(tail.others.as_ref());
            self.length(tail.operations.len());
            for (operation, named) in &tail.operations {
                self.text(operation.as_str());
                self.named(named);
            }
        }
    }

    fn optional(&mut self, named: Option<&NamedTail>) {
        self.choice(u8::from(named.is_some()));
        if let Some(named) = named {
            self.named(named);
        }
    }

    fn named(&mut self, (name, policy): &NamedTail) {
        self.text(name.as_str());
        self.0
            .update(&policy.otherwise().millionths().to_le_bytes());
        self.length(policy.keep().len());
        for Rule { name, condition } in policy.keep() {
            self.text(name.as_str());
            self.condition(condition);
        }
    }

    fn condition(&mut self, condition: &RuleCondition) {
        // These numbers are part of digests that are stored in the status of stacks: a new
        // condition takes a new number, and none is reused.
        match condition {
            RuleCondition::Error => self.choice(0),
            RuleCondition::SlowerThan(duration) => {
                self.choice(1);
                self.0.update(&duration.as_nanos().to_le_bytes());
            }
            RuleCondition::Attribute { key, values } => {
                self.choice(2);
                self.text(key.as_str());
                self.length(values.len());
                for value in values {
                    self.text(value);
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.update(text.as_bytes());
    }

    fn length(&mut self, length: usize) {
        // Of fixed size and order, since the two roles may run on different architectures.
        self.0.update(&(length as u64).to_le_bytes());
    }

    fn choice(&mut self, number: u8) {
        self.0.update(&[number]);
    }
}
