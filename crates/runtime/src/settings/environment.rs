//! Reads environment variables, and collects the errors in their values.

use std::{fmt::Display, str::FromStr, time::Duration};

use http::Uri;

use super::{SettingError, SettingsReader};

/// The environment variables of a process.
pub struct Environment<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    errors: &'a mut SettingsReader,
    /// Settings that were ignored, most of them as OpenTelemetry's specification requires.
    pub warnings: Vec<SettingError>,
}

impl<'a> Environment<'a> {
    /// Creates an environment that reads with `variable`, which returns the value of a variable,
    /// and adds errors to those of other settings.
    pub fn new(
        variable: &'a dyn Fn(&str) -> Option<String>,
        errors: &'a mut SettingsReader,
    ) -> Self {
        Self {
            variable,
            errors,
            warnings: Vec::new(),
        }
    }

    /// The value of a setting. OpenTelemetry treats an empty one as unset.
    #[must_use]
    pub fn text(&self, setting: &str) -> Option<String> {
        let text = (self.variable)(setting)?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The name and value of the first of these settings that is set.
    #[must_use]
    pub fn first(&self, settings: &[&'static str]) -> Option<(&'static str, String)> {
        settings
            .iter()
            .find_map(|setting| Some((*setting, self.text(setting)?)))
    }

    /// Reads a boolean, `true` or `false` in upper or lower case. Other values are false, with a
    /// warning.
    pub fn boolean(&mut self, setting: &'static str) -> bool {
        let choices = [("true", true), ("false", false)];
        let text = self.text(setting).map(|text| (setting, text));
        self.choice(text, &choices, "must be \"true\" or \"false\"")
            .unwrap_or_default()
    }

    /// The value of the choice that a setting names. `None` if the setting is unset or, with a
    /// warning, if there is no such choice. As the specification recommends, case does not matter.
    pub fn choice<T: Copy>(
        &mut self,
        setting: Option<(&'static str, String)>,
        choices: &[(&str, T)],
        expected: &str,
    ) -> Option<T> {
        let (setting, text) = setting?;
        let mut choices = choices.iter();
        let choice = choices.find(|(name, _)| text.eq_ignore_ascii_case(name));
        if choice.is_none() {
            self.warn(setting, &text, expected);
        }
        choice.map(|(_, value)| *value)
    }

    /// Reads a whole number of at least `min`. Other values are ignored with a warning.
    pub fn number<T>(&mut self, setting: &'static str, min: T, default: T) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(setting) else {
            return default;
        };
        let number = text.parse::<T>().ok().filter(|number| *number >= min);
        number.unwrap_or_else(|| {
            let expected = format!("must be a whole number of at least {min}");
            self.warn(setting, &text, &expected);
            default
        })
    }

    /// Reads the first of these settings that is set: a whole number of milliseconds, at least 1.
    /// Other values are ignored with a warning.
    pub fn milliseconds(&mut self, settings: &[&'static str], default: Duration) -> Duration {
        let Some((setting, _)) = self.first(settings) else {
            return default;
        };
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.number(setting, 1, default))
    }

    /// Reads a setting whose value must be valid, or records an error.
    pub fn parse<T, E: Display>(
        &mut self,
        setting: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(setting)?;
        self.errors.check(setting, parse(&text))
    }

    /// Records an error.
    pub fn add_error(&mut self, setting: &'static str, problem: impl Into<String>) {
        self.errors.add_error(setting, problem);
    }

    /// Records a warning that a value is ignored. `expected` is the requirement that it violates.
    pub fn warn(&mut self, setting: &'static str, value: &str, expected: &str) {
        let problem = format!("{expected}, not {value:?}");
        self.warnings.push(SettingError { setting, problem });
    }
}

/// Parses an http or https URL with a host.
///
/// # Errors
/// A message with the expected form.
pub fn parse_endpoint(text: &str, example: &str) -> Result<Uri, String> {
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    uri.ok_or_else(|| format!("must be a URL such as \"{example}\", not {text:?}"))
}
