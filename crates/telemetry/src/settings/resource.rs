//! The service's identity.

use std::str::FromStr;

use spoor_policy::{InvalidName, Namespace, ServiceName};
use spoor_runtime::Environment;

use super::pairs;

const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SERVICE: &str = "OTEL_SERVICE_NAME";

pub(super) struct Identity {
    pub(super) service: ServiceName,
    pub(super) namespace: Namespace,
    pub(super) instance: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) is_named: bool,
}

pub(super) fn read(environment: &mut Environment<'_>) -> Identity {
    let mut attributes = attributes(environment);
    let mut take = |key: &str| {
        // If a key is repeated, the last value is used.
        let index = attributes.iter().rposition(|(name, _)| name == key)?;
        let value = attributes.remove(index).1;
        attributes.retain(|(name, _)| name != key);
        (!value.is_empty()).then_some(value)
    };
    let (attribute_name, namespace, instance) = (
        take("service.name"),
        take("service.namespace"),
        take("service.instance.id"),
    );
    let service = environment
        .parse(SERVICE, str::parse::<ServiceName>)
        .or_else(|| checked(environment, "service.name", attribute_name?));
    let namespace: Option<Namespace> =
        namespace.and_then(|text| checked(environment, "service.namespace", text));
    let is_named = service.is_some();
    Identity {
        service: service.unwrap_or_else(unknown_service),
        namespace: namespace.unwrap_or_default(),
        instance: instance.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        attributes,
        is_named,
    }
}

fn attributes(environment: &mut Environment<'_>) -> Vec<(String, String)> {
    let Some(text) = environment.text(ATTRIBUTES) else {
        return Vec::new();
    };
    pairs(&text).unwrap_or_else(|| {
        environment.warn(
            ATTRIBUTES,
            &text,
            "must be key=value pairs separated by commas, with special characters percent-encoded",
        );
        Vec::new()
    })
}

fn checked<T: FromStr<Err = InvalidName>>(
    environment: &mut Environment<'_>,
    attribute: &str,
    text: String,
) -> Option<T> {
    text.parse::<T>()
        .inspect_err(|error| {
            environment.add_error(ATTRIBUTES, format!("{attribute}: {error}, not {text:?}"));
        })
        .ok()
}

fn unknown_service() -> ServiceName {
    static NAME: &str = "unknown_service";
    ServiceName::new(NAME).unwrap_or_else(|error| unreachable!("{NAME} is a name: {error}"))
}
