//! Validated names.

use std::{collections::BTreeSet, sync::Arc};

/// The error for a string that is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The string is empty.
    #[error("must not be empty")]
    Empty,
    /// The string is too long.
    #[error("must be at most {max} bytes, not {len}")]
    TooLong {
        /// The length found.
        len: usize,
        /// The length allowed.
        max: usize,
    },
    /// Not a DNS-1123 subdomain, as Kubernetes requires of object names.
    #[error("must be lower-case letters, digits, '-' and '.', with a letter or digit at each end")]
    NotDns,
    /// Not a DNS-1123 label, as Kubernetes requires of namespaces.
    #[error("must be lower-case letters, digits and '-', with a letter or digit at each end")]
    NotDnsLabel,
    /// A control character.
    #[error("must not contain control characters")]
    Control,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:literal, $is_valid:path, $error:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Debug, derive_more::Display)]
        #[debug("{_0:?}")]
        // Shared, since each plan, outcome and count that mentions a name has a clone of it.
        pub struct $name(Arc<str>);

        impl $name {
            /// The maximum length, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// Validates a string.
            ///
            /// # Errors
            /// [`InvalidName`] for the first rule that the string violates.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                if text.is_empty() {
                    return Err(InvalidName::Empty);
                }
                if text.len() > $max {
                    return Err(InvalidName::TooLong { len: text.len(), max: $max });
                }
                if !$is_valid(text) {
                    return Err(InvalidName::$error);
                }
                Ok(Self(text.into()))
            }

            /// The name as a string.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
    };
}

name!(
    /// OpenTelemetry's `service.name`.
    ServiceName, 253, is_printable, Control
);
name!(
    /// A span's name at its start.
    OperationName, 512, is_printable, Control
);
name!(
    /// A span or resource attribute's key.
    AttributeKey, 256, is_printable, Control
);
name!(
    /// A tail rule's name, unique in its policy.
    RuleName, 63, is_label, NotDnsLabel
);
name!(
    /// A policy's `metadata.name`.
    PolicyName, 253, is_subdomain, NotDns
);
name!(
    /// A policy's `metadata.namespace`.
    Namespace, 63, is_label, NotDnsLabel
);

impl Default for Namespace {
    /// `default`, as in Kubernetes.
    fn default() -> Self {
        Self("default".into())
    }
}

/// The identity of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
#[display("{namespace}/{name}")]
pub struct PolicyKey {
    /// The policy's namespace.
    pub namespace: Namespace,
    /// The policy's name, unique in the namespace.
    pub name: PolicyName,
}

/// The first item that equals an earlier one.
pub(crate) fn first_duplicate<T: Ord + Copy>(items: impl IntoIterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().find(|item| !seen.insert(*item))
}

fn is_printable(text: &str) -> bool {
    !text.contains(char::is_control)
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}
