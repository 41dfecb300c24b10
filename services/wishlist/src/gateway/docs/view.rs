//! The documents' HTML.

use maud::{DOCTYPE, Markup, html};

use super::{
    Document, link, markdown,
    mesh::Mesh,
    picture,
    seen::{Seen, WINDOW},
    visible::visible,
};

/// A whole page; `above` stands before the document's text.
pub(super) fn page(document: &Document, above: Option<Markup>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (document.title()) " · Spoor" }
                link rel="stylesheet" href="/docs.css";
                link rel="icon" type="image/svg+xml" href="/icon.svg";
            }
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

/// The mesh, or why it cannot be shown.
pub(super) fn mesh(seen: &Seen) -> Markup {
    html! {
        section.picture aria-labelledby="mesh" {
            h2 #mesh { "The mesh, as it runs" }
            @match seen {
                Ok(mesh) if mesh.services.is_empty() => p.nothing {
                    "Nothing has been seen yet: there is no trace. Open "
                    a href="/" { "the wishlist" } ", and look again."
                },
                Ok(mesh) => (drawn(mesh)),
                Err(unseen) => p.nothing role="alert" {
                    "It cannot be drawn: Jaeger was queried, but " (unseen) "."
                },
            }
        }
    }
}

fn drawn(mesh: &Mesh) -> Markup {
    let minutes = WINDOW.as_secs() / 60;
    html! {
        p {
            "Drawn from the traces of the last " (minutes) " minutes, as far as the sampling "
            "policies kept them. Red: something failed."
        }
        div.scroll tabindex="0" { (picture::svg(mesh)) }
        @if mesh.left_out > 0 { p { (mesh.left_out) " more services had no room." } }
        @if mesh.calls.is_empty() {
            p { "No service has called another yet." }
        } @else {
            details {
                summary { "The same as a table" }
                table {
                    thead { tr { th { "from" } th { "to" } th { "calls" } th { "errors" } } }
                    tbody {
                        @for ((from, to), call) in &mesh.calls {
                            tr {
                                td { (visible(from)) } td { (visible(to)) } td.number { (call.count) }
                                td { @if call.failed { "yes" } @else { "none seen" } }
                            }
                        }
                    }
                }
            }
        }
    }
}
