//! Rendering of a lesson's Markdown as HTML. HTML in the Markdown is shown as text.

use std::collections::HashSet;

use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{
    CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd, html::push_html,
};

use super::links;
use crate::layout::Site;

/// The heading of the section with the exercise.
const TASK: &str = "Your turn";
/// The heading of the section whose list items are the hints.
const HINTS: &str = "Hints";
/// The IDs of elements of the page that are not part of the text.
const PAGE_IDS: [&str; 10] = [
    "announcements",
    "content",
    "by-id",
    "progress",
    "exercise",
    "check",
    "outcome",
    "hints",
    "newest-traces",
    "newest",
];

/// The parts of a lesson, without its first heading.
#[derive(Debug)]
pub(super) struct Parts {
    /// The sections before the exercise.
    pub before: Markup,
    /// The section with the exercise; empty if there is none.
    pub task: Markup,
    /// The hints, from the general to the concrete.
    pub hints: Vec<Markup>,
    /// The sections after the exercise.
    pub after: Markup,
}

/// Renders the parts of a lesson.
pub(super) fn parts(markdown: &str, site: &Site) -> Parts {
    let events = Parser::new_ext(markdown, Options::empty()).collect();
    let mut events = without_title(events, HeadingLevel::H1);
    add_ids(&mut events);
    let sections = Sections::of(events);
    let mut blocks = 0;
    let mut render = |events| rendered(events, site, &mut blocks);
    Parts {
        before: render(sections.before),
        task: render(sections.task),
        hints: items(without_title(sections.hints, HeadingLevel::H2))
            .into_iter()
            .map(&mut render)
            .collect(),
        after: render(sections.after),
    }
}

/// Removes everything up to the end of the first heading of a level.
fn without_title(mut events: Vec<Event<'_>>, level: HeadingLevel) -> Vec<Event<'_>> {
    let is_end = |event: &Event| *event == Event::End(TagEnd::Heading(level));
    let start = events.iter().position(is_end).map_or(0, |end| end + 1);
    events.drain(..start);
    events
}

/// Gives each heading an ID made of its text, so that links can lead to it.
fn add_ids(events: &mut [Event<'_>]) {
    let mut taken: HashSet<String> = PAGE_IDS.map(str::to_owned).into();
    for start in 0..events.len() {
        let heading = events.get(start);
        if !matches!(heading, Some(Event::Start(Tag::Heading { .. }))) {
            continue;
        }
        let following = events.get(start + 1..).unwrap_or_default();
        let slug = slug(&heading_text(following));
        if let Some(Event::Start(Tag::Heading { id, .. })) = events.get_mut(start) {
            *id = Some(unused(slug, &mut taken).into());
        }
    }
}

/// The text of the heading whose start precedes the events.
fn heading_text(events: &[Event<'_>]) -> String {
    let is_inside = |event: &&Event| !matches!(event, Event::End(TagEnd::Heading(_)));
    let inside = events.iter().take_while(is_inside);
    let text = |event: &Event| match event {
        Event::Text(text) | Event::Code(text) => text.to_string(),
        _ => String::new(),
    };
    inside.map(text).collect()
}

/// The text in lower case with hyphens between its words, as GitHub forms the IDs of headings.
fn slug(text: &str) -> String {
    let kept = |c: char| match c {
        ' ' | '-' => Some('-'),
        c if c.is_ascii_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    match text.chars().filter_map(kept).collect::<String>() {
        slug if slug.is_empty() => "section".to_owned(),
        slug => slug,
    }
}

fn unused(slug: String, taken: &mut HashSet<String>) -> String {
    let mut id = slug.clone();
    let mut number = 1;
    while !taken.insert(id.clone()) {
        id = format!("{slug}-{number}");
        number += 1;
    }
    id
}

/// The events of the parts of a lesson.
#[derive(Default)]
struct Sections<'a> {
    before: Vec<Event<'a>>,
    task: Vec<Event<'a>>,
    hints: Vec<Event<'a>>,
    after: Vec<Event<'a>>,
}

#[derive(Clone, Copy)]
enum Part {
    Before,
    Task,
    Hints,
    After,
}

impl<'a> Sections<'a> {
    fn of(events: Vec<Event<'a>>) -> Self {
        let mut titles = section_titles(&events).into_iter();
        let mut sections = Self::default();
        let mut part = Part::Before;
        for event in events {
            if is_section_start(&event) {
                part = part.followed_by(&titles.next().unwrap_or_default());
            }
            match part {
                Part::Before => sections.before.push(event),
                Part::Task => sections.task.push(event),
                Part::Hints => sections.hints.push(event),
                Part::After => sections.after.push(event),
            }
        }
        sections
    }
}

impl Part {
    /// The part of the section with this title.
    fn followed_by(self, title: &str) -> Self {
        match (title, self) {
            (TASK, _) => Self::Task,
            (HINTS, _) => Self::Hints,
            (_, Self::Before) => Self::Before,
            (_, Self::Task | Self::Hints | Self::After) => Self::After,
        }
    }
}

fn is_section_start(event: &Event<'_>) -> bool {
    let level = HeadingLevel::H2;
    matches!(event, Event::Start(Tag::Heading { level: found, .. }) if *found == level)
}

fn section_titles(events: &[Event<'_>]) -> Vec<String> {
    let starts = events.iter().enumerate();
    let starts = starts.filter(|(_, event)| is_section_start(event));
    starts
        .map(|(start, _)| heading_text(events.get(start + 1..).unwrap_or_default()))
        .collect()
}

/// The content of each item of the lists. Text outside of a list belongs to the item before it, so
/// that nothing is lost.
fn items(events: Vec<Event<'_>>) -> Vec<Vec<Event<'_>>> {
    let mut items: Vec<Vec<Event>> = vec![];
    let mut depth = 0_usize;
    for event in events {
        match &event {
            Event::Start(Tag::List(_)) => {
                depth += 1;
                if depth == 1 {
                    continue;
                }
            }
            Event::End(TagEnd::List(_)) => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    continue;
                }
            }
            Event::Start(Tag::Item) if depth == 1 => {
                items.push(vec![]);
                continue;
            }
            Event::End(TagEnd::Item) if depth == 1 => continue,
            _ => {}
        }
        match items.last_mut() {
            Some(item) => item.push(event),
            None => items.push(vec![event]),
        }
    }
    items
}

/// Renders events, after replacing those that could add HTML from the text. `blocks` numbers the
/// code blocks of the page.
fn rendered(events: Vec<Event<'_>>, site: &Site, blocks: &mut usize) -> Markup {
    let mut shown = Vec::with_capacity(events.len());
    // Links do not nest, so one is enough for the next end tag.
    let mut unresolved = None;
    let mut events = events.into_iter();
    while let Some(event) = events.next() {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => shown.push(Event::Text(html)),
            Event::Start(Tag::CodeBlock(_)) => {
                *blocks += 1;
                let inside = events
                    .by_ref()
                    .take_while(|event| *event != Event::End(TagEnd::CodeBlock));
                let block = code_block(&code_text(inside), *blocks);
                shown.push(Event::Html(block.into_string().into()));
            }
            Event::Start(Tag::Link { dest_url, .. }) => match links::target(site, &dest_url) {
                Some(target) => shown.push(link(target)),
                None => unresolved = Some(dest_url),
            },
            Event::End(TagEnd::Link) => match unresolved.take() {
                Some(path) => {
                    let code = Event::Code(path);
                    shown.extend([Event::Text(" (".into()), code, Event::Text(")".into())]);
                }
                None => shown.push(event),
            },
            // An image becomes its description, so that pages load nothing from other hosts.
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => {}
            other => shown.push(other),
        }
    }
    let mut html = String::new();
    push_html(&mut html, shown.into_iter());
    PreEscaped(html)
}

fn code_text<'a>(events: impl Iterator<Item = Event<'a>>) -> String {
    let text = |event: Event<'a>| match event {
        Event::Text(text) => text.into_string(),
        _ => String::new(),
    };
    events.map(text).collect()
}

/// A block that scrolls if it is wider than the page, with a button that copies it.
fn code_block(code: &str, number: usize) -> Markup {
    let id = format!("code-{number}");
    html! {
        div .copyable {
            // It can be focused, so that it can be scrolled by keyboard.
            pre tabindex="0" { code id=(id) { (code) } }
            button .quiet .small type="button" data-copy=(id) hidden { "Copy" }
        }
    }
}

fn link<'a>(target: String) -> Event<'a> {
    Event::Start(Tag::Link {
        link_type: LinkType::Inline,
        dest_url: target.into(),
        title: CowStr::Borrowed(""),
        id: CowStr::Borrowed(""),
    })
}
