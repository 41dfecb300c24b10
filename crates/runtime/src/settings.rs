//! Settings, whose errors are all reported together.

mod environment;
pub mod otel;

use std::{fmt, str::FromStr};

pub use environment::{Environment, parse_endpoint};

/// An error in one setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct SettingError {
    /// The name of the environment variable, or of the flag and the variable.
    pub setting: &'static str,
    /// The expected form, and the value unless it may be secret.
    pub problem: String,
}

/// The errors in all settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct InvalidSettings(pub Vec<SettingError>);

/// Reads settings and collects their errors.
#[derive(Debug, Default)]
pub struct SettingsReader(Vec<SettingError>);

impl SettingsReader {
    /// Parses a value, or records an error with `example`, a correct value.
    pub fn parse<T>(&mut self, setting: &'static str, text: &str, example: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let parsed = text.parse().map_err(|error| {
            format!("must be a value such as \"{example}\", not {text:?}: {error}")
        });
        self.check(setting, parsed)
    }

    /// Returns the value of a check, or records its error, which must state the expected form.
    pub fn check<T>(
        &mut self,
        setting: &'static str,
        checked: Result<T, impl fmt::Display>,
    ) -> Option<T> {
        checked
            .inspect_err(|problem| self.add_error(setting, problem.to_string()))
            .ok()
    }

    /// Records an error.
    pub fn add_error(&mut self, setting: &'static str, problem: impl Into<String>) {
        let problem = problem.into();
        self.0.push(SettingError { setting, problem });
    }

    /// Returns the value if no error was recorded.
    ///
    /// # Errors
    /// All recorded errors.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, InvalidSettings> {
        match value {
            // There may be a value in spite of errors, with defaults in place of invalid settings.
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(InvalidSettings(self.0)),
        }
    }
}

/// Logs settings that were ignored.
pub fn log_warnings(warnings: &[SettingError]) {
    for warning in warnings {
        tracing::warn!("ignored {warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_errors_are_reported_together() {
        let mut reader = SettingsReader::default();
        let port: Option<u16> = reader.parse("--port", "high", "8080");
        assert_eq!(reader.check("--name", Ok::<_, String>("a")), Some("a"));
        reader.add_error("--key", "must not be empty");
        let error = reader.finish(port).map_err(|error| error.to_string());
        let lines = "--port: must be a value such as \"8080\", not \"high\": \
                     invalid digit found in string\n--key: must not be empty";
        assert_eq!(error, Err(lines.to_owned()));
    }

    #[test]
    fn default_does_not_hide_an_error() {
        let mut reader = SettingsReader::default();
        reader.add_error("--key", "must not be empty");
        assert!(reader.finish(Some("default")).is_err());
    }
}
