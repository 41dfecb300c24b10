//! The layout that all pages share.

use axum::response::{Html, IntoResponse, Response};
use http::{StatusCode, Uri};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    assets,
    backend::{BackendError, Source, SourceKind},
    console::Console,
    text,
};

const MARK: PreEscaped<&str> = PreEscaped(include_str!("favicon.svg"));

/// The most errors that a page lists.
const MAX_ERRORS: usize = 50;
/// The most characters of an error that are shown.
const MAX_ERROR_CHARS: usize = 4_000;

/// A part of the console, with an entry in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Traces,
    Services,
    Policies,
    /// Only where the backend has lessons.
    Lessons,
}

impl Section {
    const ALL: [Self; 4] = [Self::Traces, Self::Services, Self::Policies, Self::Lessons];

    /// The section of the page at a URI.
    pub(crate) fn at(uri: &Uri) -> Self {
        let mut segments = uri.path().trim_start_matches('/').split('/');
        match segments.next() {
            Some("services") => Self::Services,
            Some("policies") => Self::Policies,
            Some("lessons") => Self::Lessons,
            _ => Self::Traces,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Traces => "Traces",
            Self::Services => "Services",
            Self::Policies => "Policies",
            Self::Lessons => "Lessons",
        }
    }

    /// The path of its first page, without a leading slash.
    fn path(self) -> &'static str {
        match self {
            Self::Traces => "",
            Self::Services => "services",
            Self::Policies => "policies",
            Self::Lessons => "lessons",
        }
    }

    /// The path of its style sheet, if it has one.
    fn style(self) -> &'static str {
        match self {
            Self::Traces => "styles/traces.css",
            Self::Services => "styles/services.css",
            Self::Policies => "styles/policies.css",
            Self::Lessons => "styles/lessons.css",
        }
    }
}

/// The console as a page shows it: relative links, so that the pages work under any prefix, and the
/// header.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    root: String,
    source: Source,
    is_read_only: bool,
    has_lessons: bool,
}

impl Site {
    /// The site relative to the page at a URI.
    pub(crate) fn of(console: &Console, uri: &Uri) -> Self {
        // Bounded, since anyone may request a path of slashes.
        let depth = uri.path().matches('/').count().saturating_sub(1).min(16);
        let root = match depth {
            0 => "./".to_owned(),
            depth => "../".repeat(depth),
        };
        Self {
            root,
            source: console.backend().source().clone(),
            is_read_only: console.is_read_only(),
            has_lessons: console.backend().lessons().is_some(),
        }
    }

    /// A link to a path, given without a leading slash.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// A complete page.
    pub(crate) fn document(&self, section: Section, title: &str, content: Markup) -> Html<String> {
        self.document_with(section, title, "", content)
    }

    /// A page with a script and a style sheet of its own, such as `policies` for
    /// `scripts/policies.js` and `styles/policies.css`. An asset that does not exist is left out. The
    /// style sheet of the section needs no mention.
    pub(crate) fn document_with(
        &self,
        section: Section,
        title: &str,
        own: &str,
        content: Markup,
    ) -> Html<String> {
        let own_style = format!("styles/{own}.css");
        let own_script = format!("scripts/{own}.js");
        let is_other_style = own_style != section.style() && assets::exists(&own_style);
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (text::cut(title, 200)) " · Spoor" }
                    link rel="icon" type="image/svg+xml" href=(self.link("favicon.svg"));
                    link rel="stylesheet" href=(self.link("style.css"));
                    link rel="stylesheet" href=(self.link("styles/controls.css"));
                    @if assets::exists(section.style()) {
                        link rel="stylesheet" href=(self.link(section.style()));
                    }
                    @if is_other_style {
                        link rel="stylesheet" href=(self.link(&own_style));
                    }
                    // Modules run after the page is parsed.
                    script type="module" src=(self.link("scripts/console.js")) {}
                    @if assets::exists(&own_script) {
                        script type="module" src=(self.link(&own_script)) {}
                    }
                }
                body {
                    a .skip href="#content" { "Skip to content" }
                    (self.header(section))
                    main #content tabindex="-1" { (content) }
                    // Scripts report changes here, for screen readers.
                    p #announcements .hidden role="status" aria-live="polite" {}
                }
            }
        };
        Html(page.into_string())
    }

    /// A page with a message and a link to the section's first page.
    pub(crate) fn notice(
        &self,
        section: Section,
        title: &str,
        heading: &str,
        message: Markup,
    ) -> Html<String> {
        let content = html! {
            section .notice {
                h1 { (heading) }
                (message)
                p { a .button href=(self.link(section.path())) { "Back to " (section.label()) } }
            }
        };
        self.document(section, title, content)
    }

    /// The page for an error of the backend, with a status for its kind.
    pub(crate) fn error(&self, section: Section, error: &BackendError) -> Response {
        let (status, heading) = match error {
            BackendError::Validate(_) => (StatusCode::BAD_REQUEST, "The policy is invalid"),
            BackendError::Find(_) => (StatusCode::NOT_FOUND, "Not found"),
            BackendError::Refuse(_) => (StatusCode::FORBIDDEN, "Not allowed"),
            BackendError::Conflict(_) => (StatusCode::CONFLICT, "Changed in the meantime"),
            BackendError::Reach(_) => (StatusCode::SERVICE_UNAVAILABLE, "Not available"),
            BackendError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "Too large"),
        };
        let message = match error {
            BackendError::Validate(errors) => html! {
                ul {
                    @for error in errors.iter().take(MAX_ERRORS) {
                        li { (text::cut(error, MAX_ERROR_CHARS)) }
                    }
                }
                @if errors.len() > MAX_ERRORS {
                    p { "and " (text::grouped(errors.len() - MAX_ERRORS)) " more" }
                }
            },
            other => html! { p { (text::cut(&other.to_string(), MAX_ERROR_CHARS)) } },
        };
        let page = self.notice(section, heading, heading, message);
        (status, page).into_response()
    }

    fn header(&self, current: Section) -> Markup {
        let is_shown = |section: &Section| *section != Section::Lessons || self.has_lessons;
        html! {
            header .top {
                a .brand href=(self.link("")) { (MARK) span { "Spoor" } }
                nav .sections aria-label="Sections" {
                    @for section in Section::ALL.into_iter().filter(is_shown) {
                        a href=(self.link(section.path()))
                            aria-current=[(section == current).then_some("page")] {
                            (section.label())
                        }
                    }
                }
                (self.source())
                form .by-id action=(self.link("trace")) {
                    label .hidden for="by-id" { "Trace ID" }
                    input #by-id name="id" placeholder="Trace ID"
                        autocomplete="off" spellcheck="false" required;
                    button .quiet { "Open" }
                }
            }
        }
    }

    /// The name of the lab or cluster.
    fn source(&self) -> Markup {
        let kind = match self.source.kind {
            SourceKind::Lab => "Lab",
            SourceKind::Cluster => "Cluster",
        };
        html! {
            p .source {
                (kind) " " code { (text::cut(&self.source.name, 60)) }
                @if let Some(namespace) = &self.source.namespace {
                    ", namespace " code { (namespace) }
                }
                @if self.is_read_only { " " span .badge .plain { "read-only" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{console::ConsoleSettings, fake::FakeBackend};

    fn site(path: &'static str) -> Site {
        let backend = Arc::new(FakeBackend::default());
        let console = Console::new(backend, ConsoleSettings::default());
        Site::of(&console, &Uri::from_static(path))
    }

    #[rstest::rstest]
    #[case("/", "./policies")]
    #[case("/policies", "./policies")]
    #[case("/policies/default/a", "../../policies")]
    fn links_are_relative(#[case] path: &'static str, #[case] expected: &str) {
        assert_eq!(site(path).link("policies"), expected);
    }

    #[test]
    fn navigation_marks_the_current_section() {
        let Html(page) = site("/policies").document(Section::Policies, "Policies", html! {});
        assert_eq!(page.matches("aria-current").count(), 1);
        assert!(page.contains("<a href=\"./policies\" aria-current=\"page\">Policies</a>"));
    }

    #[test]
    fn lessons_are_shown_only_where_there_are_some() {
        let mut site = site("/");
        for has_lessons in [false, true] {
            site.has_lessons = has_lessons;
            let Html(page) = site.document(Section::Traces, "Traces", html! {});
            assert_eq!(
                page.contains("<a href=\"./lessons\">Lessons</a>"),
                has_lessons
            );
        }
    }

    #[rstest::rstest]
    #[case(BackendError::Validate(vec!["<b>".to_owned()]), StatusCode::BAD_REQUEST)]
    #[case(BackendError::Find("gone".to_owned()), StatusCode::NOT_FOUND)]
    #[case(BackendError::Refuse("no".to_owned()), StatusCode::FORBIDDEN)]
    #[case(BackendError::Conflict("newer".to_owned()), StatusCode::CONFLICT)]
    #[case(BackendError::Reach("busy".to_owned()), StatusCode::SERVICE_UNAVAILABLE)]
    #[case(BackendError::TooLarge("large".to_owned()), StatusCode::PAYLOAD_TOO_LARGE)]
    fn errors_have_statuses(#[case] error: BackendError, #[case] expected: StatusCode) {
        let response = site("/policies").error(Section::Policies, &error);
        assert_eq!(response.status(), expected);
    }

    #[test]
    fn titles_are_escaped() {
        let hostile = "</title><script>\u{202e}";
        let Html(page) = site("/").document(Section::Traces, hostile, html! {});
        assert!(page.contains("&lt;/title&gt;&lt;script&gt;\\u{202e} · Spoor"));
    }
}
