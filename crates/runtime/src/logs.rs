//! The format of log lines, each with the trace and span that it belongs to, sampled or not.

mod fields;

use std::{
    fmt::{self, Write},
    str::FromStr,
};

use jiff::Timestamp;
use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt},
};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use fields::{JsonFields, TextFields};

/// The log filter unless another one is set. It leaves out the warnings of h2, which logs one for
/// each connection on which a client resets many requests, without a rate limit.
pub const DEFAULT_LOG_FILTER: &str = "info,h2=error";

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("must be \"text\" or \"json\", not {text:?}")),
        }
    }
}

/// Formats each event as one line.
#[derive(Clone, Copy, Debug)]
pub struct LogLines(pub LogFormat);

impl<S, N> FormatEvent<S, N> for LogLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // OpenTelemetry's context rather than tracing's, which does not include the server spans.
        let span = Context::map_current(|context| context.span().span_context().clone());
        let line = match self.0 {
            LogFormat::Text => text(event, &span)?,
            LogFormat::Json => json(event, &span)?,
        };
        writeln!(writer, "{line}")
    }
}

fn text(event: &Event<'_>, span: &SpanContext) -> Result<String, fmt::Error> {
    let metadata = event.metadata();
    let mut line = String::with_capacity(160);
    let (level, target) = (metadata.level(), metadata.target());
    write!(line, "{:.3} {level:>5} {target}:", Timestamp::now())?;
    event.record(&mut TextFields(&mut line));
    if span.is_valid() {
        let (trace, id) = (span.trace_id(), span.span_id());
        write!(line, " trace_id={trace} span_id={id}")?;
    }
    Ok(line)
}

fn json(event: &Event<'_>, span: &SpanContext) -> Result<String, fmt::Error> {
    let metadata = event.metadata();
    let mut object = serde_json::Map::new();
    let mut put = |key: &str, value: String| object.insert(key.to_owned(), value.into());
    put("timestamp", format!("{:.6}", Timestamp::now()));
    put("level", metadata.level().to_string());
    put("target", metadata.target().to_owned());
    if span.is_valid() {
        put("trace_id", span.trace_id().to_string());
        put("span_id", span.span_id().to_string());
        put("trace_flags", format!("{:02x}", span.trace_flags()));
    }
    event.record(&mut JsonFields(&mut object));
    serde_json::to_string(&object).map_err(|_| fmt::Error)
}
