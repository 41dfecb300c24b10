//! The list of lessons.

use maud::{Markup, html};

use super::LessonSummary;
use crate::layout::Site;

/// The list, with the progress and the next lesson.
pub(super) fn list(site: &Site, lessons: &[LessonSummary]) -> Markup {
    let next = lessons.iter().find(|lesson| !lesson.is_passed);
    html! {
        header .heading {
            h1 { "Lessons" }
            (progress(lessons))
        }
        p .soft {
            "Exercises in this lab. A check reads the result from the traces and policies, so \
             there is more than one solution."
        }
        @match next {
            Some(lesson) => p {
                a .button href=(link(site, lesson.number)) {
                    @if lesson.number == 1 { "Start with lesson 1" }
                    @else { "Continue with lesson " (lesson.number) }
                }
            },
            None => p { strong { "You have passed all lessons." } },
        }
        ol .lessons { @for lesson in lessons { (item(site, lesson)) } }
    }
}

/// The number of lessons passed.
pub(super) fn progress(lessons: &[LessonSummary]) -> Markup {
    let passed = lessons.iter().filter(|lesson| lesson.is_passed).count();
    let all = lessons.len();
    html! {
        p #progress .progress {
            progress max=(all) value=(passed) aria-hidden="true" {}
            " " (passed) " of " (all) " passed"
        }
    }
}

/// The link to a lesson.
pub(super) fn link(site: &Site, number: usize) -> String {
    site.link(&format!("lessons/{number}"))
}

fn item(site: &Site, lesson: &LessonSummary) -> Markup {
    html! {
        li .lesson .passed[lesson.is_passed] {
            h2 {
                a .what href=(link(site, lesson.number)) { (lesson.number) ". " (lesson.title) }
                @if lesson.is_passed { " " span .badge.done { "passed" } }
            }
            p { (lesson.teaches) }
            p .soft { "Needs " (lesson.needs) "." }
        }
    }
}
