//! Validated strings of a stack.

use crate::{InvalidText, formats};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
        pub struct $name(String);

        impl $name {
            /// Checks the text.
            ///
            /// # Errors
            /// [`InvalidText`] if the text does not have the required format.
            pub fn new(text: &str) -> Result<Self, InvalidText> {
                $check(text).map(|text| Self(text.to_owned()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

text!(
    /// A stack's name, short enough to be part of the names of its objects.
    StackName, |text| formats::STACK_NAME.check(text)
);
text!(
    /// The name of a Secret or a StorageClass.
    ObjectName, |text| formats::OBJECT_NAME.check(text)
);
text!(
    /// Host and port.
    Address, |text| formats::ADDRESS.check(text)
);

impl Address {
    /// The part before the colon.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or(&self.0, |(host, _)| host)
    }

    /// The part after the colon.
    #[must_use]
    pub fn port(&self) -> u16 {
        let port = self.0.rsplit_once(':');
        let port = port.and_then(|(_, port)| port.parse().ok());
        // The format guarantees a port.
        port.unwrap_or_default()
    }
}

text!(
    /// The Collector's name of an exporter: `type` or `type/name`.
    ExporterName, exporter
);

impl ExporterName {
    /// The prefix of the operator's own names, after the slash.
    pub const RESERVED: &str = "spoor";
    pub(crate) const RESERVED_PROBLEM: &str = "must not begin with \"spoor\" after the slash, which is reserved for the operator; choose another name";
}

fn exporter(text: &str) -> Result<&str, InvalidText> {
    match formats::EXPORTER.check(text)?.split_once('/') {
        Some((_, name)) if name.starts_with(ExporterName::RESERVED) => {
            Err(InvalidText(ExporterName::RESERVED_PROBLEM.to_owned()))
        }
        _ => Ok(text),
    }
}
