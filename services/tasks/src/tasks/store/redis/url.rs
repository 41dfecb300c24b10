//! The address of a Redis server.

use std::{ffi::OsStr, str::FromStr};

use clap::{
    Arg, Command,
    builder::{TypedValueParser, ValueParserFactory},
    error::ErrorKind,
};
use redis::{ConnectionAddr, IntoConnectionInfo};

/// A URL `redis://:PASSWORD@HOST:PORT/NUMBER`, which is displayed without its password.
#[derive(Clone, derive_more::Debug, derive_more::Display)]
// Not derived field by field, since that would show the password.
#[debug("{self}")]
#[display("redis://{host}:{port}/{database}")]
pub struct RedisUrl {
    text: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// The number of the database.
    pub(super) database: i64,
}

/// The error for an invalid URL. It does not repeat the text, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a URL such as redis://127.0.0.1:6379/0 or redis://:PASSWORD@redis:6379/0")]
pub struct InvalidRedisUrl;

impl RedisUrl {
    /// The URL with its password, for connecting.
    #[must_use]
    pub fn with_password(&self) -> &str {
        &self.text
    }
}

impl FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        let info = text.into_connection_info().map_err(|_| InvalidRedisUrl)?;
        // Not TLS, for which the client is not compiled, nor Unix sockets, which have no host and port.
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(InvalidRedisUrl);
        };
        Ok(Self {
            text: text.to_owned(),
            host: host.clone(),
            port: *port,
            database: info.redis_settings().db(),
        })
    }
}

impl ValueParserFactory for RedisUrl {
    type Parser = RedisUrlParser;

    fn value_parser() -> RedisUrlParser {
        RedisUrlParser
    }
}

/// A command-line parser for [`RedisUrl`]. Unlike clap's own, its errors do not repeat the value.
#[derive(Clone, Copy, Debug)]
pub struct RedisUrlParser;

impl TypedValueParser for RedisUrlParser {
    type Value = RedisUrl;

    fn parse_ref(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<RedisUrl, clap::Error> {
        let url = value.to_str().ok_or(InvalidRedisUrl).and_then(str::parse);
        url.map_err(|error| {
            let message = format!("SPOOR_REDIS_URL (--redis-url) {error}\n");
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("redis://127.0.0.1", "redis://127.0.0.1:6379/0")]
    #[case(
        "redis://me:secret@redis.example:7000/2",
        "redis://redis.example:7000/2"
    )]
    #[case("redis://:secret@redis/", "redis://redis:6379/0")]
    fn url_is_displayed_without_its_password(#[case] text: &str, #[case] shown: &str) {
        let url: RedisUrl = text.parse().unwrap();
        assert_eq!(
            (url.to_string(), format!("{url:?}")),
            (shown.to_owned(), shown.to_owned())
        );
    }

    #[rstest::rstest]
    #[case("")]
    #[case("127.0.0.1:6379")]
    #[case("http://me:secret@host")]
    #[case("rediss://:secret@host")]
    #[case("unix:///run/redis.sock")]
    #[case("redis://:secret@host/one")]
    #[case("redis://:secret@host:99999")]
    fn invalid_urls_are_refused(#[case] text: &str) {
        let error = text.parse::<RedisUrl>().unwrap_err().to_string();
        assert!(
            error.starts_with("must be") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn errors_do_not_repeat_the_password() {
        let command = Command::new("tasks").arg(Arg::new("url").value_parser(RedisUrlParser));
        let error = command
            .try_get_matches_from(["tasks", "http://:secret@host"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("SPOOR_REDIS_URL") && !error.contains("secret"),
            "{error}"
        );
    }
}
