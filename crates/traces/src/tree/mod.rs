//! A trace as a tree: who called whom, what each span did by itself, and which work the trace's
//! duration is made of.
//!
//! Pure: from decoded spans to rows in the order in which a waterfall shows them. Nothing about
//! the spans is trusted: parents may be missing or form a cycle, clocks may disagree, ids may
//! repeat.

mod bottleneck;
mod build;
mod critical;
mod member;
mod skew;
pub mod value;
pub mod warnings;

pub use bottleneck::Bottleneck;
pub use build::{EXERCISE_USER_AGENT, Place, Row, Tree};
pub use critical::Segment;
pub(crate) use member::service_name;
pub use member::{Member, members};
pub use skew::correct_clock_skew;
