//! The URL of a database.

use std::{fmt, str::FromStr};

use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

/// `sqlite::memory:`, `sqlite:wishes.db`, `postgres://user@host/database`.
#[derive(Clone, Debug)]
pub struct DatabaseUrl(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Memory,
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

/// The error for an invalid URL. It does not repeat the text, which may contain a password.
#[derive(Debug, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    /// Another kind of database, or no URL.
    #[error("must be sqlite::memory:, sqlite:FILE or postgres://USER@HOST/DATABASE")]
    Unknown,
    /// A part of it is wrong.
    #[error("cannot be parsed: {0}")]
    Part(sqlx::Error),
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let kind = match text.split_once(':') {
            Some(("sqlite", ":memory:" | "//:memory:")) => Kind::Memory,
            Some(("sqlite", file)) if !file.trim_start_matches('/').is_empty() => {
                Kind::Sqlite(text.parse().map_err(InvalidDatabaseUrl::Part)?)
            }
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Kind::Postgres(text.parse().map_err(InvalidDatabaseUrl::Part)?)
            }
            _ => return Err(InvalidDatabaseUrl::Unknown),
        };
        Ok(Self(kind))
    }
}

impl fmt::Display for DatabaseUrl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Memory => f.write_str("sqlite::memory:"),
            Kind::Sqlite(options) => write!(f, "sqlite:{}", options.get_filename().display()),
            Kind::Postgres(options) => {
                let (host, port) = (options.get_host(), options.get_port());
                // Postgres connects to the database of the user's name by default.
                let database = options.get_database().unwrap_or(options.get_username());
                write!(f, "postgres://{host}:{port}/{database}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("sqlite::memory:", "sqlite::memory:")]
    #[case("sqlite:wishes.db", "sqlite:wishes.db")]
    #[case("sqlite:///var/lib/wishes.db", "sqlite:/var/lib/wishes.db")]
    #[case(
        "postgres://me:secret@db.example:6543/wishes",
        "postgres://db.example:6543/wishes"
    )]
    fn displayed_without_the_password(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(text.parse::<DatabaseUrl>().unwrap().to_string(), shown);
    }

    #[rstest::rstest]
    #[case("")]
    #[case("wishes.db")]
    #[case("sqlite:")]
    #[case("mysql://me:secret@host/wishes")]
    #[case("postgres:wishes")]
    fn invalid_urls_are_refused(#[case] text: &str) {
        let error = text.parse::<DatabaseUrl>().unwrap_err().to_string();
        assert!(
            error.contains("must be") && !error.contains("secret"),
            "{error}"
        );
    }
}
