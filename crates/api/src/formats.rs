//! The formats of strings in the resources.
//!
//! Validation and the API server share one pattern and one message for each, so that they agree.

use std::sync::OnceLock;

use jiff::Timestamp;
use regex::Regex;

use crate::field::quoted;

/// The error for a text that does not have the required format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidText(pub(crate) String);

/// A format of strings. The pattern uses syntax that Rust and CEL (RE2) share.
pub(crate) struct Format {
    /// The longest text, in characters. All patterns are ASCII, so this is also in bytes.
    pub(crate) max: usize,
    /// A pattern for the whole text.
    pub(crate) pattern: &'static str,
    /// The message for other strings, which states the expected format.
    pub(crate) problem: &'static str,
    regex: OnceLock<Option<Regex>>,
}

impl Format {
    const fn new(max: usize, pattern: &'static str, problem: &'static str) -> Self {
        Self {
            max,
            pattern,
            problem,
            regex: OnceLock::new(),
        }
    }

    /// Returns the text if it has the format, or else the problem.
    pub(crate) fn check<'a>(&self, text: &'a str) -> Result<&'a str, InvalidText> {
        let (max, len) = (self.max, text.len());
        // Before the pattern, since this message is more specific.
        if len > max {
            let problem = format!("must be at most {max} bytes, not {len}");
            return Err(InvalidText(problem));
        }
        // Patterns are constants. One that does not compile would match no text, and fail the tests
        // of the definitions.
        let regex = self.regex.get_or_init(|| Regex::new(self.pattern).ok());
        match regex {
            Some(regex) if regex.is_match(text) => Ok(text),
            _ => Err(self.invalid(text)),
        }
    }

    /// The error for a text of another format.
    pub(crate) fn invalid(&self, text: &str) -> InvalidText {
        InvalidText(format!("{}, not {}", self.problem, quoted(text)))
    }
}

// These are macros because `concat!` takes only literals.
macro_rules! port {
    () => {
        // Spelled out, since a CEL rule that converts a string to a number fails on other strings.
        "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
    };
}
macro_rules! label {
    () => {
        "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    };
}
macro_rules! subdomain {
    () => {
        concat!(label!(), "([.]", label!(), ")*")
    };
}
/// A host whose last label begins with a letter, so that it is not an IP address.
macro_rules! dns_name {
    () => {
        concat!("(", label!(), "[.])*[a-z]([-a-z0-9]*[a-z0-9])?")
    };
}

// Credentials are not allowed, since they belong in a Secret.
macro_rules! url {
    () => {
        concat!(
            "^https?://",
            subdomain!(),
            "(:",
            port!(),
            ")?(/[-A-Za-z0-9._~/]*)?$"
        )
    };
}
macro_rules! duration {
    () => {
        "[0-9]{1,6}h([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,11}ms)?|[0-9]{1,7}m([0-9]{1,9}s)?([0-9]{1,11}ms)?|[0-9]{1,9}s([0-9]{1,11}ms)?|[0-9]{1,11}ms"
    };
}

pub(crate) static STACK_NAME: Format = Format::new(
    40,
    "^[a-z]([-a-z0-9]*[a-z0-9])?$",
    "must be at most 40 lower-case letters, digits and '-', beginning with a letter and not ending with '-'; Services are named after it",
);
pub(crate) static OBJECT_NAME: Format = Format::new(
    253,
    concat!("^", subdomain!(), "$"),
    "must be an object's name: lower-case letters, digits, '-' and '.', with a letter or digit at each end",
);
/// The same as for [`spoor_policy::RuleName`].
pub(crate) static RULE_NAME: Format = Format::new(
    63,
    concat!("^", label!(), "$"),
    "must be lower-case letters, digits and '-', with a letter or digit at each end",
);
pub(crate) static IMAGE: Format = Format::new(
    512,
    "^[A-Za-z0-9][-A-Za-z0-9._/]*(:[0-9]+/[-A-Za-z0-9._/]+)?(:[A-Za-z0-9_][-A-Za-z0-9._]*)?(@sha256:[0-9a-f]{64})?$",
    "must be an image such as \"registry.example.com/jaeger:2.13.0\"",
);
pub(crate) static BASE_PATH: Format = Format::new(
    128,
    "^/([-A-Za-z0-9_~][-A-Za-z0-9._~]*(/[-A-Za-z0-9_~][-A-Za-z0-9._~]*)*)?$",
    "must be a path such as \"/jaeger\" that begins with '/' and does not end with it",
);
/// The address of an existing Jaeger or Collector. That of OTLP becomes a Service of type
/// ExternalName, which cannot have an IP address.
pub(crate) static NAMED_ADDRESS: Format = Format::new(
    260,
    concat!("^", dns_name!(), ":", port!(), "$"),
    "must be a DNS name with a port, such as \"jaeger.observability.svc:4317\"",
);
pub(crate) static ADDRESS: Format = Format::new(
    260,
    concat!("^", subdomain!(), ":", port!(), "$"),
    "must be a host with a port, such as \"clickhouse:9000\"",
);
pub(crate) static HOST: Format = Format::new(
    255,
    concat!("^", subdomain!(), "(:", port!(), ")?$"),
    "must be a host, with or without a port, such as \"cassandra:9042\"",
);
pub(crate) static SEARCH_URL: Format = Format::new(
    512,
    url!(),
    "must be a URL such as \"https://opensearch:9200\" without credentials or query",
);
pub(crate) static PROMETHEUS_URL: Format = Format::new(
    512,
    url!(),
    "must be a URL such as \"http://prometheus:9090\" without credentials or query",
);
pub(crate) static SERVER_NAME: Format = Format::new(
    253,
    concat!("^", subdomain!(), "$"),
    "must be a DNS name such as \"opensearch.example.com\"",
);
pub(crate) static INDEX_PREFIX: Format = Format::new(
    63,
    "^[a-z0-9][-a-z0-9_.]*$",
    "must be lower-case letters, digits, '-', '_' and '.', beginning with a letter or digit",
);
pub(crate) static KEYSPACE: Format = Format::new(
    48,
    "^[A-Za-z][A-Za-z0-9_]*$",
    "must be letters, digits and '_', beginning with a letter",
);
pub(crate) static DATACENTER: Format = Format::new(
    63,
    "^[A-Za-z0-9][-A-Za-z0-9_.]*$",
    "must be letters, digits, '-', '_' and '.', beginning with a letter or digit",
);
pub(crate) static DATABASE: Format = Format::new(
    63,
    "^[A-Za-z_][A-Za-z0-9_]*$",
    "must be letters, digits and '_', not beginning with a digit",
);
pub(crate) static EXPORTER: Format = Format::new(
    127,
    "^[A-Za-z][A-Za-z0-9_]{0,62}(/[A-Za-z0-9][-A-Za-z0-9_.]{0,62})?$",
    "must be an exporter name in the format of the Collector: a type such as \"otlp_http\", or a type and a name such as \"otlp_http/vendor\"",
);
pub(crate) static QUANTITY: Format = Format::new(
    24,
    "^[0-9]{1,12}([.][0-9]{1,3})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
    "must be a quantity such as \"500m\", \"1\" or \"256Mi\"",
);
pub(crate) static RESOURCE: Format = Format::new(
    316,
    concat!(
        "^(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMG]i|",
        subdomain!(),
        "/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)$"
    ),
    "must be a resource name: \"cpu\", \"memory\", \"ephemeral-storage\", or an extended one such as \"example.com/device\"",
);
pub(crate) static LABEL_KEY: Format = Format::new(
    317,
    concat!(
        "^(",
        subdomain!(),
        "/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
    ),
    "must be a key such as \"kubernetes.io/arch\"",
);
pub(crate) static LABEL_VALUE: Format = Format::new(
    63,
    "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    "must be letters, digits, '-', '_' and '.', with a letter or digit at each end",
);
pub(crate) static ENV_NAME: Format = Format::new(
    128,
    "^[A-Za-z_][A-Za-z0-9_]*$",
    "must be the name of a variable: letters, digits and '_', not beginning with a digit",
);
/// The value of an annotation or environment variable.
pub(crate) static TEXT: Format = Format::new(
    1024,
    "^[\\t\\n -~]*$",
    "must be printable ASCII characters, tabs and line feeds",
);
/// A duration for [`crate::parse_duration`]. The numbers of digits keep CEL's durations from
/// overflowing.
pub(crate) static DURATION: Format = Format::new(
    32,
    concat!("^(", duration!(), ")$"),
    "must be a duration such as \"500ms\", \"2s\" or \"1m30s\"",
);
/// A duration, or whole days, which neither CEL's durations nor Kubernetes' have.
pub(crate) static RETENTION: Format = Format::new(
    32,
    concat!("^([0-9]{1,5}d|", duration!(), ")$"),
    "must be whole days such as \"7d\", or a duration such as \"12h\" or \"36h30m\"",
);
/// RFC 3339, in a plausible year. The parser checks that the day exists.
pub(crate) static TIME: Format = Format::new(
    40,
    "^(19|2[0-9])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
    "must be a time such as \"2027-01-01T12:00:00Z\"",
);
/// The first time that is too late for `expiresAt`: the start of the year 3000.
pub const EXPIRY_LIMIT: Timestamp = Timestamp::constant(32_503_680_000, 0);
/// The longest text of a [`spoor_policy::Probability`].
pub(crate) const MAX_PERCENTAGE_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    #[test]
    fn expiry_limit_is_the_first_time_refused() {
        let last = EXPIRY_LIMIT - 1.second();
        assert!(TIME.check(&last.to_string()).is_ok());
        assert!(TIME.check(&EXPIRY_LIMIT.to_string()).is_err());
    }
}
