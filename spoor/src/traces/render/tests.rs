use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, Status,
    span::{Event, Link},
};
use spoor_traces::tree::{EXERCISE_USER_AGENT, value, warnings};

use super::*;
use crate::traces::{
    json::json,
    spans::{red, span, text},
};

fn a_to_b() -> Vec<ResourceSpans> {
    vec![
        span("service-a", "GET /", 1, 0, 1000, 1412),
        span("service-a", "spoor.ab.v1.ServiceB/Work", 2, 1, 1002, 1410),
        span("service-b", "spoor.ab.v1.ServiceB/Work", 3, 2, 1004, 1408),
        span("service-b", "SELECT offers", 4, 3, 1005, 1350),
        span("service-b", "heavy_calc", 5, 3, 1350, 1400),
    ]
}

fn render(id: &str, tree: &Tree, canvas: Canvas) -> String {
    super::render(id, tree, Detail::default(), canvas)
}

const CANVAS: Canvas = Canvas {
    columns: 100,
    colour: false,
    truncates: true,
};

#[test]
fn draws_the_tree_and_names_the_bottleneck() {
    insta::assert_snapshot!(render("0707", &Tree::new(a_to_b()), CANVAS));
}

#[test]
fn hides_the_bottleneck_of_an_exercise() {
    let mut batches = a_to_b();
    let marker = format!("{EXERCISE_USER_AGENT}2/0.17");
    batches[0].scope_spans[0].spans[0].attributes = vec![text("user_agent.original", &marker)];
    let tree = Tree::new(batches);
    let drawn = render("0707", &tree, CANVAS);
    assert!(
        !drawn.contains("Bottleneck") && !drawn.contains("slowest"),
        "{drawn}"
    );
    assert!(json("0707", &tree)["bottleneck"].is_null());
}

#[test]
fn marks_errors() {
    let mut batches = a_to_b();
    let failed = batches
        .get_mut(4)
        .and_then(|batch| batch.scope_spans.first_mut());
    if let Some(span) = failed.and_then(|scope| scope.spans.first_mut()) {
        span.status = Some(Status {
            code: 2,
            message: "made to fail".to_owned(),
        });
    }
    let drawn = render("0707", &Tree::new(batches), CANVAS);
    assert!(
        drawn
            .lines()
            .any(|line| line.contains("heavy_calc") && line.contains("✗ error"))
    );
    assert!(
        drawn
            .lines()
            .next()
            .is_some_and(|heading| heading.contains("1 error"))
    );
}

#[test]
fn lines_stay_within_the_terminal() {
    for columns in [72, 80, 100, 160] {
        let canvas = Canvas { columns, ..CANVAS };
        let drawn = render("0707", &Tree::new(a_to_b()), canvas);
        assert!(
            drawn.lines().all(|line| line.chars().count() <= columns),
            "{columns}: {drawn}"
        );
    }
}

#[test]
fn names_cannot_move_the_cursor() {
    let batches = vec![span("a\u{1b}[2J", &"x\u{7}".repeat(500), 1, 0, 0, 10)];
    let drawn = render("0707", &Tree::new(batches), CANVAS);
    assert!(
        !drawn.chars().any(|c| c.is_control() && c != '\n'),
        "{drawn:?}"
    );
    assert!(
        drawn.lines().all(|line| line.chars().count() <= 110),
        "{drawn}"
    );
}

#[test]
fn control_characters_are_visible() {
    let name = "a\0b\u{1b}[31mc\u{202e}d";
    let drawn = render(
        "0707",
        &Tree::new(vec![span("shop", name, 1, 0, 0, 10)]),
        CANVAS,
    );
    assert!(drawn.contains("a␀b␛[31mc\\u{202e}d"), "{drawn}");
}

/// Both the tree and a warning of the query API report the missing parent.
#[test]
fn reports_a_missing_parent_once() {
    let mut batches = vec![span("shop", "lost", 1, 9, 0, 10)];
    let mut parent = String::new();
    let scopes = batches.iter_mut().flat_map(|batch| &mut batch.scope_spans);
    for span in scopes.flat_map(|scope| &mut scope.spans) {
        parent = value::hex(&span.parent_span_id);
        warnings::add(span, format!("Missing parent: span {parent}"));
        warnings::add(span, "Zero duration".to_owned());
    }
    let drawn = render("0707", &Tree::new(batches), CANVAS);
    assert_eq!(drawn.matches(&parent).count(), 1, "{drawn}");
    assert!(drawn.contains("Zero duration"), "{drawn}");
}

/// The cases that the lessons use.
#[test]
fn shows_links_events_and_errors() {
    let mut batches = a_to_b();
    let spans = batches.iter_mut().flat_map(|batch| &mut batch.scope_spans);
    for (index, span) in spans.flat_map(|scope| &mut scope.spans).enumerate() {
        match index {
            0 => span.links.push(Link {
                trace_id: vec![5; 16],
                span_id: vec![6; 8],
                attributes: vec![text("reason", "caller not trusted")],
                ..Link::default()
            }),
            3 => span.parent_span_id = vec![9; 8],
            4 => {
                span.status = Some(Status {
                    code: 2,
                    message: "made to\u{7} fail".to_owned(),
                });
                span.events = vec![Event {
                    time_unix_nano: 1_390_000_000,
                    name: "exception".to_owned(),
                    attributes: vec![text("exception.type", "CalcError")],
                    ..Event::default()
                }];
            }
            _ => {}
        }
    }
    insta::assert_snapshot!(render("0707", &Tree::new(batches), CANVAS));
}

#[test]
fn only_a_terminal_truncates_notes() {
    let mut batch = span("a", "b", 1, 0, 0, 10);
    let message = "reason ".repeat(25);
    batch.scope_spans[0].spans[0].status = Some(Status {
        code: 2,
        message: message.clone(),
    });
    let tree = Tree::new(vec![batch]);
    let piped = Canvas {
        truncates: false,
        ..CANVAS
    };
    assert!(!render("0707", &tree, CANVAS).contains(&message));
    assert!(render("0707", &tree, piped).contains(message.trim_end()));
}

#[test]
fn json_has_trace_state_and_attributes() {
    let mut batch = span("a", "b", 1, 0, 0, 10);
    let root = &mut batch.scope_spans[0].spans[0];
    root.trace_state = "ot=th:c".to_owned();
    root.attributes = vec![text("receipt.items", "3")];
    let tree = Tree::new(vec![batch]);
    let json = json("0707", &tree);
    assert_eq!(json["spans"][0]["traceState"], "ot=th:c");
    assert_eq!(json["spans"][0]["attributes"]["receipt.items"], "3");
    let drawn = render("0707", &tree, CANVAS);
    assert!(drawn.contains("tracestate: ot=th:c"), "{drawn}");
}

#[test]
fn readme_shows_the_note_of_a_kept_root() {
    let mut batches = a_to_b();
    batches[0].scope_spans[0].spans[0].trace_state = "ot=th:0".to_owned();
    let drawn = render("0707", &Tree::new(batches), CANVAS);
    let mut notes = drawn.lines().filter(|line| line.contains("tracestate"));
    let note = notes.next().unwrap_or_default();
    let readme = include_str!("../../../../README.md");
    assert!(
        !note.is_empty() && readme.lines().any(|line| line == note),
        "{drawn}"
    );
}

#[test]
fn truncates_long_lists_of_events() {
    let mut batch = span("a", "b", 1, 0, 0, 10);
    let event = Event::default();
    batch.scope_spans[0].spans[0].events = vec![event; 1_000];
    let drawn = render("0707", &Tree::new(vec![batch]), CANVAS);
    assert!(drawn.lines().count() < 20, "{drawn}");
    assert!(drawn.contains("more events"), "{drawn}");
}

#[test]
fn repeated_queries_are_the_bottleneck() {
    let select = |number: u8| {
        let start = u64::from(number) * 5;
        span("shop", "SELECT", number + 10, 1, start, start + 4)
    };
    let root = span("shop", "GET /", 1, 0, 0, 1_300);
    let job = span("shop", "job", 2, 1, 1_050, 1_250);
    let batches = (0..200).map(select).chain([root, job]).collect();
    let drawn = render("0707", &Tree::new(batches), CANVAS);
    let verdict = drawn.lines().last().unwrap_or_default();
    assert_eq!(
        verdict,
        "Bottleneck: 200 × SELECT in shop, 800 ms of 1.30 s (62 %)"
    );
}

#[test]
fn repeated_siblings_share_a_line() {
    let select = |number: u8| {
        let start = u64::from(number) * 6;
        let query = span(
            "shop",
            "SELECT order_line",
            number + 10,
            1,
            start,
            start + 4,
        );
        let rows = span("shop", "rows", number + 100, number + 10, start, start + 1);
        [if number == 7 { red(query) } else { query }, rows]
    };
    let root = span("shop", "GET /", 1, 0, 0, 600);
    let tree = Tree::new((0..90).flat_map(select).chain([root]).collect());
    let drawn = render("0707", &tree, CANVAS);
    let mut lines = drawn.lines().skip_while(|line| !line.contains("SELECT"));
    let group = lines.next().unwrap_or_default();
    assert!(group.contains("└ SELECT order_line × 90  "), "{drawn}");
    assert!(group.ends_with("360 ms  ✗ error"), "{drawn}");
    let note = lines.next().map(str::trim);
    assert_eq!(note, Some("90 spans below them"), "{drawn}");
    assert_eq!(drawn.matches("└ ").count(), 1, "{drawn}");
    assert!(drawn.contains("--all shows each"), "{drawn}");
    let all = Detail {
        all: true,
        attributes: false,
    };
    let drawn = super::render("0707", &tree, all, CANVAS);
    assert_eq!(drawn.matches("└ SELECT order_line").count(), 90);
    assert!(!drawn.contains("siblings"), "{drawn}");
}

#[test]
fn details_show_attributes() {
    let mut batch = span("shop", "GET /", 1, 0, 0, 10);
    batch.scope_spans[0].spans[0].attributes = vec![text("http.route", "/\u{1b}[2J")];
    let tree = Tree::new(vec![batch]);
    assert!(!render("0707", &tree, CANVAS).contains("http.route"));
    let detail = Detail {
        all: false,
        attributes: true,
    };
    let drawn = super::render("0707", &tree, detail, CANVAS);
    assert!(drawn.contains("http.route=/␛[2J"), "{drawn}");
    assert!(drawn.contains("resource service.name=shop"), "{drawn}");
}

#[test]
fn long_trace_names_what_is_left_out() {
    let step = |number: u16| {
        let name = format!("step {number}");
        let mut batch = span("shop", &name, 1, 0, 0, 10);
        let id = u64::from(number) + 1;
        batch.scope_spans[0].spans[0].span_id = id.to_be_bytes().to_vec();
        batch
    };
    let tree = Tree::new((0..450).map(step).collect());
    let drawn = render("0707", &tree, CANVAS);
    assert!(
        drawn.contains("… and 50 more spans; --all shows them"),
        "{drawn}"
    );
    let all = Detail {
        all: true,
        attributes: false,
    };
    let drawn = super::render("0707", &tree, all, CANVAS);
    assert!(drawn.contains("step 449"), "{drawn}");
}

#[test]
fn narrow_terminal_shows_the_whole_verdict() {
    let canvas = Canvas {
        columns: 40,
        ..CANVAS
    };
    let drawn = render("0707", &Tree::new(a_to_b()), canvas);
    assert!(drawn.ends_with("(84 %)\n"), "{drawn}");
}

#[test]
fn names_work_after_the_root() {
    let mut batches = a_to_b();
    assert!(!render("0707", &Tree::new(batches.clone()), CANVAS).contains("goes on"));
    batches.push(span("service-a", "offers", 6, 1, 1_412, 5_412));
    let drawn = render("0707", &Tree::new(batches), CANVAS);
    assert!(drawn.contains("Work goes on for 4.00 s after"), "{drawn}");
}

#[test]
fn names_times_in_another_unit() {
    const NOW: u64 = 1_800_000_000_000;
    let mut root = span("shop", "GET /", 1, 0, NOW, NOW + 80);
    let event = |time_unix_nano| Event {
        time_unix_nano,
        ..Event::default()
    };
    root.scope_spans[0].spans[0].events = vec![event(NOW), event((NOW - 20) * 1_000_000)];
    // In milliseconds instead of nanoseconds.
    let mut child = span("job", "print", 2, 1, 0, 0);
    child.scope_spans[0].spans[0].start_time_unix_nano = NOW + 10;
    child.scope_spans[0].spans[0].end_time_unix_nano = NOW + 70;
    let drawn = render("0707", &Tree::new(vec![root, child]), CANVAS);
    assert!(
        drawn.contains("event without a time in nanoseconds"),
        "{drawn}"
    );
    assert!(drawn.contains("event 20.0 ms before the trace"), "{drawn}");
    assert!(drawn.contains("Implausible start"), "{drawn}");
    assert!(!drawn.contains("skew"), "{drawn}");
}

#[test]
fn no_dominant_span_means_no_bottleneck() {
    let step = |number: u8| {
        let start = u64::from(number) * 100;
        span(
            "shop",
            &format!("step {number}"),
            number + 2,
            1,
            start,
            start + 100,
        )
    };
    let root = span("shop", "GET /", 1, 0, 0, 1_000);
    let drawn = render(
        "0707",
        &Tree::new((0..10).map(step).chain([root]).collect()),
        CANVAS,
    );
    let verdict = drawn.lines().last().unwrap_or_default();
    assert!(verdict.starts_with("No bottleneck: "), "{drawn}");
    assert!(!drawn.contains("slowest"), "{drawn}");
}

#[test]
fn single_span_has_no_verdict() {
    let drawn = render(
        "0707",
        &Tree::new(vec![span("a", "b", 1, 0, 0, 10)]),
        CANVAS,
    );
    assert!(!drawn.to_lowercase().contains("bottleneck"), "{drawn}");
    assert!(!drawn.contains("slowest"), "{drawn}");
}

#[test]
fn zero_duration_still_draws_a_bar() {
    let drawn = render("0707", &Tree::new(vec![span("a", "b", 1, 0, 5, 5)]), CANVAS);
    assert!(drawn.contains('─'), "{drawn}");
}
