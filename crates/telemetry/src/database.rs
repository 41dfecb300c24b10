//! Spans for database statements, as the semantic conventions for databases have them.

use std::error::Error;

use tracing::{Span, field::Empty, info_span};

/// A statement about to be executed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statement<'a> {
    /// `db.system.name`, such as `sqlite` or `postgresql`.
    pub system: &'a str,
    /// `db.query.summary` and the span's name: `db.operation.name` and `db.collection.name`,
    /// such as `INSERT wishes`, or `db.stored_procedure.name`, such as `EVALSHA create`.
    pub summary: &'a str,
    /// `db.query.text`: with placeholders, never with values.
    pub text: &'a str,
    /// `server.address`; none for a database in the process.
    pub server: Option<&'a str>,
    /// `server.port`, where it is not the system's usual one.
    pub port: Option<u16>,
    /// `db.namespace`: the database on that server.
    pub namespace: Option<&'a str>,
}

/// Operations that are followed by a procedure's name, and not by a table's.
const CALLS: [&str; 3] = ["CALL", "EVALSHA", "FCALL"];

/// The span of a statement, a child of the current one: instrument the call's future with it.
/// `summary` is `db.query.summary` and the span's name, such as `INSERT wishes`: the operation
/// and the table. `text` has placeholders, never values.
///
/// ```
/// # use tracing::Instrument;
/// # async fn example() -> Result<(), std::io::Error> {
/// # async fn execute(_: &str) -> Result<(), std::io::Error> { Ok(()) }
/// use spoor_telemetry::database;
///
/// let text = "INSERT INTO wishes (name) VALUES ($1)";
/// let span = database::statement("sqlite", "INSERT wishes", text);
/// database::observed(execute(text), span).await
/// # }
/// ```
#[must_use]
pub fn statement(system: &str, summary: &str, text: &str) -> Span {
    Statement {
        system,
        summary,
        text,
        ..Statement::default()
    }
    .span()
}

/// Awaits a statement inside its span; an error becomes the span's status and an `exception`
/// event.
///
/// # Errors
/// The statement's own.
pub async fn observed<T, E: Error + 'static>(
    statement: impl Future<Output = Result<T, E>>,
    span: Span,
) -> Result<T, E> {
    use tracing::Instrument;

    let result = statement.instrument(span.clone()).await;
    if let Err(error) = &result {
        failed(&span, "_OTHER", error);
    }
    result
}

/// Says on a statement's span that it failed. `error_type` is one of few: a code of the
/// database's, such as `OOM`, or what kept it from answering, such as `timeout`.
pub fn failed(span: &Span, error_type: &str, error: &(dyn Error + 'static)) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", tracing::field::display(error));
    // Inside the span, where it becomes the `exception` event that the conventions ask for.
    span.in_scope(|| tracing::warn!(error, "the statement failed"));
}

impl Statement<'_> {
    /// Its span, a child of the current one.
    #[must_use]
    pub fn span(&self) -> Span {
        let (operation, target) = match self.summary.split_once(' ') {
            Some((operation, target)) => (operation, Some(target)),
            None => (self.summary, None),
        };
        let calls = CALLS.contains(&operation);
        info_span!(
            "statement",
            otel.name = self.summary,
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            db.system.name = self.system,
            db.operation.name = operation,
            db.collection.name = target.filter(|_| !calls),
            db.stored_procedure.name = target.filter(|_| calls),
            db.namespace = self.namespace,
            db.query.text = self.text,
            db.query.summary = self.summary,
            server.address = self.server,
            server.port = self.port,
            error.type = Empty,
        )
    }
}
