//! What stands for a namespace's tail rules.

use xxhash_rust::xxh3::Xxh3Default;

use super::{Condition, Named, NamespaceTail, Rule, TailTable};
use crate::{Digest, Namespace};

impl TailTable {
    /// Stands for all that a namespace's traces are kept by: policies' names and rules. The same
    /// for the same rules in every process and at every time.
    #[must_use]
    pub fn digest(&self, namespace: &Namespace) -> Digest {
        let mut writing = Writing::default();
        if let Some(tail) = self.namespaces.get(namespace) {
            writing.namespace(tail);
        }
        Digest(writing.0.digest128())
    }
}

/// Hashes values so that no two sequences of them are one sequence of bytes: texts and lists come
/// after their length, choices after a number of their own.
#[derive(Default)]
struct Writing(Xxh3Default);

impl Writing {
    fn namespace(&mut self, tail: &NamespaceTail) {
        self.optional(tail.otherwise.as_ref());
        self.length(tail.services.len());
        for (service, tail) in &tail.services {
            self.text(service.as_str());
            self.optional(tail.otherwise.as_ref());
            self.length(tail.operations.len());
            for (operation, named) in &tail.operations {
                self.text(operation.as_str());
                self.named(named);
            }
        }
    }

    fn optional(&mut self, named: Option<&Named>) {
        self.choice(u8::from(named.is_some()));
        if let Some(named) = named {
            self.named(named);
        }
    }

    fn named(&mut self, (name, policy): &Named) {
        self.text(name.as_str());
        self.0
            .update(&policy.otherwise().millionths().to_le_bytes());
        self.length(policy.keep().len());
        for Rule { name, condition } in policy.keep() {
            self.text(name.as_str());
            self.condition(condition);
        }
    }

    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::Error => self.choice(0),
            Condition::SlowerThan(duration) => {
                self.choice(1);
                self.0.update(&duration.as_nanos().to_le_bytes());
            }
            Condition::Attribute { key, values } => {
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
        self.0.update(&(length as u64).to_le_bytes());
    }

    fn choice(&mut self, number: u8) {
        self.0.update(&[number]);
    }
}
