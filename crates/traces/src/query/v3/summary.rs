//! Summaries and dependencies in protobuf's JSON: 64-bit integers as strings, fields with their
//! default value left out unless they are required.

use serde::{Serialize, Serializer};
use spoor_proto::jaeger::api_v3;

use crate::dependencies::Dependency;

#[derive(Debug, Serialize)]
pub struct Summaries {
    pub summaries: Vec<TraceSummary>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceSummary {
    trace_id: String,
    #[serde(skip_serializing_if = "is_default")]
    root_service_name: String,
    #[serde(skip_serializing_if = "is_default")]
    root_operation_name: String,
    #[serde(skip_serializing_if = "is_default", serialize_with = "text")]
    min_start_time_unix_nano: u64,
    #[serde(skip_serializing_if = "is_default", serialize_with = "text")]
    max_end_time_unix_nano: u64,
    #[serde(skip_serializing_if = "is_default")]
    span_count: i32,
    #[serde(skip_serializing_if = "is_default")]
    error_span_count: i32,
    #[serde(skip_serializing_if = "is_default")]
    orphan_span_count: i32,
    #[serde(skip_serializing_if = "is_default")]
    services: Vec<Service>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    name: String,
    #[serde(skip_serializing_if = "is_default")]
    span_count: i32,
    #[serde(skip_serializing_if = "is_default")]
    error_span_count: i32,
}

impl From<api_v3::TraceSummary> for TraceSummary {
    fn from(of: api_v3::TraceSummary) -> Self {
        let services = of.services.into_iter().map(|service| Service {
            name: service.name,
            span_count: service.span_count,
            error_span_count: service.error_span_count,
        });
        Self {
            trace_id: of.trace_id,
            root_service_name: of.root_service_name,
            root_operation_name: of.root_operation_name,
            min_start_time_unix_nano: of.min_start_time_unix_nano,
            max_end_time_unix_nano: of.max_end_time_unix_nano,
            span_count: of.span_count,
            error_span_count: of.error_span_count,
            orphan_span_count: of.orphan_span_count,
            services: services.collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Dependencies {
    pub dependencies: Vec<Call>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    parent: String,
    child: String,
    #[serde(serialize_with = "text")]
    call_count: u64,
}

impl From<Dependency> for Call {
    fn from(of: Dependency) -> Self {
        Self {
            parent: of.parent,
            child: of.child,
            call_count: of.call_count,
        }
    }
}

// serde asks for references.
fn text<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
