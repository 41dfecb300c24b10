//! The division of a request among samplers.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    ring::{Rings, Visited},
    writer::RequestWriter,
};
use crate::{
    ScanError, TraceId,
    memory::Reservation,
    scan::{Scanned, SourceLimits, scan_within},
};

/// A request, divided by the samplers that its spans go to.
#[derive(Debug)]
pub(super) struct Division {
    /// The generation of the rings by which it was divided.
    pub(super) generation: u64,
    pub(super) here: Here,
    pub(super) parts: Vec<Part>,
}

/// A division, with the result of scanning the spans that stay.
#[derive(Debug)]
pub(super) struct Divided<'a> {
    pub(super) division: Division,
    /// `None` if they are not a request of their own, or were not scanned yet.
    pub(super) staying: Option<Scanned<'a>>,
}

/// The spans of a request that stay.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Here {
    /// All of them.
    All,
    /// These, as a request.
    Request(Bytes),
    Nothing,
}

/// The spans of a request that go to another sampler.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) to: u16,
    pub(super) visited: Visited,
    pub(super) request: Bytes,
    pub(super) spans: u64,
}

/// Stands for this sampler among the destinations. No ordinal is as large.
const HERE: u64 = u64::MAX;

impl Division {
    /// A request of which all spans stay.
    pub(super) fn undivided() -> Self {
        Self {
            generation: 0,
            here: Here::All,
            parts: Vec::new(),
        }
    }

    /// The spans that stay, if they are a request of their own. A copy shares its bytes.
    pub(super) fn staying(&self) -> Option<Bytes> {
        match &self.here {
            Here::Request(request) => Some(request.clone()),
            Here::All | Here::Nothing => None,
        }
    }

    /// Divides a request at the sampler `own`, with at most one part for each other sampler: the
    /// spans of a request have visited the same samplers.
    pub(super) fn new(
        scanned: &Scanned<'_>,
        (rings, own): (&Rings, u16),
        visited: Visited,
        is_known: impl Fn(TraceId) -> bool,
    ) -> Self {
        let mut division = Self {
            generation: rings.generation(),
            ..Self::undivided()
        };
        if own == 0 && rings.max_members() == 1 {
            // The usual case, which needs no hashes.
            return division;
        }
        let mut after = visited;
        let mut last: Option<(TraceId, u64)> = None;
        let mut destinations = Vec::with_capacity(scanned.spans.len());
        for trace in scanned.trace_ids() {
            let to = match last {
                Some((last, to)) if last == trace => to,
                _ => match rings.next_hop(trace, visited, own, || is_known(trace)) {
                    None => HERE,
                    Some(hop) => {
                        after = hop.visited;
                        u64::from(hop.to)
                    }
                },
            };
            last = Some((trace, to));
            destinations.push(to);
        }
        if destinations.iter().all(|to| *to == HERE) {
            return division;
        }
        division.here = Here::Nothing;
        for (to, spans) in divide(scanned, &destinations) {
            let request = Bytes::from(spans.request());
            match u16::try_from(to) {
                Ok(to) => division.parts.push(Part {
                    to,
                    visited: after,
                    request,
                    spans: spans.count(),
                }),
                Err(_) => division.here = Here::Request(request),
            }
        }
        division
    }
}

/// Scans the spans of a divided request that stay.
pub(super) fn scan_staying(request: &[u8]) -> Result<Scanned<'_>, ScanError> {
    // They are a part of a request that was scanned within the bound on memory.
    let mut reservation = Reservation::unbounded();
    scan_within(request, SourceLimits::FORWARDER, &mut reservation)
}

/// Adds each span to the request for its destination.
fn divide<'s>(
    scanned: &'s Scanned<'_>,
    destinations: &'s [u64],
) -> BTreeMap<u64, RequestWriter<'s>> {
    let mut requests = BTreeMap::<u64, RequestWriter<'s>>::new();
    // `by_source` pairs each span with a number, which here is its destination. The namespace is
    // not a part of a request.
    for (source, spans) in scanned.by_source(destinations, None) {
        for (span, to) in spans {
            requests.entry(to).or_default().add(span, &source);
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;

    use super::*;
    use crate::{
        forward::tests::process::{ROOT, SpanNumber, request, request_of, spans_in},
        scan::scan,
    };

    fn rings(members: &[u32]) -> Rings {
        Rings::new(7, members).unwrap()
    }

    fn divide(spans: &[SpanNumber], rings: &Rings, is_known: bool) -> Division {
        let request = request(spans, 0);
        let scanned = scan(&request, &mut Reservation::unbounded()).unwrap();
        Division::new(&scanned, (rings, 0), Visited::default(), |_| is_known)
    }

    #[test]
    fn one_member_keeps_the_request() {
        let division = divide(&[(1, ROOT), (2, ROOT)], &rings(&[1]), false);
        assert_eq!((division.generation, division.here), (7, Here::All));
        assert!(division.parts.is_empty());
    }

    #[test]
    fn spans_are_divided_by_owner_and_keep_their_order() {
        let all: Vec<SpanNumber> = (0..60).map(|span| (span % 20, span / 20 + 1)).collect();
        let division = divide(&all, &rings(&[3]), false);
        let Here::Request(here) = &division.here else {
            unreachable!("some traces are owned here");
        };
        let mut found = spans_in(here);
        assert_eq!(division.staying().as_ref(), Some(here));
        assert_eq!(scan_staying(here).unwrap().spans.len(), found.len());
        assert!(found.is_sorted_by_key(|(_, number)| *number));
        assert_eq!(division.parts.len(), 2);
        for part in &division.parts {
            let spans = spans_in(&part.request);
            assert_eq!(spans.len() as u64, part.spans);
            assert_eq!(part.visited.generation, 7);
            assert_eq!(part.visited.members, 1);
            assert!(spans.is_sorted_by_key(|(_, number)| *number));
            found.extend(spans);
        }
        found.sort_unstable();
        let mut all = all;
        all.sort_unstable();
        assert_eq!(found, all);
    }

    /// The spans of a request with their services, and the number of its resources.
    fn services_in(request: &[u8]) -> (BTreeSet<(String, Vec<u8>)>, usize) {
        let request = ExportTraceServiceRequest::decode(request).unwrap();
        let resources = request.resource_spans.len();
        let spans = request.resource_spans.into_iter().flat_map(|of_resource| {
            let resource = of_resource.resource.unwrap();
            let spans = of_resource.scope_spans.into_iter().flat_map(|it| it.spans);
            let service = format!("{:?}", resource.attributes[0].value);
            spans.map(move |span| (service.clone(), [span.trace_id, span.span_id].concat()))
        });
        (spans.collect(), resources)
    }

    #[test]
    fn divided_spans_keep_their_resources() {
        let of = |service, numbers: std::ops::Range<u64>| {
            let spans = numbers.flat_map(|number| (0..20_u64).map(move |trace| (trace, number)));
            request_of(service, &spans.collect::<Vec<_>>(), 0)
        };
        // Encoded lists are concatenated.
        let request = [of("service-a", 1..4), of("service-b", 4..6)].concat();
        let scanned = scan(&request, &mut Reservation::unbounded()).unwrap();
        let division = Division::new(&scanned, (&rings(&[2]), 0), Visited::default(), |_| false);
        let here = division.staying().unwrap();
        let parts = division.parts.iter().map(|part| part.request.clone());
        let mut found = BTreeSet::new();
        for divided in parts.chain([here]) {
            let (spans, resources) = services_in(&divided);
            assert_eq!(resources, 2);
            found.extend(spans);
        }
        assert_eq!((found, 2), services_in(&request));
    }

    #[test]
    fn known_traces_stay_while_the_number_changes() {
        let rings = rings(&[2, 3]);
        let spans: Vec<SpanNumber> = (0..20).map(|trace| (trace, ROOT)).collect();
        assert_eq!(divide(&spans, &rings, true).here, Here::All);
        assert!(!divide(&spans, &rings, false).parts.is_empty());
    }
}
