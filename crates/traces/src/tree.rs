//! A trace as a tree: the calls, each span's own time, and the work that makes up the trace's
//! duration.
//!
//! Pure functions from decoded spans to rows in the order in which a waterfall shows them. The
//! spans are not trusted: parents may be missing or form a cycle, clocks may disagree, IDs may
//! repeat.

mod bottleneck;
mod build;
mod comparison;
mod critical;
mod fisher;
mod flame;
mod groups;
mod ids;
mod member;
mod operations;
mod over_represented;
mod paths;
mod row;
mod skew;
pub mod value;
pub mod warnings;

pub use bottleneck::Bottleneck;
pub use build::{EXERCISE_USER_AGENT, Tree};
pub use comparison::{ComparedPath, PathTimes, TreeComparison};
pub use flame::{FlameFrame, FlameGraph};
pub use groups::Group;
pub(crate) use ids::warn_about_ids;
pub use member::{Member, members};
pub(crate) use member::{service_name, spans, spans_mut};
pub use operations::OperationStatistics;
pub use over_represented::{Feature, Finding, features, over_represented};
pub use row::{CriticalSegment, Position, Row};
pub use skew::correct_clock_skew;
