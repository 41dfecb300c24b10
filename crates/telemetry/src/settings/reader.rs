//! Looks settings up, and collects what is wrong with them.

use std::{fmt::Display, time::Duration};

use spoor_runtime::{InvalidSettings, SettingError, SettingsReader};

use crate::percent;

/// Looks settings up, and collects errors and warnings.
pub(super) struct Reader<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    errors: SettingsReader,
    warnings: Vec<SettingError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            variable,
            errors: SettingsReader::default(),
            warnings: Vec::new(),
        }
    }

    /// Returns the warnings, if there was no error.
    pub(super) fn finish(self) -> Result<Vec<SettingError>, InvalidSettings> {
        self.errors.finish(Some(self.warnings))
    }

    /// An empty value is the same as none: OpenTelemetry says so.
    pub(super) fn text(&self, setting: &str) -> Option<String> {
        let text = (self.variable)(setting)?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The first of these that is set, with its name.
    pub(super) fn first(&self, settings: &[&'static str]) -> Option<(&'static str, String)> {
        settings
            .iter()
            .find_map(|setting| Some((*setting, self.text(setting)?)))
    }

    /// `true` in any case; all else is false, with a warning if it is not `false`.
    pub(super) fn boolean(&mut self, setting: &'static str) -> bool {
        let Some(text) = self.text(setting) else {
            return false;
        };
        if !text.eq_ignore_ascii_case("true") && !text.eq_ignore_ascii_case("false") {
            self.warn(setting, &text, "must be \"true\" or \"false\"");
        }
        text.eq_ignore_ascii_case("true")
    }

    /// A number of at least `least`; otherwise a warning and the default.
    pub(super) fn number(&mut self, setting: &'static str, least: u64, default: u64) -> u64 {
        let Some(text) = self.text(setting) else {
            return default;
        };
        match text.parse() {
            Ok(number) if number >= least => number,
            _ => {
                self.warn(
                    setting,
                    &text,
                    &format!("must be a whole number of at least {least}"),
                );
                default
            }
        }
    }

    pub(super) fn milliseconds(
        &mut self,
        settings: &[&'static str],
        default: Duration,
    ) -> Duration {
        let Some((setting, _)) = self.first(settings) else {
            return default;
        };
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.number(setting, 1, default))
    }

    /// A setting whose value must be right.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        setting: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(setting)?;
        self.errors.checked(setting, parse(&text))
    }

    pub(super) fn fail(&mut self, setting: &'static str, problem: impl Into<String>) {
        self.errors.wrong(setting, problem);
    }

    pub(super) fn warn(&mut self, setting: &'static str, value: &str, right: &str) {
        let problem = format!("{right}, not {value:?}");
        self.warnings.push(SettingError { setting, problem });
    }
}

/// `key=value,key=value`, percent-encoded, as `OTEL_RESOURCE_ATTRIBUTES` and `…_HEADERS` have it.
pub(super) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = percent::decoded(key.trim())?;
            (!key.is_empty()).then_some(())?;
            Some((key, percent::decoded(value.trim())?))
        })
        .collect()
}

/// An http or https URL with a host.
pub(super) fn endpoint(text: &str, example: &str) -> Result<http::Uri, String> {
    let wrong = || format!("must be a URL such as \"{example}\", not {text:?}");
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    if scheme && uri.host().is_some_and(|host| !host.is_empty()) {
        Ok(uri)
    } else {
        Err(wrong())
    }
}
