//! The layout that all pages share.

use axum::response::Html;
use http::Uri;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The relative path from a page to the root, so that links work under any prefix.
#[derive(Clone, Debug)]
pub struct Site {
    root: String,
}

const MARK: PreEscaped<&str> = PreEscaped(include_str!("favicon.svg"));

impl Site {
    /// The site relative to the page at a URI.
    pub fn of(uri: &Uri) -> Self {
        // Bounded, since anyone may request a path of slashes.
        let depth = uri.path().matches('/').count().saturating_sub(1).min(16);
        let root = match depth {
            0 => "./".to_owned(),
            depth => "../".repeat(depth),
        };
        Self { root }
    }

    /// A link to a path, given without a leading slash.
    pub fn link(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// A complete page.
    pub fn document(&self, title: &str, content: Markup) -> Html<String> {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " · Spoor" }
                    link rel="icon" type="image/svg+xml" href=(self.link("favicon.svg"));
                    link rel="stylesheet" href=(self.link("style.css"));
                }
                body {
                    a .skip href="#content" { "Skip to content" }
                    header .top {
                        a .brand href=(self.link("")) { (MARK) span { "Spoor" } }
                        form .by-id action=(self.link("trace")) {
                            label .hidden for="by-id" { "Trace ID" }
                            input #by-id name="id" placeholder="Trace ID"
                                autocomplete="off" spellcheck="false" required;
                            button .quiet { "Open" }
                        }
                    }
                    main #content { (content) }
                }
            }
        };
        Html(page.into_string())
    }

    /// A page with a message and a link to the search.
    pub fn notice(&self, title: &str, heading: &str, message: Markup) -> Html<String> {
        let content = html! {
            section .notice {
                h1 { (heading) }
                (message)
                p { a .button href=(self.link("")) { "Search for traces" } }
            }
        };
        self.document(title, content)
    }
}
