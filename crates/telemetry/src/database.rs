//! Spans for database statements, as the semantic conventions for databases define them.

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
    /// `server.address`. `None` for a database in the process.
    pub server: Option<&'a str>,
    /// `server.port`, if it is not the system's default port.
    pub port: Option<u16>,
    /// `db.namespace`: the database on that server.
    pub namespace: Option<&'a str>,
}

/// Operations that are followed by the name of a procedure instead of a table.
const CALL_OPERATIONS: [&str; 3] = ["CALL", "EVALSHA", "FCALL"];

/// The span of a statement, a child of the current span.
///
/// The parameters are the fields of [`Statement`] with the same names.
///
/// ```
/// # use tracing::Instrument;
/// # async fn example() -> Result<(), std::io::Error> {
/// # async fn execute(_: &str) -> Result<(), std::io::Error> { Ok(()) }
/// use spoor_telemetry::database;
///
/// let text = "INSERT INTO wishes (name) VALUES ($1)";
/// let span = database::statement("sqlite", "INSERT wishes", text);
/// database::observe(execute(text), span).await
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

/// Executes a statement inside its span. An error becomes the span's status and an `exception`
/// event.
///
/// # Errors
/// The statement's error.
pub async fn observe<T, E: Error + 'static>(
    statement: impl Future<Output = Result<T, E>>,
    span: Span,
) -> Result<T, E> {
    use tracing::Instrument;

    let result = statement.instrument(span.clone()).await;
    if let Err(error) = &result {
        record_failure(&span, "_OTHER", error);
    }
    result
}

/// Records a statement's failure in its span. `error_type` must have a low cardinality: a code of
/// the database, such as `OOM`, or the reason for the missing response, such as `timeout`.
pub fn record_failure(span: &Span, error_type: &str, error: &(dyn Error + 'static)) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", tracing::field::display(error));
    // Inside the span, where it becomes the `exception` event of the conventions.
    span.in_scope(|| tracing::warn!(error, "the statement failed"));
}

impl Statement<'_> {
    /// The span of the statement, a child of the current span.
    #[must_use]
    pub fn span(&self) -> Span {
        let (operation, target) = match self.summary.split_once(' ') {
            Some((operation, target)) => (operation, Some(target)),
            None => (self.summary, None),
        };
        let is_call = CALL_OPERATIONS.contains(&operation);
        info_span!(
            "statement",
            otel.name = self.summary,
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            db.system.name = self.system,
            db.operation.name = operation,
            db.collection.name = target.filter(|_| !is_call),
            db.stored_procedure.name = target.filter(|_| is_call),
            db.namespace = self.namespace,
            db.query.text = self.text,
            db.query.summary = self.summary,
            server.address = self.server,
            server.port = self.port,
            error.type = Empty,
        )
    }
}
