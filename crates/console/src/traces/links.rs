//! Links between spans, in both directions.

use std::collections::HashMap;

use maud::{Markup, html};
use opentelemetry_proto::tonic::trace::v1::span::Link;
use spoor_traces::{
    TraceId,
    tree::{Row, Tree, value},
};

use super::{
    details::{MAX_LISTED, left_out, table},
    listed::display_name,
    waterfall::View,
};
use crate::{layout::Site, text};

/// The spans of a trace that link to another of its spans, by the ID of the latter.
#[derive(Debug)]
pub struct LinkedFrom<'a>(HashMap<&'a [u8], Vec<usize>>);

impl<'a> LinkedFrom<'a> {
    /// Collects the links within a trace. Those from other traces are not known: no index has them.
    pub fn new(id: TraceId, tree: &'a Tree) -> Self {
        let mut linked: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (index, row) in tree.rows().iter().enumerate() {
            let links = row.member.span.links.iter();
            for link in links.filter(|link| link.trace_id == id.to_bytes()) {
                let from = linked.entry(&link.span_id).or_default();
                if from.len() <= MAX_LISTED && from.last() != Some(&index) {
                    from.push(index);
                }
            }
        }
        Self(linked)
    }

    fn of(&self, row: &Row) -> &[usize] {
        let from = self.0.get(row.member.span.span_id.as_slice());
        from.map(Vec::as_slice).unwrap_or_default()
    }
}

/// The links of a row to other spans, and from others to it.
pub fn links(view: &View<'_>, row: &Row) -> Markup {
    let links = &row.member.span.links;
    let from = view.linked_from.of(row);
    html! {
        @if !links.is_empty() {
            h2 { "Links" }
            ul .links {
                @for link in links.iter().take(MAX_LISTED) {
                    li {
                        (linked_span(view.site, link))
                        @if !link.attributes.is_empty() { (table(&link.attributes, None)) }
                    }
                }
            }
            (left_out(links.len()))
        }
        @if !from.is_empty() {
            h2 { "Linked from" }
            ul .links {
                @for index in from.iter().take(MAX_LISTED) { li { (linking_span(view, *index)) } }
            }
            @if from.len() > MAX_LISTED { p .cut { "Further spans link to it." } }
        }
    }
}

/// A link to a row that links to another one.
fn linking_span(view: &View<'_>, index: usize) -> Markup {
    html! {
        @if let Some(row) = view.tree.rows().get(index) {
            a href=(view.link_to(index, row)) {
                (text::cut(row.member.service(), 80)) " "
                b { (text::cut(display_name(&row.member.span.name), 120)) }
            }
        }
    }
}

fn linked_span(site: &Site, link: &Link) -> Markup {
    let id = <[u8; 16]>::try_from(link.trace_id.as_slice()).map(TraceId::from_bytes);
    let span = value::hex(&link.span_id);
    let is_span = link.span_id.len() == 8 && !value::is_zero(&link.span_id);
    html! {
        @if value::is_zero(&link.trace_id) {
            "A link without a trace ID"
        } @else {
            @if let Ok(id) = id {
                "Trace " a href=(site.link(&format!("trace/{id}"))) { code { (id) } }
                @if is_span {
                    ", span " a href=(site.link(&format!("trace/{id}#span-{span}"))) { code { (span) } }
                }
            } @else {
                "Trace " code { (text::cut(&value::hex(&link.trace_id), 64)) }
            }
            @if !is_span || id.is_err() { ", span " code { (text::cut(&span, 64)) } }
        }
    }
}
