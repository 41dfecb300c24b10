//! A trace as text: the tree on the left, a bar for each span on the right.

use std::{fmt::Write, time::Duration};

use console::{Style, Term};
use spoor_traces::tree::{Bottleneck, Row, Segment, Tree, value};

use super::notes;

/// The most spans shown of a trace.
const MAX_ROWS: usize = 400;
const MAX_NAME_WIDTH: usize = 44;
const MAX_SERVICE_WIDTH: usize = 16;
const MIN_BAR_WIDTH: usize = 10;
const MAX_BAR_WIDTH: usize = 80;
/// The width of everything except service, name and bar: the gaps, the duration, and the mark
/// after it.
const OTHER_WIDTH: usize = 28;

/// The properties of the terminal.
#[derive(Clone, Copy, Debug)]
pub struct Canvas {
    /// The columns of a line.
    pub columns: usize,
    /// True if colours are shown.
    pub colour: bool,
}

impl Canvas {
    /// The properties of standard output. Only a terminal has colours.
    #[must_use]
    pub fn terminal() -> Self {
        let term = Term::stdout();
        let columns = term
            .size_checked()
            .map_or(120, |(_, columns)| usize::from(columns));
        Self {
            columns,
            colour: console::colors_enabled() && term.is_term(),
        }
    }

    /// Truncates the lines of a table to the width of the terminal, which would wrap them.
    #[must_use]
    pub fn truncate(self, table: &str) -> String {
        if !Term::stdout().is_term() {
            return table.to_owned();
        }
        let truncate = |line| format!("{}\n", console::truncate_str(line, self.columns, "…"));
        table.lines().map(truncate).collect()
    }

    fn paint(self, style: Style, text: &str) -> String {
        style.force_styling(self.colour).apply_to(text).to_string()
    }
}

/// Draws a trace.
#[must_use]
pub fn render(id: &str, tree: &Tree, canvas: Canvas) -> String {
    let mut out = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "{}", heading(id, tree, canvas));
    let bottleneck = tree.bottleneck();
    let slowest: &[usize] = match &bottleneck {
        Some(found) if found.is_dominant() => &found.rows,
        _ => &[],
    };
    let columns = Columns::of(tree, canvas);
    for (index, row) in tree.rows().iter().enumerate().take(MAX_ROWS) {
        let is_slowest = slowest.binary_search(&index).is_ok();
        let line = line(tree, row, &columns, is_slowest, canvas);
        let _ = writeln!(out, "{}", line.trim_end());
        for note in notes::of(tree, row) {
            let indent = columns.service + 4 + branch(row).chars().count();
            let line = format!("{:indent$}{note}", "");
            let line = console::truncate_str(&line, canvas.columns, "…");
            let _ = writeln!(out, "{}", canvas.paint(Style::new().dim(), &line));
        }
    }
    if let Some(left_out) = tree
        .rows()
        .len()
        .checked_sub(MAX_ROWS)
        .filter(|more| *more > 0)
    {
        let _ = writeln!(out, "  … and {left_out} more spans");
    }
    let _ = writeln!(out, "  ━ on the critical path   ─ off it");
    if tree.is_exercise() {
        let _ = writeln!(
            out,
            "This trace belongs to an exercise, so its bottleneck is not shown."
        );
    }
    if let Some(text) = bottleneck.and_then(|found| verdict(tree, &found)) {
        let text = console::truncate_str(&text, canvas.columns, "…");
        let _ = writeln!(out, "{}", canvas.paint(Style::new().yellow().bold(), &text));
    }
    out
}

fn verdict(tree: &Tree, found: &Bottleneck) -> Option<String> {
    let row = tree.rows().get(*found.rows.first()?)?;
    let operation = match found.rows.len() {
        1 => printable(&row.member.span.name),
        times => format!("{times} × {}", printable(&row.member.span.name)),
    };
    let share = format!(
        "{operation} in {}, {} of {} ({:.0} %)",
        printable(row.member.service()),
        milliseconds(found.time),
        milliseconds(tree.critical_time()),
        found.share * 100.0
    );
    Some(if found.is_dominant() {
        format!("Bottleneck: {share}")
    } else {
        format!("No bottleneck: nothing dominates the critical path. The largest part is {share}")
    })
}

/// A trace as JSON.
pub(super) fn json(id: &str, tree: &Tree) -> serde_json::Value {
    let span = |row: &Row| {
        serde_json::json!({
            "spanId": value::hex(&row.member.span.span_id),
            "parentSpanId": row.member.parent_id().map(value::hex),
            "service": row.member.service(),
            "operation": row.member.span.name,
            "depth": row.depth,
            "startMilliseconds": offset(tree, row.member.start()).as_secs_f64() * 1e3,
            "durationMilliseconds": row.member.duration().as_secs_f64() * 1e3,
            "selfMilliseconds": row.self_time.as_secs_f64() * 1e3,
            "criticalMilliseconds": row.critical_time().as_secs_f64() * 1e3,
            "error": row.member.is_error(),
            "statusMessage": row.member.status_message(),
            "notes": notes::of(tree, row),
        })
    };
    serde_json::json!({
        "traceId": id,
        "durationMilliseconds": tree.duration().as_secs_f64() * 1e3,
        "bottleneck": bottleneck(tree),
        "spans": tree.rows().iter().map(span).collect::<Vec<_>>(),
    })
}

fn bottleneck(tree: &Tree) -> Option<serde_json::Value> {
    let found = tree.bottleneck().filter(Bottleneck::is_dominant)?;
    let row = tree.rows().get(*found.rows.first()?)?;
    Some(serde_json::json!({
        "service": row.member.service(),
        "operation": row.member.span.name,
        "spans": found.rows.len(),
        "milliseconds": found.time.as_secs_f64() * 1e3,
        "share": found.share,
    }))
}

/// Formats a duration in milliseconds, with about three significant digits.
pub(crate) fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms >= 100.0 {
        format!("{ms:.0} ms")
    } else if ms >= 1.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.3} ms")
    }
}

/// Escapes control characters, so that text from a span cannot move the terminal's cursor.
#[must_use]
pub fn printable(text: &str) -> String {
    value::visible_line(text).into_owned()
}

struct Columns {
    service: usize,
    name: usize,
    bar: usize,
}

impl Columns {
    fn of(tree: &Tree, canvas: Canvas) -> Self {
        let length = |text: &str| value::visible_line(text).chars().count();
        let widest = |measure: &dyn Fn(&Row) -> usize| {
            tree.rows()
                .iter()
                .take(MAX_ROWS)
                .map(measure)
                .max()
                .unwrap_or(0)
        };
        let service = widest(&|row| length(row.member.service())).min(MAX_SERVICE_WIDTH);
        let room = canvas.columns.saturating_sub(service + OTHER_WIDTH);
        let name = widest(&|row| row.depth * 2 + length(&row.member.span.name))
            .min(MAX_NAME_WIDTH)
            .min(room.saturating_sub(MIN_BAR_WIDTH));
        Self {
            service,
            name,
            bar: room
                .saturating_sub(name)
                .clamp(MIN_BAR_WIDTH, MAX_BAR_WIDTH),
        }
    }
}

fn heading(id: &str, tree: &Tree, canvas: Canvas) -> String {
    let (spans, services, errors) = (tree.rows().len(), tree.services().len(), tree.errors());
    let counts = format!(
        "{}, {spans} span{}, {services} service{}",
        milliseconds(tree.duration()),
        if spans == 1 { "" } else { "s" },
        if services == 1 { "" } else { "s" },
    );
    let mut heading = format!("trace {}  {counts}", canvas.paint(Style::new().bold(), id));
    if errors > 0 {
        let text = format!(", {errors} error{}", if errors == 1 { "" } else { "s" });
        heading += &canvas.paint(Style::new().red(), &text);
    }
    heading
}

fn line(tree: &Tree, row: &Row, columns: &Columns, slowest: bool, canvas: Canvas) -> String {
    let service = fit(&printable(row.member.service()), columns.service);
    let name = format!("{}{}", branch(row), printable(&row.member.span.name));
    let name = fit(&name, columns.name);
    let (of_name, of_bar, mark) = match (row.member.is_error(), slowest) {
        (true, _) => (Style::new().red(), Style::new().red(), "  ✗ error"),
        (false, true) => (Style::new().yellow(), Style::new().yellow(), "  ◀ slowest"),
        (false, false) => (Style::new(), Style::new().cyan(), ""),
    };
    format!(
        "  {}  {}  {} {:>9}{}",
        canvas.paint(Style::new().dim(), &service),
        canvas.paint(of_name.clone(), &name),
        canvas.paint(of_bar, &bar(tree, row, columns.bar)),
        milliseconds(row.member.duration()),
        canvas.paint(of_name, mark),
    )
}

fn branch(row: &Row) -> String {
    match row.depth {
        0 => String::new(),
        depth => format!("{}└ ", "  ".repeat((depth - 1).min(MAX_NAME_WIDTH / 4))),
    }
}

/// One cell for each slice of the trace's time that the span touches.
fn bar(tree: &Tree, row: &Row, cells: usize) -> String {
    let at = |time: u64| cell(offset(tree, time), tree.duration(), cells);
    let (from, to) = (at(row.member.start()), at(row.member.end()));
    let critical = |at_cell: usize| {
        row.critical.iter().any(|Segment { start, end }| {
            (at(*start)..=at(*end).saturating_sub(1).max(at(*start))).contains(&at_cell)
        })
    };
    (0..cells)
        .map(|cell| {
            let inside = (from..to).contains(&cell) || (from == to && cell == from.min(cells - 1));
            match (inside, critical(cell)) {
                (false, _) => ' ',
                (true, true) => '━',
                (true, false) => '─',
            }
        })
        .collect()
}

pub(super) fn offset(tree: &Tree, time: u64) -> Duration {
    Duration::from_nanos(time.saturating_sub(tree.start()))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a column of the screen"
)]
fn cell(offset: Duration, whole: Duration, cells: usize) -> usize {
    let share = offset.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE);
    ((share * cells as f64).round() as usize).min(cells)
}

fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    let start: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{
        ResourceSpans, Status,
        span::{Event, Link},
    };
    use spoor_traces::tree::EXERCISE_USER_AGENT;

    use spoor_traces::tree::warnings;

    use super::*;
    use crate::traces::spans::{span, text};

    fn a_to_b() -> Vec<ResourceSpans> {
        vec![
            span("service-a", "GET /", 1, 0, 1000, 1412),
            span("service-a", "spoor.ab.v1.ServiceB/Work", 2, 1, 1002, 1410),
            span("service-b", "spoor.ab.v1.ServiceB/Work", 3, 2, 1004, 1408),
            span("service-b", "SELECT offers", 4, 3, 1005, 1350),
            span("service-b", "heavy_calc", 5, 3, 1350, 1400),
        ]
    }

    const CANVAS: Canvas = Canvas {
        columns: 100,
        colour: false,
    };

    #[test]
    fn draws_the_tree_and_names_the_bottleneck() {
        insta::assert_snapshot!(render("0707", &Tree::new(a_to_b()), CANVAS));
    }

    #[test]
    fn an_exercise_keeps_its_bottleneck_secret() {
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
    fn hostile_names_move_no_cursor() {
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

    /// The tree says so, and so does the warning of whoever answers.
    #[test]
    fn a_missing_parent_is_told_once() {
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
    fn shows_what_spans_carry() {
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
    fn a_long_list_of_events_is_cut() {
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
            "Bottleneck: 200 × SELECT in shop, 800 ms of 1300 ms (62 %)"
        );
    }

    #[test]
    fn says_that_nothing_dominates() {
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
    fn a_single_span_gets_no_verdict() {
        let drawn = render(
            "0707",
            &Tree::new(vec![span("a", "b", 1, 0, 0, 10)]),
            CANVAS,
        );
        assert!(!drawn.to_lowercase().contains("bottleneck"), "{drawn}");
        assert!(!drawn.contains("slowest"), "{drawn}");
    }

    #[test]
    fn a_trace_of_no_length_has_a_bar() {
        let drawn = render("0707", &Tree::new(vec![span("a", "b", 1, 0, 5, 5)]), CANVAS);
        assert!(drawn.contains('─'), "{drawn}");
    }
}
