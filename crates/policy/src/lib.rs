//! Sampling policies: validated types, resolution and statistics.
//!
//! Pure: no I/O, no async, no Kubernetes. Values of these types are valid by construction.
//! [`resolve`] turns all policies into one [`PolicyTable`] and one [`TailTable`], with an [`Outcome`]
//! for each policy.

mod binomial;
mod fault;
pub mod message;
mod name;
mod outcome;
mod outcomes;
mod policy;
mod probability;
mod ranking;
mod resolve;
pub mod statistics;
mod strategy;
mod succession;
mod suggestions;
mod table;
mod tail;
mod tail_heads;
mod version;

pub use fault::{Fault, FaultDelay, InvalidFaultDelay};
pub use name::{
    AttributeKey, InvalidName, Namespace, OperationName, PolicyKey, PolicyName, RuleName,
    ServiceName,
};
pub use outcome::{Acceptance, Effective, Outcome, Overridden, Part, Precedence, Setting};
pub use policy::{InvalidPolicy, Policy, PolicyFields, Target};
pub use probability::{InvalidProbability, Probability, Threshold};
pub use resolve::{Resolution, resolve};
pub use strategy::{InvalidRate, Strategy, TracesPerSecond};
pub use suggestions::{closest_name, suggest_operation, unseen_operation};
pub use table::{Assigned, Plan, PolicyPhase, PolicyTable, Strategies};
pub use tail::{
    AttributeValue, InvalidCondition, InvalidTail, InvalidTailTable, OwnedTailPlace, Rule,
    RuleCondition, TailPlace, TailPolicy, TailTable,
};
pub use version::{Digest, Version};
