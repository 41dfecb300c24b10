//! Lesson 5: one forged context, which reviews believes and bands only links.

use spoor_traces::tree::{Member, Place as InTree, Tree, value};

use super::first_trace::drawn;
use crate::{
    lessons::{place::Place, report::Report},
    traces::{Found, printable},
};

const EDGE: &str = "bands";
const INSIDE: &str = "reviews";
/// What the lesson calls the member of `tracestate`.
const MEMBER: &str = "smuggled";

pub(crate) async fn check(place: &Place) -> anyhow::Result<Report> {
    let inside = place.traces_of(INSIDE).await?;
    let edge = place.traces_of(EDGE).await?;
    let mut report = Report::new();
    report.looked_at(format!(
        "{} traces of {INSIDE}, {} of {EDGE}",
        inside.len(),
        edge.len()
    ));
    judge(&mut report, &inside, &edge);
    Ok(report)
}

fn judge(report: &mut Report, inside: &[Found], edge: &[Found]) {
    let joined = inside
        .iter()
        .filter_map(|found| Some((found, joined(&found.tree)?)));
    let joined: Vec<(&Found, &Member)> = joined.collect();
    // The newest that has all that is asked for; else the newest, to say what it lacks.
    let whole = |(_, span): &&(&Found, &Member)| carries(span);
    let Some((found, span)) = joined.iter().find(whole).or(joined.first()) else {
        report.missing(
            "reviews goes on with a trace of yours",
            "no span of reviews has a parent from outside: was the context well formed, and sampled?",
        );
        return;
    };
    report.passed("reviews goes on with a trace of yours", &found.id);
    match drawn(&found.id) {
        Ok(()) => report.passed("a trace id that is random", ""),
        Err(why) => report.wrong("a trace id that is random", why),
    }
    let state = printable(&span.span.trace_state);
    report.expect(
        carries(span),
        "a member `smuggled` in the tracestate that reviews hands on",
        if state.is_empty() {
            "it has none".to_owned()
        } else {
            state
        },
    );
    refused(report, &found.id, &span.span.parent_span_id, edge);
}

/// bands has the forged span of the forged trace as a link, and as nothing else.
fn refused(report: &mut Report, forged: &str, forged_span: &[u8], edge: &[Found]) {
    let what = "bands does not join it";
    let edges = || {
        edge.iter()
            .flat_map(|found| of_service(&found.tree, EDGE).map(move |it| (found, it)))
    };
    if edges().any(|(found, _)| found.id == forged) {
        report.wrong(
            what,
            "a span of bands is in it: is SPOOR_TRUSTED_PEERS set?",
        );
        return;
    }
    let linked = edges().find(|(_, span)| {
        let mut links = span.span.links.iter();
        links.any(|link| value::hex(&link.trace_id) == forged && link.span_id == forged_span)
    });
    let Some((found, _)) = linked else {
        report.missing(
            what,
            "no trace of bands has a link to it: send the same headers there, too",
        );
        return;
    };
    report.passed(what, format!("{} has a link to it", found.id));
    let smuggled = found.tree.rows().iter().any(|row| carries(&row.member));
    if smuggled {
        report.wrong(
            "nothing is smuggled through bands",
            "the tracestate came through",
        );
    } else {
        report.passed("nothing is smuggled through bands", "");
    }
}

/// The span of reviews in this trace whose parent nobody has sent. While bands' spans are on
/// their way, those that it has called look like that, too.
fn joined(tree: &Tree) -> Option<&Member> {
    let called_by_bands = of_service(tree, EDGE).next().is_some();
    let mut rows = tree.rows().iter();
    let row = rows.find(|row| {
        let from_outside = row.place == InTree::MissingParent && row.member.service() == INSIDE;
        from_outside && (!called_by_bands || carries(&row.member))
    })?;
    Some(&row.member)
}

fn of_service<'a>(tree: &'a Tree, service: &'a str) -> impl Iterator<Item = &'a Member> {
    let members = tree.rows().iter().map(|row| &row.member);
    members.filter(move |member| member.service() == service)
}

fn carries(member: &Member) -> bool {
    let mut keys = member
        .span
        .trace_state
        .split(',')
        .filter_map(|it| it.split_once('='));
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

    fn found(id: &str, batch: ResourceSpans) -> Found {
        Found {
            id: id.to_owned(),
            tree: Tree::new(vec![batch]),
        }
    }

    fn of_reviews(state: &str) -> Found {
        let batch = span(INSIDE, "GET /reviews/{id}", 1, 9, 0, 5);
        found(
            FORGED,
            changed(batch, |span| span.trace_state = state.to_owned()),
        )
    }

    fn of_bands(id: &str, linked_span: u8, state: &str) -> Found {
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

    fn passes(inside: Found, edge: Found) -> bool {
        let mut report = Report::new();
        judge(&mut report, &[inside], &[edge]);
        report.is_passed()
    }

    #[test]
    fn one_forged_context_at_both_is_right() {
        let other = "5cb28ab2ab2a7ffcb58a25f47c3a15e8";
        let inside = || of_reviews("smuggled=cargo");
        assert!(passes(inside(), of_bands(other, 9, "ot=th:0")));
        assert!(!passes(inside(), of_bands(other, 8, "")), "another parent");
        assert!(!passes(inside(), of_bands(FORGED, 9, "")), "joined");
        let smuggled = of_bands(other, 9, "smuggled=cargo");
        assert!(!passes(inside(), smuggled), "smuggled");
        assert!(!passes(of_reviews(""), of_bands(other, 9, "")), "no member");
        let without_link = found(other, span(EDGE, "GET /bands/{id}", 1, 0, 0, 5));
        assert!(!passes(inside(), without_link), "no link");
    }
}
