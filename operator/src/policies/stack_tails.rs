//! The stacks of a namespace, as far as they apply its tail rules.

use std::collections::{BTreeMap, BTreeSet};

use spoor_control::SamplerState;
use spoor_policy::{Digest, Namespace};
use spoor_status::{SamplerProgress, TailRules};

use super::{objects::StackState, sources::SourcesSnapshot};

/// The means by which a namespace's stacks apply its tail rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StackTails {
    /// The state of each stack that is known without its samplers.
    stacks: Vec<TailRules>,
    /// The Ready samplers of the other stacks.
    samplers: BTreeSet<String>,
}

impl StackTails {
    /// The stacks of each namespace that has tail rules, with the digest of these.
    pub(super) fn of(
        digests: &BTreeMap<Namespace, Digest>,
        snapshot: &SourcesSnapshot,
    ) -> BTreeMap<Namespace, Self> {
        let samplers = Samplers::of(snapshot);
        let tails = digests.iter().map(|(namespace, digest)| {
            let digest = digest.to_string();
            let mut tails = Self::default();
            let stacks = snapshot.stacks.iter();
            for stack in stacks.filter(|stack| stack.namespace == *namespace) {
                let known = samplers.0.get(&(namespace, stack.name.as_str()));
                tails.add(stack, known, &digest);
            }
            (namespace.clone(), tails)
        });
        tails.collect()
    }

    fn add(&mut self, stack: &StackState, samplers: Option<&BTreeSet<&str>>, digest: &str) {
        let name = stack.name.clone();
        let is_changing_engine = is_changing_engine(stack, samplers);
        // Once the spec has no samplers, the former ones stay until they have sent everything.
        let has_samplers = stack.can_apply_rules && !stack.is_stock_sampler_requested;
        let samplers = samplers.filter(|_| has_samplers && !is_changing_engine);
        // From the spec first, since the status still shows the former route while traffic moves.
        let rules = if stack.is_direct_requested {
            TailRules::RouteIsDirect(name)
        } else if let Some(ready) = samplers {
            if !stack.is_through_collector {
                TailRules::RollingOut(name)
            } else if ready.is_empty() {
                TailRules::NoSamplerReady(name)
            } else {
                let ready = ready.iter().map(|name| (*name).to_owned());
                self.samplers.extend(ready);
                return;
            }
        } else if !stack.can_apply_rules {
            TailRules::CollectorNotManaged(name)
        } else if stack.is_through_collector && stack.tail_digest.as_deref() == Some(digest) {
            TailRules::InForce
        } else if is_changing_engine {
            TailRules::ChangingEngine(name)
        } else {
            TailRules::RollingOut(name)
        };
        self.stacks.push(rules);
    }

    /// The state of the rules. `known` are the samplers that are connected or were.
    pub(super) fn rules(&self, known: &[SamplerState]) -> TailRules {
        let expected = self.samplers.iter().map(String::as_str);
        let progress = SamplerProgress::new(expected, known);
        let of_samplers = (!self.samplers.is_empty()).then(|| TailRules::of_samplers(progress));
        TailRules::worst_of(self.stacks.iter().cloned().chain(of_samplers))
    }
}

/// The namespaces of stacks that are changing their engine. Until that is done, the samplers in
/// these namespaces get no rules, and keep every trace: a trace may have spans in both engines, and
/// each would decide on its own part.
pub(super) fn namespaces_without_rules(snapshot: &SourcesSnapshot) -> BTreeSet<Namespace> {
    let samplers = Samplers::of(snapshot);
    let stacks = snapshot.stacks.iter();
    let changing = stacks.filter(|stack| {
        let of_stack = samplers.0.get(&(&stack.namespace, stack.name.as_str()));
        is_changing_engine(stack, of_stack)
    });
    changing.map(|stack| stack.namespace.clone()).collect()
}

/// True if a stack has Spoor's samplers while its status has rules of the Collector's own sampler.
fn is_changing_engine(stack: &StackState, samplers: Option<&BTreeSet<&str>>) -> bool {
    samplers.is_some() && stack.tail_digest.is_some()
}

/// The Ready samplers of each stack that has any sampler, Ready or not.
struct Samplers<'a>(BTreeMap<(&'a Namespace, &'a str), BTreeSet<&'a str>>);

impl<'a> Samplers<'a> {
    fn of(snapshot: &'a SourcesSnapshot) -> Self {
        let mut samplers: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
        for pod in &snapshot.pods {
            let Some(stack) = &pod.sampler_of else {
                continue;
            };
            let of_stack = samplers
                .entry((&pod.namespace, stack.as_str()))
                .or_default();
            if pod.is_ready {
                of_stack.insert(pod.name.as_str());
            }
        }
        Self(samplers)
    }
}
