//! Finds the counts of root spans in a metrics request.

use std::hash::{DefaultHasher, Hash, Hasher};

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{
        AggregationTemporality, NumberDataPoint, ResourceMetrics, Sum, metric::Data,
        number_data_point,
    },
};
use prost::Message;
use spoor_policy::ServiceName;

use crate::reporters::RootSpanPoint;

/// The counts of one process.
pub(super) struct ProcessPoints {
    pub(super) service: ServiceName,
    /// A digest of its resource, which does not change while the process runs.
    pub(super) resource: u64,
    pub(super) points: Vec<RootSpanPoint>,
}

/// The counts of root spans of a process, if it names its service.
pub(super) fn root_span_points(metrics: &ResourceMetrics) -> Option<ProcessPoints> {
    let resource = metrics.resource.as_ref()?;
    let service = text(&resource.attributes, "service.name")?;
    let service = ServiceName::new(service).ok()?;
    let mut points: Vec<RootSpanPoint> = vec![];
    for scope in &metrics.scope_metrics {
        let name = scope.scope.as_ref().map(|scope| scope.name.as_str());
        for metric in &scope.metrics {
            if let Some(Data::Sum(sum)) = &metric.data
                && metric.name == "otel.sdk.span.started"
            {
                points.extend(points_of_sum(sum, name.unwrap_or_default()));
            }
        }
    }
    // A point that is not newer than the one before in its series is ignored.
    points.sort_by_key(|point| point.time);
    (!points.is_empty()).then(|| ProcessPoints {
        service,
        resource: digest("", &resource.attributes),
        points,
    })
}

fn points_of_sum<'a>(sum: &'a Sum, scope: &'a str) -> impl Iterator<Item = RootSpanPoint> + 'a {
    let is_delta = match sum.aggregation_temporality() {
        AggregationTemporality::Delta => Some(true),
        AggregationTemporality::Cumulative => Some(false),
        AggregationTemporality::Unspecified => None,
    };
    let is_delta = is_delta.filter(|_| sum.is_monotonic);
    sum.data_points
        .iter()
        .filter_map(move |point| root_span_point(point, is_delta?, scope))
}

/// Reads a point if it counts root spans. Without a parent origin, a point counts all spans.
fn root_span_point(point: &NumberDataPoint, is_delta: bool, scope: &str) -> Option<RootSpanPoint> {
    if text(&point.attributes, "otel.span.parent.origin")? != "none" {
        return None;
    }
    let is_sampled = match text(&point.attributes, "otel.span.sampling_result")? {
        "RECORD_AND_SAMPLE" => true,
        "RECORD_ONLY" | "DROP" => false,
        _ => return None,
    };
    let value = match point.value? {
        number_data_point::Value::AsInt(value) => u64::try_from(value).ok()?,
        // The metric is a counter of spans, which the conventions define as an integer.
        number_data_point::Value::AsDouble(_) => return None,
    };
    Some(RootSpanPoint {
        series: digest(scope, &point.attributes),
        is_sampled,
        is_delta,
        start: point.start_time_unix_nano,
        time: point.time_unix_nano,
        value,
    })
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A digest of a scope's name and of attributes, which does not depend on their order.
// `DefaultHasher` has fixed keys, so that a series keeps its digest.
fn digest(scope: &str, attributes: &[KeyValue]) -> u64 {
    let mut encoded: Vec<Vec<u8>> = attributes.iter().map(Message::encode_to_vec).collect();
    encoded.sort_unstable();
    let mut hasher = DefaultHasher::new();
    (scope, encoded).hash(&mut hasher);
    hasher.finish()
}
