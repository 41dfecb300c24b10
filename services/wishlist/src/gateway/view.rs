//! The HTML of the page. `maud` escapes all inserted values.

use std::collections::HashMap;

use http::StatusCode;
use maud::{DOCTYPE, Markup, html};
use opentelemetry::trace::TraceId;

use super::{
    offers::{Listing, Offer, OffersError, UnavailableMarketplace},
    traces::TraceUrl,
    wishes::{Wish, WishError},
};
use crate::WishName;

/// The content of the page.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) status: StatusCode,
    /// The wishes with their offers; `None` if the wishes are unavailable.
    pub(super) wishes: Option<(Vec<Wish>, Result<Listing, OffersError>)>,
    pub(super) notice: Option<Notice>,
    /// The text of an invalid name, to be corrected.
    pub(super) name: String,
    /// The error in the name.
    pub(super) name_error: Option<String>,
}

/// The result of the last request.
#[derive(Debug)]
pub(super) enum Notice {
    Done {
        text: &'static str,
        trace: Option<TraceId>,
    },
    Failed(String),
}

impl Content {
    pub(super) fn failed(failure: &WishError, name: String) -> Self {
        let (notice, name_error) = match failure {
            WishError::Name(error) => (None, Some(error.to_string())),
            WishError::NotFound => (Some("This wish was already deleted.".to_owned()), None),
            other => (Some(other.to_string()), None),
        };
        let notice = notice.map(Notice::Failed);
        Self {
            status: failure.status(),
            notice,
            name,
            name_error,
            ..Self::default()
        }
    }
}

/// Renders the page. `trace` is the trace of the current request.
pub(super) fn page(content: &Content, trace: Option<TraceId>, trace_url: &TraceUrl) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (metadata(title(content), "/style.css"))
                script src="/offers.js" defer {}
            }
            body {
                header {
                    h1 { img src="/icon.svg" alt="" width="36" height="36"; " Wishlist" }
                    p { "What would you like to have?" }
                }
                main {
                    @if let Some(notice) = &content.notice { (self::notice(notice, trace_url)) }
                    (form(content))
                    @if let Some((wishes, offers)) = &content.wishes { (wish_list(wishes, offers)) }
                }
                (footer(trace, trace_url))
            }
        }
    }
}

/// The metadata of any of the gateway's pages.
pub(super) fn metadata(title: &str, stylesheet: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) }
        link rel="stylesheet" href=(stylesheet);
        link rel="icon" type="image/svg+xml" href="/icon.svg";
    }
}

fn title(content: &Content) -> &'static str {
    // Screen readers read the title first, so it says whether there is an error.
    match (&content.notice, &content.name_error) {
        (Some(Notice::Failed(_)), _) | (_, Some(_)) => "Error: Wishlist",
        _ => "Wishlist",
    }
}

fn notice(notice: &Notice, trace_url: &TraceUrl) -> Markup {
    html! {
        @match notice {
            Notice::Done { text, trace } => p.notice.done role="status" {
                (text)
                @if let Some(trace) = trace { " " a href=(trace_url.of(*trace)) { "View the trace" } }
            },
            Notice::Failed(text) => p.notice.failed role="alert" { (sentence(text)) },
        }
    }
}

fn form(content: &Content) -> Markup {
    let error = content.name_error.as_deref();
    html! {
        form.add action="/wishes" method="post" {
            label for="name" { "New wish" }
            div.row {
                input #name name="name" type="text" value=(content.name) required
                    maxlength=(WishName::MAX_CHARS) autocomplete="off" placeholder="A red bicycle"
                    autofocus[error.is_some()] aria-invalid=[error.map(|_| "true")]
                    aria-describedby=[error.map(|_| "name-error")];
                button type="submit" { "Add" }
            }
            @if let Some(error) = error { p #name-error .error role="alert" { "The name " (error) "." } }
        }
    }
}

fn wish_list(wishes: &[Wish], offers: &Result<Listing, OffersError>) -> Markup {
    let mut by_wish: HashMap<&str, Vec<&Offer>> = HashMap::new();
    for offer in offers.iter().flat_map(|listing| &listing.offers) {
        by_wish.entry(&offer.wish_id).or_default().push(offer);
    }
    html! {
        section aria-labelledby="wishes" {
            h2 #wishes { "Your wishes" span.count { (wishes.len()) } }
            @if wishes.is_empty() {
                p.empty { "Nothing here yet. Add the first one above." }
            } @else {
                // A live region, so that screen readers announce the script's updates.
                p #offers-state .state role="status" { (offers_status(offers)) }
                ul.wishes { @for wish in wishes { (wish_item(wish, by_wish.get(wish.id.as_str()))) } }
            }
        }
    }
}

/// The marketplaces whose offers are missing, with the reasons. The script updates this text in
/// the same format.
fn offers_status(offers: &Result<Listing, OffersError>) -> String {
    match offers {
        Err(error) => format!("Cannot update offers: {error}."),
        Ok(Listing { missing, .. }) if missing.is_empty() => String::new(),
        Ok(Listing { missing, .. }) => {
            let text = |it: &UnavailableMarketplace| format!("{} ({})", it.marketplace, it.why);
            let texts: Vec<String> = missing.iter().map(text).collect();
            format!("Unavailable marketplaces: {}.", texts.join(", "))
        }
    }
}

fn wish_item(wish: &Wish, offers: Option<&Vec<&Offer>>) -> Markup {
    html! {
        li {
            div.wish {
                span.name dir="auto" { (wish.name) }
                time datetime=(wish.created) { (wish.created.strftime("%-d %b %Y, %H:%M UTC")) }
            }
            form action={ "/wishes/" (wish.id) "/delete" } method="post" {
                button.quiet type="submit" aria-label={ "Delete " (wish.name) } { "Delete" }
            }
            ul.offers data-wish=(wish.id) aria-label={ "Offers for " (wish.name) } {
                @for offer in offers.into_iter().flatten() { (offer_item(offer)) }
            }
            p.none { "No offers yet." }
        }
    }
}

/// An offer. The script renders new ones in the same format.
fn offer_item(offer: &Offer) -> Markup {
    html! {
        li data-offer={ (offer.marketplace) "/" (offer.id) } data-price=(offer.price) {
            span.price { (offer.price) " " (offer.currency) } " "
            span.title dir="auto" { (offer.title) } " "
            span.where { (offer.seller) " on " (offer.marketplace) }
        }
    }
}

fn footer(trace: Option<TraceId>, trace_url: &TraceUrl) -> Markup {
    html! {
        footer {
            @if let Some(trace) = trace {
                p {
                    "This page's trace: "
                    a href=(trace_url.of(trace)) { code { (trace) } }
                }
                p { "The link leads nowhere if the sampling policy did not keep this trace." }
            }
            p {
                "JSON API: " a href="/api/wishes" { code { "/api/wishes" } } ", " a href="/api/offers" { code { "/api/offers" } } ". All traces: "
                a href="/jaeger/" { code { "/jaeger" } } ". Architecture: "
                a href="/docs" { code { "/docs" } } "."
            }
        }
    }
}

/// Turns an error message, which has no capital and no full stop, into a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    let first: String = first.into_iter().flatten().collect();
    let is_sentence = text.ends_with(['.', '!', '?']);
    let stop = if is_sentence { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;

    use super::*;

    const HOSTILE: &str = r#"</span><script>alert("x")</script><img src=x onerror='y'>"#;

    fn rendered(content: &Content) -> String {
        let trace_url: TraceUrl = "http://traces/{id}".parse().unwrap();
        page(content, None, &trace_url).into_string()
    }

    #[test]
    fn hostile_names_are_escaped_everywhere() {
        let wish = Wish {
            id: "1".into(),
            name: HOSTILE.into(),
            created: Timestamp::UNIX_EPOCH,
        };
        let html = rendered(&Content {
            wishes: Some((vec![wish], Ok(Listing::default()))),
            notice: Some(Notice::Failed(HOSTILE.into())),
            name: HOSTILE.into(),
            ..Content::default()
        });
        // The page's own script is the only one.
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        assert!(!html.contains("<img src=x"), "{html}");
        // The list, the labels of its button and its offers, the notice, the field.
        assert_eq!(html.matches("&lt;script&gt;").count(), 5, "{html}");
        assert!(!html.contains(r#"alert("x")"#), "{html}");
    }

    #[test]
    fn an_invalid_name_stays_in_the_field() {
        let failure = WishError::Name(spoor_telemetry::InvalidLine::Control);
        let html = rendered(&Content::failed(&failure, "a\u{7}b".into()));
        assert!(
            html.contains("aria-invalid=\"true\"") && html.contains("on one line"),
            "{html}"
        );
    }

    #[test]
    fn without_the_wishlist_there_is_no_list() {
        let html = rendered(&Content::failed(&WishError::Unavailable, "a bike".into()));
        assert!(
            html.contains("role=\"alert\"") && !html.contains("Your wishes"),
            "{html}"
        );
        assert!(html.contains("value=\"a bike\""), "{html}");
    }
}
