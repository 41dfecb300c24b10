//! Heads that drop traces before a policy's tail rules can keep them.

use std::{collections::BTreeMap, fmt};

use crate::{OperationName, PolicyName, Probability, ServiceName, TailPolicy, message::listed};

/// The most heads that a warning names, the most places of each head, and the most exceptions of
/// each place.
const MAX_NAMED: usize = 3;

/// A place. Without a service, the whole namespace; without an operation, the whole service.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) service: Option<&'a ServiceName>,
    pub(crate) operation: Option<&'a OperationName>,
}

/// A head below 100 %: its probability and policy.
pub(crate) type Head<'a> = (Probability, &'a PolicyName);

/// The heads below 100 % at the places of one policy's tail.
#[derive(Default)]
pub(crate) struct TailHeads<'a>(BTreeMap<Head<'a>, Vec<Extent<'a>>>);

/// A place, and the smaller places in it where another head or tail decides.
struct Extent<'a> {
    place: Place<'a>,
    except: Vec<Place<'a>>,
}

impl<'a> TailHeads<'a> {
    /// Adds a place with its head. Larger places come before those that they contain.
    pub(crate) fn add(&mut self, head: Head<'a>, place: Place<'a>) {
        let (extents, except) = (self.0.entry(head).or_default(), vec![]);
        extents.push(Extent { place, except });
    }

    /// Excludes a place from the smallest one around it that has this head.
    pub(crate) fn exclude(&mut self, head: Head<'a>, place: Place<'a>) {
        let mut extents = self.0.get_mut(&head).into_iter().flatten();
        // The smallest one was added last.
        if let Some(around) = extents.rfind(|it| it.place.contains(place)) {
            around.except.push(place);
        }
    }

    /// The warning for the policy's author, if a head withholds traces from its tail.
    pub(crate) fn warning(&self, policy: &PolicyName, tail: &TailPolicy) -> Option<String> {
        // `otherwise` is the probability of head and tail together, so a head with at least that
        // probability withholds none of the traces that match no rule.
        let withholds = |share: Probability| !tail.keep().is_empty() || tail.otherwise() > share;
        let withholding = self.0.iter().filter(|((share, _), _)| withholds(*share));
        let describe = |((share, by), extents): (&Head<'a>, &Vec<Extent<'a>>)| {
            let by = match *by == policy {
                true => "its own head".to_owned(),
                false => format!("\"{by}\""),
            };
            format!("{share} by {by} at {}", listed(extents, MAX_NAMED))
        };
        let heads: Vec<String> = withholding.map(describe).collect();
        if heads.is_empty() {
            return None;
        }
        let all_kept = match self.0.keys().any(|(share, _)| tail.otherwise() > *share) {
            true => {
                "; where a head keeps less than `tail.otherwise`, the tail keeps every trace that \
                 it receives"
            }
            false => "",
        };
        let heads = listed(&heads, MAX_NAMED);
        Some(format!(
            "tail rules apply only to the traces that a head keeps: {heads}{all_kept}"
        ))
    }
}

impl Place<'_> {
    fn contains(self, other: Place<'_>) -> bool {
        self.service.is_none() || self.service == other.service && self.operation.is_none()
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.service, self.operation) {
            (None, _) => f.write_str("every service"),
            (Some(service), None) => service.fmt(f),
            (Some(service), Some(operation)) => write!(f, "{service} {:?}", operation.as_str()),
        }
    }
}

impl fmt::Display for Extent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, except } = self;
        place.fmt(f)?;
        if except.is_empty() {
            return Ok(());
        }
        let name = |it: &Place<'_>| match (place.service, it.operation) {
            // The service has been written before.
            (Some(_), Some(operation)) => format!("{:?}", operation.as_str()),
            _ => it.to_string(),
        };
        let except: Vec<String> = except.iter().map(name).collect();
        write!(f, " (except {})", listed(&except, MAX_NAMED))
    }
}
