//! The resource that all spans of the process belong to.

use opentelemetry::KeyValue;
use opentelemetry_sdk::{Resource, resource::TelemetryResourceDetector};
use opentelemetry_semantic_conventions::{
    SCHEMA_URL,
    attribute::{PROCESS_PID, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE},
};

use crate::settings::TelemetrySettings;

pub(super) fn of(settings: &TelemetrySettings) -> Resource {
    let given = settings.attributes.iter();
    let given = given.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let own = [
        KeyValue::new(SERVICE_NAME, settings.service.to_string()),
        KeyValue::new(SERVICE_NAMESPACE, settings.namespace.to_string()),
        KeyValue::new(SERVICE_INSTANCE_ID, settings.instance.clone()),
        KeyValue::new(PROCESS_PID, i64::from(std::process::id())),
    ];
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(given)
        .with_schema_url(own, SCHEMA_URL)
        .build()
}
