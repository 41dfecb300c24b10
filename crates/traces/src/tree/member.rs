//! Spans without their batches, each with the resource and scope of its batch.

use std::{collections::HashMap, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::{
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, Span, status::StatusCode},
};
use prost::Message;

use super::{value, warnings};
use crate::{kind, service};

/// The most attributes that come before a resource's `service.name`.
const MAX_ATTRIBUTES_BEFORE_NAME: usize = 128;

/// A span with the resource and the scope that it was reported under.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The span.
    pub span: Span,
    /// The resource that produced it.
    pub resource: Arc<Resource>,
    /// The instrumentation that produced it.
    pub scope: Arc<InstrumentationScope>,
}

impl Member {
    /// The resource's `service.name`, or Jaeger's placeholder if there is none.
    #[must_use]
    pub fn service(&self) -> &str {
        service_name(&self.resource)
    }

    /// Its start, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.span.start_time_unix_nano
    }

    /// Its end, in nanoseconds since the Unix epoch; never before its start.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.span.end_time_unix_nano.max(self.start())
    }

    /// From its start to its end.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end() - self.start())
    }

    /// Returns whether its status is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.status_code() == StatusCode::Error
    }

    /// Its status; unset when the reported code is unknown.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        let code = self.span.status.as_ref().map_or(0, |status| status.code);
        StatusCode::try_from(code).unwrap_or(StatusCode::Unset)
    }

    /// The message of its status; empty if there is none.
    #[must_use]
    pub fn status_message(&self) -> &str {
        let status = self.span.status.as_ref();
        status.map_or("", |status| &status.message)
    }

    /// Jaeger's name of its kind; empty when unspecified or unknown.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        kind::name(self.span.kind())
    }

    /// Warnings about it, as sentences.
    #[must_use]
    pub fn warnings(&self) -> Vec<&str> {
        warnings::of(&self.span)
    }

    /// Its parent's ID; none for a root, whose parent ID is empty or zero.
    #[must_use]
    pub fn parent_id(&self) -> Option<&[u8]> {
        let id = self.span.parent_span_id.as_slice();
        id.iter().any(|byte| *byte != 0).then_some(id)
    }
}

/// The spans in batches.
pub(crate) fn spans(batches: &[ResourceSpans]) -> impl Iterator<Item = &Span> {
    let scopes = batches.iter().flat_map(|batch| &batch.scope_spans);
    scopes.flat_map(|scope| &scope.spans)
}

/// The spans in batches, to be changed.
pub(crate) fn spans_mut(batches: &mut [ResourceSpans]) -> impl Iterator<Item = &mut Span> {
    let scopes = batches.iter_mut().flat_map(|batch| &mut batch.scope_spans);
    scopes.flat_map(|scope| &mut scope.spans)
}

/// The spans of a trace in the order reported. A span that was exported twice, as a retry may
/// do, is included once.
#[must_use]
pub fn members(batches: Vec<ResourceSpans>) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    let mut seen: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    // By their encoding. Equal ones share one `Arc`, so that comparing those of two spans is fast.
    let mut resources: HashMap<Vec<u8>, Arc<Resource>> = HashMap::new();
    for batch in batches {
        let mut resource = batch.resource.unwrap_or_default();
        let mut names = resource.attributes.iter();
        let named = names.position(|it| it.key == "service.name");
        // It is looked up for each span, and a resource may have tens of thousands of attributes.
        if let Some(at) = named.filter(|at| *at > MAX_ATTRIBUTES_BEFORE_NAME) {
            resource.attributes.swap(0, at);
        }
        let known = resources.entry(resource.encode_to_vec());
        let resource = Arc::clone(known.or_insert_with(|| Arc::new(resource)));
        for group in batch.scope_spans {
            let scope = Arc::new(group.scope.unwrap_or_default());
            for span in group.spans {
                let same_id = seen.entry(span.span_id.clone()).or_default();
                let mut earlier = same_id.iter().filter_map(|index| members.get(*index));
                let is_repeat =
                    earlier.any(|it| it.span == span && Arc::ptr_eq(&it.resource, &resource));
                if is_repeat {
                    continue;
                }
                // A bound, so that a trace with a million spans of one ID does not take quadratic time.
                if same_id.len() < 4 {
                    same_id.push(members.len());
                }
                members.push(Member {
                    span,
                    resource: Arc::clone(&resource),
                    scope: Arc::clone(&scope),
                });
            }
        }
    }
    members
}

/// The `service.name` of a [`Member`]'s resource, or Jaeger's placeholder if there is none.
pub(crate) fn service_name(resource: &Resource) -> &str {
    // `members` leaves no name after these attributes. Without a limit, each call would read all
    // attributes of a resource without a name.
    let attributes = resource.attributes.get(..=MAX_ATTRIBUTES_BEFORE_NAME);
    let attributes = attributes.unwrap_or(&resource.attributes);
    value::string(attributes, "service.name").unwrap_or(service::MISSING)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{AnyValue, KeyValue, any_value::Value},
        trace::v1::ScopeSpans,
    };

    use super::*;

    #[test]
    fn search_for_the_service_name_is_bounded() {
        let name = Value::StringValue("a".to_owned());
        let mut attributes = vec![KeyValue::default(); 1_000];
        attributes.push(KeyValue {
            key: "service.name".to_owned(),
            value: Some(AnyValue { value: Some(name) }),
            ..KeyValue::default()
        });
        let resource = Resource {
            attributes,
            ..Resource::default()
        };
        assert_eq!(service_name(&resource), service::MISSING);
        let batch = ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                spans: vec![Span::default()],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        };
        let services = members(vec![batch]).into_iter();
        let services: Vec<String> = services.map(|it| it.service().to_owned()).collect();
        assert_eq!(services, ["a"]);
    }
}
