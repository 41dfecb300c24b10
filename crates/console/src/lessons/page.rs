//! The page of a lesson: its text, the exercise, and the newest traces beside them.

use maud::{Markup, html};

use super::{LessonSummary, exercise::Exercise, list, markdown};
use crate::layout::Site;

/// The content of the page.
pub(super) fn page(exercise: &Exercise<'_>, lessons: &[LessonSummary], traces: &Markup) -> Markup {
    let (site, number) = (exercise.site, exercise.number);
    let parts = markdown::parts(&exercise.lesson.markdown, site);
    html! {
        header .heading {
            div {
                p .crumbs { a href=(site.link("lessons")) { "Lessons" } }
                h1 { (number) ". " (exercise.lesson.title) }
            }
            (list::progress(lessons))
        }
        div .lesson-page {
            div .text.before { (parts.before) }
            div .text.task {
                (parts.task)
                (exercise.render())
                (hints(&parts.hints))
            }
            (newest(site, number, traces))
            div .text.after { (parts.after) }
        }
        (neighbours(site, number, lessons))
    }
}

/// The hints, each inside of the one before it, so that they are revealed one by one.
fn hints(hints: &[Markup]) -> Markup {
    let count = hints.len();
    let from_last = hints.iter().enumerate().rev();
    let nested = from_last.fold(html! {}, |next, (index, hint)| {
        html! {
            details {
                summary { "Hint " (index + 1) " of " (count) }
                div { (hint) }
                (next)
            }
        }
    });
    html! {
        @if count > 0 {
            section .hints aria-labelledby="hints" {
                h2 #hints { "Hints" }
                (nested)
            }
        }
    }
}

/// The list that the script keeps up to date.
fn newest(site: &Site, number: usize, traces: &Markup) -> Markup {
    html! {
        aside .newest aria-labelledby="newest-traces" {
            header {
                h2 #newest-traces { "Newest traces" }
                button .quiet .small type="button" data-pause hidden { "Pause" }
                a .reload href=(list::link(site, number)) { "Reload" }
            }
            div #newest data-url=(site.link(&format!("lessons/{number}/traces"))) { (traces) }
        }
    }
}

fn neighbours(site: &Site, number: usize, lessons: &[LessonSummary]) -> Markup {
    let named = |wanted: Option<usize>| lessons.iter().find(|it| Some(it.number) == wanted);
    let (before, after) = (number.checked_sub(1), number.checked_add(1));
    html! {
        nav .neighbours aria-label="Lessons" {
            @for (lesson, relation) in [(named(before), "Previous"), (named(after), "Next")] {
                @if let Some(lesson) = lesson {
                    a href=(list::link(site, lesson.number)) {
                        (relation) ": " (lesson.number) ". " (lesson.title)
                    }
                }
            }
        }
    }
}
