//! A picture of latency, rate and failures over time, as SVG.

use std::io;

use plotters::{
    coord::ranged1d::{AsRangedCoord, ValueFormatter},
    prelude::*,
};

use super::{
    summary::{LoadSummary, PhaseRow},
    timeline::Point,
};

// All lengths are in pixels.

/// The width and height.
const SIZE: (u32, u32) = (1000, 640);
const HEADER_HEIGHT: u32 = 70;
const LATENCY_HEIGHT: u32 = 350;
const LEGEND_HEIGHT: u32 = 24;
/// The approximate width of a character.
const CHARACTER_WIDTH: i32 = 6;
const MARGIN: u32 = 16;
const AXIS_WIDTH: u32 = 64;
const AXIS_HEIGHT: u32 = 40;
/// The ratio of the highest to the lowest latency above which the axis is logarithmic, since low
/// latencies would not show on a linear one.
const MAX_LINEAR_RATIO: f64 = 40.0;

// Distinguishable with any kind of colour vision, and in print.
const P50: RGBColor = RGBColor(0, 60, 120);
const P99: RGBColor = RGBColor(64, 140, 210);
const DUE: RGBColor = RGBColor(120, 120, 120);
const RESPONSES: RGBColor = RGBColor(0, 120, 90);
const FAILED: RGBColor = RGBColor(200, 40, 30);
const GREY: RGBColor = RGBColor(110, 110, 110);
/// The opacity of the area between p50 and p99.
const BAND_OPACITY: f64 = 0.25;
const GRID: RGBColor = RGBColor(225, 225, 225);

/// The error of drawing a picture.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw the picture: {0}")]
pub struct DrawError(#[from] Failure);

/// The error of plotters, whose SVG backend writes to memory.
type Failure = DrawingAreaErrorKind<io::Error>;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws the picture as SVG.
///
/// # Errors
/// [`DrawError`] if an element does not fit its area.
pub fn draw(title: &str, summary: &LoadSummary) -> Result<String, DrawError> {
    let mut svg = String::new();
    {
        // In a block, since the backend borrows the text until it is dropped.
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (header, charts) = root.split_vertically(HEADER_HEIGHT);
        let (latency, rate) = charts.split_vertically(LATENCY_HEIGHT);
        write_header(&header, title, summary)?;
        let seconds = duration_seconds(summary);
        let (lowest, highest) = extremes(&summary.timeline.points);
        if highest > lowest * MAX_LINEAR_RATIO {
            let bottom = lowest * 0.7;
            let axis = (bottom..highest * 1.5).log_scale();
            draw_latency(&latency, seconds, axis, (bottom, highest * 1.2), summary)?;
        } else {
            let axis = 0.0..highest * 1.15;
            draw_latency(&latency, seconds, axis, (0.0, highest * 1.1), summary)?;
        }
        draw_rate(&rate, seconds, summary)?;
        root.present()?;
    }
    Ok(svg)
}

fn write_header(area: &Area<'_>, title: &str, summary: &LoadSummary) -> Result<(), Failure> {
    let large = ("sans-serif", 24).into_font().style(FontStyle::Bold);
    area.draw(&Text::new(title.to_owned(), (20, 14), large))?;
    let all = &summary.all;
    let latency = |name| all.latency_milliseconds.get(name).copied().unwrap_or(0.0);
    let text = format!(
        "{} requests in {:.0} s, {} failed; latency p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms, measured from when each request was {}",
        all.requests,
        summary.seconds,
        all.failed,
        latency("p50"),
        latency("p99"),
        latency("max"),
        if summary.corrected { "due" } else { "sent" },
    );
    let small = ("sans-serif", 15).into_font().color(&GREY);
    area.draw(&Text::new(text, (20, 44), small))
}

/// Draws the latency chart. The lines between phases run from `bottom` up to `top`, where the names
/// of the phases are.
fn draw_latency<Y>(
    area: &Area<'_>,
    seconds: f64,
    axis: Y,
    (bottom, top): (f64, f64),
    summary: &LoadSummary,
) -> Result<(), Failure>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: plotters::coord::ranged1d::Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let between = P99.mix(BAND_OPACITY);
    let (legend, area) = area.split_vertically(LEGEND_HEIGHT);
    let entries = [
        (P99.to_rgba(), "p99: one in 100 took longer"),
        (P50.to_rgba(), "p50: half took longer"),
        (between, "between the two"),
    ];
    write_legend(&legend, &entries)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(MARGIN)
        .margin_top(0)
        .x_label_area_size(AXIS_HEIGHT)
        .y_label_area_size(AXIS_WIDTH)
        .build_cartesian_2d(0.0..seconds, axis)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GREY)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .x_desc("when requests were due (seconds since the start)")
        .y_desc("latency (milliseconds)")
        .x_label_formatter(&format_number)
        .y_label_formatter(&format_number)
        .draw()?;
    let p50 = series(summary, |point| point.p50);
    let p99 = series(summary, |point| point.p99);
    // Forwards along p50 and back along p99, which encloses the area between them.
    let band: Vec<(f64, f64)> = p50.iter().chain(p99.iter().rev()).copied().collect();
    chart.draw_series([Polygon::new(band, between)])?;
    chart.draw_series(LineSeries::new(p99, P99.stroke_width(2)))?;
    chart.draw_series(LineSeries::new(p50, P50.stroke_width(2)))?;
    // The first phase begins at the axis.
    for phase in summary.phases.iter().skip(1) {
        let line = [(phase.began, bottom), (phase.began, top)];
        chart.draw_series(DashedLineSeries::new(line, 4, 4, GREY.stroke_width(1)))?;
    }
    if summary.phases.len() > 1 {
        let small = ("sans-serif", 13).into_font().color(&GREY);
        chart.draw_series(summary.phases.iter().map(|phase| {
            let at = (phase.began + seconds * 0.005, top);
            Text::new(phase.phase.clone(), at, small.clone())
        }))?;
    }
    Ok(())
}

fn draw_rate(area: &Area<'_>, seconds: f64, summary: &LoadSummary) -> Result<(), Failure> {
    let per_second = |count: fn(&Point) -> u64| {
        let length = summary.timeline.interval_seconds;
        series(summary, move |point| Some(count(point) as f64 / length))
    };
    let responses = per_second(|point| point.responses);
    let failed = per_second(|point| point.failed);
    let ends = |phase: &PhaseRow| {
        let [from, to] = phase.rate;
        [(phase.began, from), (phase.began + phase.lasts, to)]
    };
    let due: Vec<(f64, f64)> = summary.phases.iter().flat_map(ends).collect();
    let rates = responses.iter().chain(&due).map(|(_, rate)| *rate);
    let highest = rates.fold(1.0, f64::max);
    let (legend, area) = area.split_vertically(LEGEND_HEIGHT);
    let mut entries = vec![
        (RESPONSES.to_rgba(), "responses"),
        (FAILED.to_rgba(), "failed, by due time"),
    ];
    if !due.is_empty() {
        entries.push((DUE.to_rgba(), "due"));
    }
    write_legend(&legend, &entries)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(MARGIN)
        .margin_top(0)
        .x_label_area_size(AXIS_HEIGHT)
        .y_label_area_size(AXIS_WIDTH)
        .build_cartesian_2d(0.0..seconds, 0.0..highest * 1.2)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GREY)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .x_desc("seconds since the start")
        .y_desc("requests per second")
        .y_labels(5)
        .x_label_formatter(&format_number)
        .y_label_formatter(&format_number)
        .draw()?;
    let responses = AreaSeries::new(responses, 0.0, RESPONSES.mix(0.2));
    chart.draw_series(responses.border_style(RESPONSES.stroke_width(2)))?;
    let failed = AreaSeries::new(failed, 0.0, FAILED.mix(0.5));
    chart.draw_series(failed.border_style(FAILED.stroke_width(2)))?;
    if !due.is_empty() {
        chart.draw_series(DashedLineSeries::new(due, 6, 4, DUE.stroke_width(2)))?;
    }
    Ok(())
}

/// Writes the meaning of the colours in one line.
fn write_legend(area: &Area<'_>, entries: &[(RGBAColor, &str)]) -> Result<(), Failure> {
    let mut left = i32::try_from(MARGIN + AXIS_WIDTH).unwrap_or_default();
    let middle = i32::try_from(LEGEND_HEIGHT / 2).unwrap_or_default();
    for (colour, text) in entries {
        let mark = [(left, middle - 5), (left + 18, middle + 5)];
        area.draw(&Rectangle::new(mark, colour.filled()))?;
        let font = ("sans-serif", 15).into_font().color(&BLACK);
        area.draw(&Text::new(
            (*text).to_owned(),
            (left + 24, middle - 7),
            font,
        ))?;
        let characters = i32::try_from(text.chars().count()).unwrap_or_default();
        left += 24 + characters * CHARACTER_WIDTH + 24;
    }
    Ok(())
}

/// The points of the intervals that have the value, each at the interval's middle.
fn series(summary: &LoadSummary, value: impl Fn(&Point) -> Option<f64>) -> Vec<(f64, f64)> {
    let half = summary.timeline.interval_seconds / 2.0;
    let points = summary.timeline.points.iter();
    points
        .filter_map(|point| Some((point.seconds + half, value(point)?)))
        .collect()
}

/// The lowest p50 and the highest p99.
fn extremes(points: &[Point]) -> (f64, f64) {
    let lowest = points.iter().filter_map(|point| point.p50).reduce(f64::min);
    let highest = points.iter().filter_map(|point| point.p99).reduce(f64::max);
    let (lowest, highest) = (lowest.unwrap_or(1.0), highest.unwrap_or(1.0));
    (lowest.max(0.001), highest.max(0.01))
}

fn duration_seconds(summary: &LoadSummary) -> f64 {
    let last = summary.timeline.points.last();
    let length = last.map_or(0.0, |last| last.seconds + summary.timeline.interval_seconds);
    length.max(0.001)
}

/// Formats a number without trailing zeros.
fn format_number(value: &f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
