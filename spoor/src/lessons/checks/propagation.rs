//! Lesson 5: a forged context, which reviews trusts and bands only links to.

use spoor_traces::tree::{Member, Position, Tree, value};

use super::first_trace::check_own_trace_id;
use crate::{
    cli::pluralize,
    lessons::{context::Context, report::Report},
    traces::{FoundTrace, printable},
};

const EDGE: &str = "bands";
const INSIDE: &str = "reviews";
/// The `tracestate` member that the lesson uses.
const MEMBER: &str = "smuggled";

pub(crate) async fn check(context: &Context) -> anyhow::Result<Report> {
    let inside = context.traces_of(INSIDE).await?;
    let edge = context.traces_of(EDGE).await?;
    let mut report = Report::default();
    let traces = pluralize(inside.len(), "trace", "traces");
    report.add_source(format!("{traces} of {INSIDE}, {} of {EDGE}", edge.len()));
    judge(&mut report, &inside, &edge);
    Ok(report)
}

fn judge(report: &mut Report, inside: &[FoundTrace], edge: &[FoundTrace]) {
    let joined = inside.iter().filter_map(|it| Some((it, joined(&it.tree)?)));
    let joined: Vec<(&FoundTrace, &Member)> = joined.collect();
    // The newest with the `tracestate` member, or else the newest, to report what it lacks.
    let has_member = |(_, span): &&(&FoundTrace, &Member)| has_key(span);
    let Some((found, span)) = joined.iter().find(has_member).or(joined.first()) else {
        let seen = "no span of reviews has a parent from outside; the context must be well-formed and sampled";
        report.missing("reviews continues your trace", seen);
        return;
    };
    report.passed("reviews continues your trace", &found.id);
    // A forged context has no root: its first span was never sent.
    let mut rows = found.tree.rows().iter();
    if let Some(root) = rows.find(|row| row.position == Position::Root) {
        let (id, service) = (&found.id, printable(root.member.service()));
        let seen = format!("{id} is the ID of a trace of {service}; generate a random one");
        report.wrong("a trace ID of your own", seen);
        return;
    }
    check_own_trace_id(report, &found.id);
    let state = printable(&span.span.trace_state);
    let what = "reviews passes on a tracestate with the member `smuggled`";
    let seen = match state.as_str() {
        "" => "the tracestate is empty",
        state => state,
    };
    report.expect(has_key(span), what, seen);
    check_edge(report, &found.id, &span.span.parent_span_id, edge);
}

/// Checks that bands links to the forged span and does not continue its trace.
fn check_edge(report: &mut Report, forged: &str, forged_span: &[u8], edge: &[FoundTrace]) {
    let what = "bands does not continue your trace";
    let edges = || {
        edge.iter()
            .flat_map(|found| of_service(&found.tree, EDGE).map(move |it| (found, it)))
    };
    if edges().any(|(found, _)| found.id == forged) {
        let seen = "a span of bands is in your trace; SPOOR_TRUSTED_PEERS must not be set";
        report.wrong(what, seen);
        return;
    }
    let links = || {
        edges().flat_map(|(found, span)| span.span.links.iter().map(move |it| (found, span, it)))
    };
    let linked = links()
        .find(|(_, _, link)| value::hex(&link.trace_id) == forged && link.span_id == forged_span);
    let Some((found, ..)) = linked else {
        let to_another_span = links().any(|(_, _, link)| value::hex(&link.trace_id) == forged);
        let seen = if to_another_span {
            "bands has a link to another span of it; send the same traceparent to both"
        } else {
            "no trace of bands has a link to it; send the same headers to bands, too"
        };
        report.missing(what, seen);
        return;
    };
    // The link does not record a tracestate, so it is unknown whether one was sent.
    let seen = "has a link to your traceparent; no span shows the tracestate that bands received";
    report.passed(what, format!("{} {seen}", found.id));
    if found.tree.rows().iter().any(|row| has_key(&row.member)) {
        let what = "bands does not pass on a tracestate member `smuggled`";
        report.wrong(what, "bands passed it on");
    }
}

/// The span of reviews whose parent was never sent, if the trace has one. Spans of reviews
/// that bands called also have no parent until the spans of bands arrive.
fn joined(tree: &Tree) -> Option<&Member> {
    let called_by_bands = of_service(tree, EDGE).next().is_some();
    let mut rows = tree.rows().iter();
    let row = rows.find(|row| {
        let is_entry = row.position == Position::MissingParent && row.member.service() == INSIDE;
        is_entry && (!called_by_bands || has_key(&row.member))
    })?;
    Some(&row.member)
}

fn of_service<'a>(tree: &'a Tree, service: &'a str) -> impl Iterator<Item = &'a Member> {
    let members = tree.rows().iter().map(|row| &row.member);
    members.filter(move |member| member.service() == service)
}

/// True if the `tracestate` of a span has the member that the lesson uses.
fn has_key(member: &Member) -> bool {
    let trace_state = &member.span.trace_state;
    let mut keys = trace_state.split(',').filter_map(|it| it.split_once('='));
    keys.any(|(key, _)| key.trim() == MEMBER)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, span::Link};

    use super::*;
    use crate::traces::spans::span;

    const FORGED: &str = "016220c2a05539cacbd7c7e677e51b14";

    fn changed(mut batch: ResourceSpans, change: impl FnOnce(&mut Span)) -> ResourceSpans {
        change(&mut batch.scope_spans[0].spans[0]);
        batch
    }

    fn found(id: &str, batch: ResourceSpans) -> FoundTrace {
        FoundTrace {
            id: id.to_owned(),
            tree: Tree::new(vec![batch]),
        }
    }

    fn forged_batch(state: &str) -> ResourceSpans {
        let batch = span(INSIDE, "GET /reviews/{id}", 1, 9, 0, 5);
        changed(batch, |span| span.trace_state = state.to_owned())
    }

    fn of_reviews(state: &str) -> FoundTrace {
        found(FORGED, forged_batch(state))
    }

    fn of_bands(id: &str, linked_span: u8, state: &str) -> FoundTrace {
        let trace_id = u128::from_str_radix(FORGED, 16).unwrap().to_be_bytes();
        let batch = span(EDGE, "GET /bands/{id}", 1, 0, 0, 5);
        let batch = changed(batch, |span| {
            span.trace_state = state.to_owned();
            span.links = vec![Link {
                trace_id: trace_id.to_vec(),
                span_id: vec![linked_span; 8],
                ..Link::default()
            }];
        });
        found(id, batch)
    }

    fn passes(inside: FoundTrace, edge: FoundTrace) -> bool {
        let mut report = Report::default();
        judge(&mut report, &[inside], &[edge]);
        report.is_passed()
    }

    #[test]
    fn passes_if_mesh_trusts_and_edge_only_links() {
        let other = "5cb28ab2ab2a7ffcb58a25f47c3a15e8";
        let inside = || of_reviews("smuggled=cargo");
        assert!(passes(inside(), of_bands(other, 9, "ot=th:0")));
        assert!(!passes(inside(), of_bands(other, 8, "")), "another parent");
        assert!(!passes(inside(), of_bands(FORGED, 9, "")), "joined");
        let smuggled = of_bands(other, 9, "smuggled=cargo");
        assert!(!passes(inside(), smuggled), "smuggled");
        assert!(!passes(of_reviews(""), of_bands(other, 9, "")), "no member");
        let root = span("gateway", "GET /api/wishes", 2, 0, 0, 9);
        let mut joined = inside();
        joined.tree = Tree::new(vec![root, forged_batch("smuggled=cargo")]);
        assert!(!passes(joined, of_bands(other, 9, "")), "another's trace");
        let without_link = found(other, span(EDGE, "GET /bands/{id}", 1, 0, 0, 5));
        assert!(!passes(inside(), without_link), "no link");
    }
}
