//! The documents' HTML.

use std::{fmt::Display, time::Duration};

use maud::{DOCTYPE, Markup, html};
use spoor_map::ServiceMap;

use super::{
    documents::{Document, link},
    markdown,
};
use crate::gateway::view::metadata;

/// Renders a page with a document, and `above` before it.
pub(super) fn page(document: &Document, above: Option<&Markup>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head { (metadata(&format!("{} · Spoor", document.title()), "/docs.css")) }
            body {
                nav aria-label="This host" {
                    a href="/" { "Wishlist" }
                    a href="/jaeger/" { "Traces" }
                    a href="/docs" { "Docs" }
                }
                @if let Some(above) = above { (above) }
                main { (markdown::html(document.text, link)) }
            }
        }
    }
}

/// Renders the mesh as the traces of a window of time show it, or the reason why it cannot be shown.
pub(super) fn mesh(result: &Result<ServiceMap, impl Display>, window: Duration) -> Markup {
    html! {
        section.picture aria-labelledby="mesh" {
            h2 #mesh { "The mesh now" }
            @match result {
                Ok(mesh) if mesh.services.is_empty() => p.nothing {
                    "There are no traces yet. Open "
                    a href="/" { "the wishlist" } ", then reload this page."
                },
                Ok(mesh) => (figure(mesh, window)),
                Err(error) => p.nothing role="alert" {
                    "The mesh cannot be drawn, because Jaeger failed: " (error) "."
                },
            }
        }
    }
}

fn figure(mesh: &ServiceMap, window: Duration) -> Markup {
    let minutes = window.as_secs() / 60;
    html! {
        p {
            "Calls and errors are those in the traces of the last " (minutes) " minutes that "
            "the sampling policies kept. Services and calls with errors are red."
        }
        div.scroll tabindex="0" { (spoor_map::svg(mesh)) }
        @if mesh.left_out > 0 { p { "Services not shown: " (mesh.left_out) "." } }
        @if mesh.calls.is_empty() {
            p { "There are no calls between services yet." }
        } @else {
            details {
                summary { "Show as a table" }
                (spoor_map::table(mesh))
            }
        }
    }
}
