//! The page's HTML. `maud` escapes everything that is put in.

use http::StatusCode;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::{
    offers::{Absent, Listing, Offer, Unknown},
    traces::{TraceId, TraceUrl},
    wishes::{Failure, Wish},
};
use crate::WishName;

/// The content of the page.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) status: StatusCode,
    /// The wishes; `None` if they are unavailable.
    pub(super) wishes: Option<Vec<Wish>>,
    pub(super) offers: Result<Listing, Unknown>,
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

impl Default for Shown {
    fn default() -> Self {
        Self {
            status: StatusCode::OK,
            wishes: None,
            offers: Ok(Listing::default()),
            notice: None,
            name: String::new(),
            name_error: None,
        }
    }
}

impl Shown {
    pub(super) fn failed(failure: &Failure, name: String) -> Self {
        let (notice, name_error) = match failure {
            Failure::Name(error) => (None, Some(error.to_string())),
            Failure::Unknown => (Some("This wish was already deleted.".to_owned()), None),
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
pub(super) fn page(shown: &Shown, trace: Option<&TraceId>, trace_url: &TraceUrl) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title(shown)) }
                link rel="stylesheet" href="/style.css";
                link rel="icon" type="image/svg+xml" href="/icon.svg";
                script src="/offers.js" defer {}
            }
            body {
                header {
                    h1 { img src="/icon.svg" alt="" width="36" height="36"; " Wishlist" }
                    p { "What would you like to have?" }
                }
                main {
                    @if let Some(notice) = &shown.notice { (notice_box(notice, trace_url)) }
                    (form(shown))
                    @if let Some(wishes) = &shown.wishes { (list(wishes, &shown.offers)) }
                }
                (footer(trace, trace_url))
            }
        }
    }
}

fn title(shown: &Shown) -> &'static str {
    match (&shown.notice, &shown.name_error) {
        (Some(Notice::Failed(_)), _) | (_, Some(_)) => "Error: Wishlist",
        _ => "Wishlist",
    }
}

fn notice_box(notice: &Notice, trace_url: &TraceUrl) -> Markup {
    html! {
        @match notice {
            Notice::Done { text, trace } => p.notice.done role="status" {
                (text)
                @if let Some(trace) = trace { " " a href=(trace_url.of(trace)) { "See its trace" } }
            },
            Notice::Failed(text) => p.notice.failed role="alert" { (sentence(text)) },
        }
    }
}

fn form(shown: &Shown) -> Markup {
    let error = shown.name_error.as_deref();
    html! {
        form.add action="/wishes" method="post" {
            label for="name" { "New wish" }
            div.row {
                input #name name="name" type="text" value=(shown.name) required
                    maxlength=(WishName::MAX_CHARS) autocomplete="off" placeholder="A red bicycle"
                    autofocus[error.is_some()] aria-invalid=[error.map(|_| "true")]
                    aria-describedby=[error.map(|_| "name-error")];
                button type="submit" { "Add" }
            }
            @if let Some(error) = error { p #name-error .error role="alert" { "The name " (error) "." } }
        }
    }
}

fn list(wishes: &[Wish], offers: &Result<Listing, Unknown>) -> Markup {
    let known = offers.as_ref().map(|listing| listing.offers.as_slice());
    html! {
        section aria-labelledby="wishes" {
            h2 #wishes { "Your wishes" span.count { (wishes.len()) } }
            @if wishes.is_empty() {
                p.empty { "Nothing here yet. Add the first one above." }
            } @else {
                p #offers-state .state role="status" { (state(offers)) }
                ul.wishes { @for wish in wishes { (item(wish, known.unwrap_or_default())) } }
            }
        }
    }
}

/// The marketplaces whose offers are missing, with the reasons. The script updates this text in
/// the same format.
fn state(offers: &Result<Listing, Unknown>) -> String {
    match offers {
        Err(unknown) => format!("No news of offers: {unknown}."),
        Ok(Listing { missing, .. }) if missing.is_empty() => String::new(),
        Ok(Listing { missing, .. }) => {
            let text = |missing: &Absent| format!("{} ({})", missing.marketplace, missing.why);
            let texts: Vec<String> = missing.iter().map(text).collect();
            format!("Missing now: {}.", texts.join(", "))
        }
    }
}

fn item(wish: &Wish, offers: &[Offer]) -> Markup {
    html! {
        li {
            div.wish {
                span.name dir="auto" { (wish.name) }
                time datetime=(wish.created) { (people(wish.created)) }
            }
            form action={ "/wishes/" (wish.id) "/delete" } method="post" {
                button.quiet type="submit" aria-label={ "Delete " (wish.name) } { "Delete" }
            }
            ul.offers data-wish=(wish.id) aria-label={ "Offers for " (wish.name) } {
                @for offer in offers.iter().filter(|offer| offer.wish_id == wish.id) { (found(offer)) }
            }
            p.none { "No offers yet." }
        }
    }
}

/// An offer. The script renders new ones in the same format.
fn found(offer: &Offer) -> Markup {
    html! {
        li data-offer={ (offer.marketplace) "/" (offer.id) } data-price=(offer.price) {
            span.price { (offer.price) " " (offer.currency) } " "
            span.title dir="auto" { (offer.title) } " "
            span.where { (offer.seller) " on " (offer.marketplace) }
        }
    }
}

fn footer(trace: Option<&TraceId>, trace_url: &TraceUrl) -> Markup {
    html! {
        footer {
            @if let Some(trace) = trace {
                p {
                    "This page's trace: "
                    a href=(trace_url.of(trace)) { code { (trace.as_str()) } }
                }
                p { "A trace that the sampling policy left out is not found there." }
            }
            p {
                "Scripts use " a href="/api/wishes" { code { "/api/wishes" } } " and " a href="/api/offers" { code { "/api/offers" } } ". All traces: "
                a href="/jaeger/" { code { "/jaeger" } } ". How it is built: "
                a href="/docs" { code { "/docs" } } "."
            }
        }
    }
}

fn people(time: Timestamp) -> String {
    time.strftime("%-d %b %Y, %H:%M UTC").to_string()
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars
        .next()
        .map(|first| first.to_uppercase().to_string())
        .unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    format!("{first}{}{stop}", chars.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HOSTILE: &str = r#"</span><script>alert("x")</script><img src=x onerror='y'>"#;

    fn shown(shown: &Shown) -> String {
        let trace_url: TraceUrl = "http://traces/{id}".parse().unwrap();
        page(shown, None, &trace_url).into_string()
    }

    #[test]
    fn hostile_names_are_escaped_wherever_they_stand() {
        let wish = Wish {
            id: "1".into(),
            name: HOSTILE.into(),
            created: Timestamp::UNIX_EPOCH,
        };
        let html = shown(&Shown {
            wishes: Some(vec![wish]),
            notice: Some(Notice::Failed(HOSTILE.into())),
            name: HOSTILE.into(),
            ..Shown::default()
        });
        // The page's own script is the only one.
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        assert!(!html.contains("<img src=x"), "{html}");
        // The list, the labels of its button and its offers, the notice, the field.
        assert_eq!(html.matches("&lt;script&gt;").count(), 5, "{html}");
        assert!(!html.contains(r#"alert("x")"#), "{html}");
    }

    #[test]
    fn a_name_that_is_not_taken_stays_in_the_field_with_the_reason() {
        let failure = Failure::Name(crate::InvalidWishName::Control);
        let html = shown(&Shown::failed(&failure, "a\u{7}b".into()));
        assert!(
            html.contains("aria-invalid=\"true\"") && html.contains("on one line"),
            "{html}"
        );
    }

    #[test]
    fn without_the_wishlist_there_is_no_list() {
        let html = shown(&Shown::failed(&Failure::Away, "a bike".into()));
        assert!(
            html.contains("role=\"alert\"") && !html.contains("Your wishes"),
            "{html}"
        );
        assert!(html.contains("value=\"a bike\""), "{html}");
    }
}
