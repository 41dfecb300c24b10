//! A client of Jaeger's query API, version 3, over any transport.

mod found;
mod transport;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use jiff::Timestamp;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

pub use found::FoundTrace;
pub use transport::{BoxError, MAX_RESPONSE_BYTES, Transport, TransportError};

use crate::{read_spans, tree::value::visible_line};

/// The most traces that one search requests, the limit of Jaeger's UI. The lab allows more.
pub const MAX_TRACES: u16 = 1500;

/// A client of a query API. Clones share its transport.
#[derive(Clone, Debug)]
pub struct TraceClient {
    base: String,
    transport: Arc<dyn Transport>,
}

/// The error of a query.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Nothing listens at the address.
    #[error("no query API at {0}")]
    NotRunning(String),
    /// The server at the address does not have the API's paths.
    #[error("{0} is not a Jaeger query API")]
    NotQueryApi(String),
    /// There is no complete response.
    #[error("query to {0} failed")]
    Send(String, #[source] BoxError),
    /// The response's status is an error.
    #[error("{url} responded with {status}: {message}")]
    Refused {
        /// The address.
        url: String,
        /// The status code.
        status: u16,
        /// The message in the response.
        message: String,
    },
    /// The response cannot be decoded.
    #[error("cannot read the response of {0}: {1}")]
    Read(String, #[source] serde_json::Error),
    /// The response was cut off because of its size.
    #[error("the response of {0} is larger than {max} MiB", max = MAX_RESPONSE_BYTES >> 20)]
    TooLarge(String),
    /// The service has no recent traces.
    #[error("no trace of {0} yet; send a request, and give its spans a second or two to arrive")]
    NoTrace(String),
    /// There is no trace with this ID.
    #[error(
        "no trace {0}; it was not sampled, no tail rule kept it, it is not finished yet, or it was evicted"
    )]
    Unknown(String),
}

/// The criteria of a search.
#[derive(Clone, Debug)]
pub struct Query {
    /// The name of a span.
    pub operation: Option<String>,
    /// Attributes of a span.
    pub tags: Vec<(String, String)>,
    /// The minimum duration of a span.
    pub min_duration: Option<Duration>,
    /// The maximum duration of a span.
    pub max_duration: Option<Duration>,
    /// The maximum age of a trace.
    pub lookback: Duration,
    /// The latest start of a trace in Unix nanoseconds; unset for no limit.
    pub latest_start: Option<u64>,
    /// The maximum number of traces.
    pub limit: u16,
}

impl Default for Query {
    /// The newest 20 traces of the last day.
    fn default() -> Self {
        Self {
            operation: None,
            tags: vec![],
            min_duration: None,
            max_duration: None,
            lookback: Duration::from_secs(24 * 3600),
            latest_start: None,
            limit: 20,
        }
    }
}

#[derive(Deserialize)]
struct Services {
    #[serde(default)]
    services: Vec<String>,
}

#[derive(Deserialize)]
struct Operations {
    #[serde(default)]
    operations: Vec<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    name: String,
}

/// A response with traces, whose spans are read by the rules of OTLP/JSON.
#[derive(Deserialize)]
struct Response {
    result: Box<RawValue>,
}

impl TraceClient {
    /// Creates a client. `base` is the API's address in messages.
    #[must_use]
    pub fn new(base: &str, transport: impl Transport + 'static) -> Self {
        Self {
            base: base.trim_end_matches('/').to_owned(),
            transport: Arc::new(transport),
        }
    }

    /// The API's address, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Lists the services that have traces.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn services(&self) -> Result<Vec<String>, QueryError> {
        let found: Services = self.get("/api/v3/services", &[]).await?;
        Ok(found.services)
    }

    /// Lists the names of a service's spans, or only of those of a kind, such as `server`.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn operations(
        &self,
        service: &str,
        kind: Option<&str>,
    ) -> Result<BTreeSet<String>, QueryError> {
        let mut parameters = vec![("service", service.to_owned())];
        parameters.extend(kind.map(|kind| ("span_kind", kind.to_owned())));
        let found: Operations = self.get("/api/v3/operations", &parameters).await?;
        Ok(found.operations.into_iter().map(|it| it.name).collect())
    }

    /// Gets the spans of a trace.
    ///
    /// # Errors
    /// [`QueryError::Unknown`] if there is no such trace.
    pub async fn trace(&self, id: &str) -> Result<Vec<ResourceSpans>, QueryError> {
        // The ID becomes part of a path. It was validated earlier, but must not contain a slash in
        // any case.
        let digits: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
        let path = format!("/api/v3/traces/{digits}");
        match self.get_spans(&path, &[]).await {
            Err(QueryError::Refused { status: 404, .. }) => Err(QueryError::Unknown(id.to_owned())),
            found => found,
        }
    }

    /// Searches for traces of a service, without filtering what the API returns.
    async fn find(&self, service: &str, query: &Query) -> Result<Vec<FoundTrace>, QueryError> {
        // Jaeger refuses a v3 search without both ends of its time range.
        let latest = query.latest_start.map(i128::from);
        let until = latest.and_then(|it| Timestamp::from_nanosecond(it).ok());
        let until = until.unwrap_or_else(Timestamp::now);
        let from = Timestamp::now().checked_sub(query.lookback);
        let from = from.unwrap_or(Timestamp::UNIX_EPOCH);
        let mut parameters = vec![
            ("query.service_name", service.to_owned()),
            ("query.start_time_min", from.to_string()),
            ("query.start_time_max", until.to_string()),
            // Jaeger 2.13's HTTP gateway uses the first name, later versions the second, as in the
            // API's definition. Each ignores the other.
            ("query.num_traces", query.limit.to_string()),
            ("query.search_depth", query.limit.to_string()),
        ];
        if let Some(operation) = &query.operation {
            parameters.push(("query.operation_name", operation.clone()));
        }
        for (name, duration) in [
            ("query.duration_min", query.min_duration),
            ("query.duration_max", query.max_duration),
        ] {
            let duration = duration.map(|it| format!("{}us", it.as_micros()));
            parameters.extend(duration.map(|it| (name, it)));
        }
        if !query.tags.is_empty() {
            let tags: BTreeMap<_, _> = query.tags.iter().cloned().collect();
            parameters.push(("query.attributes", serde_json::json!(tags).to_string()));
        }
        match self.get_spans("/api/v3/traces", &parameters).await {
            Ok(batches) => Ok(found::group_by_trace(batches)),
            // Jaeger responds with 404 to a search that finds nothing.
            Err(QueryError::Refused { status: 404, .. }) => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// Searches for traces of any of the services and returns the newest. Filters by attributes
    /// even if the API ignores them, as the v3 search of Jaeger 2.13 does.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn newest(
        &self,
        services: &[impl AsRef<str>],
        query: &Query,
    ) -> Result<Vec<FoundTrace>, QueryError> {
        let (mut all, mut ids) = (vec![], HashSet::new());
        let mut ignores_attributes = None;
        for service in services {
            let service = service.as_ref();
            let mut found = self.find(service, query).await?;
            // Determined once, with a service that has traces: an empty result proves nothing, and
            // needs no filter.
            if ignores_attributes.is_none() && !query.tags.is_empty() && !found.is_empty() {
                ignores_attributes = Some(self.ignores_attributes(service, query).await?);
            }
            if ignores_attributes == Some(true) {
                found = self.find_and_filter(service, query).await?;
            }
            // A trace of several services is found once for each.
            all.extend(found.into_iter().filter(|it| ids.insert(it.id.clone())));
            // Jaeger returns traces in no particular order. Traces with equal starts stay in the
            // order of the response, which in the lab begins with the trace that arrived last. The
            // list is cut after each service, since the traces of all services together could take
            // a gigabyte.
            all.sort_by_key(|trace| Reverse(trace.tree.start()));
            all.truncate(usize::from(query.limit));
        }
        Ok(all)
    }

    /// Returns whether the API finds traces by an attribute that no span has.
    async fn ignores_attributes(&self, service: &str, query: &Query) -> Result<bool, QueryError> {
        let unknown = uuid::Uuid::new_v4().to_string();
        let query = Query {
            tags: vec![(unknown.clone(), unknown)],
            limit: 1,
            ..query.clone()
        };
        Ok(!self.find(service, &query).await?.is_empty())
    }

    /// Searches without attributes, and then filters the traces by them.
    async fn find_and_filter(
        &self,
        service: &str,
        query: &Query,
    ) -> Result<Vec<FoundTrace>, QueryError> {
        let unfiltered = Query {
            tags: vec![],
            // The limit applies to traces that have the attributes, which may be few among many.
            limit: MAX_TRACES,
            ..query.clone()
        };
        let mut found = self.find(service, &unfiltered).await?;
        found.retain(|found| found.has_tags(&query.tags));
        Ok(found)
    }

    /// Gets the ID of a service's newest trace of the last day.
    ///
    /// # Errors
    /// [`QueryError::NoTrace`] if there is none.
    pub async fn latest(&self, service: &str) -> Result<String, QueryError> {
        let found = self.newest(&[service], &Query::default()).await?;
        let newest = found.into_iter().next().map(|newest| newest.id);
        newest.ok_or_else(|| QueryError::NoTrace(service.to_owned()))
    }

    async fn get_spans(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<Vec<ResourceSpans>, QueryError> {
        let response: Response = self.get(path, parameters).await?;
        read_spans(response.result.get().as_bytes())
            .map_err(|error| QueryError::Read(format!("{}{path}", self.base), error))
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<T, QueryError> {
        let url = format!("{}{path}", self.base);
        let failed = |error| match error {
            TransportError::NotRunning => QueryError::NotRunning(self.base.clone()),
            TransportError::Failed(error) => QueryError::Send(self.base.clone(), error),
        };
        let response = self.transport.get(path, parameters).await;
        let (status, body) = response.map_err(failed)?;
        if !status.is_success() {
            let json: Value = serde_json::from_slice(&body).unwrap_or_default();
            // The API also responds with 404 if there is no such trace, but in its own format.
            if status == StatusCode::NOT_FOUND && json.get("error").is_none() {
                return Err(QueryError::NotQueryApi(self.base.clone()));
            }
            let message = error_message(&json, &body);
            return Err(QueryError::Refused {
                url,
                status: status.as_u16(),
                message,
            });
        }
        serde_json::from_slice(&body).map_err(|error| match body.len() < MAX_RESPONSE_BYTES {
            true => QueryError::Read(url, error),
            false => QueryError::TooLarge(url),
        })
    }
}

/// The message in an error response, which Jaeger wraps in JSON.
fn error_message(json: &Value, body: &[u8]) -> String {
    // The second is the field of problem JSON, as the lab's services send it.
    let message = json.pointer("/error/message").or(json.get("detail"));
    let message = message.and_then(|it| it.as_str());
    let message = message.map_or_else(|| String::from_utf8_lossy(body), Into::into);
    // A server that is not a query API may respond with a long page.
    visible_line(&message).chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::*;

    /// The parameters of a query: names and values.
    type Parameters = Vec<(String, String)>;

    /// A query API that responds to any query with this body, and records the parameters.
    #[derive(Debug)]
    struct Fixed {
        body: String,
        queries: Arc<Mutex<Vec<Parameters>>>,
    }

    #[async_trait]
    impl Transport for Fixed {
        async fn get(
            &self,
            _path: &str,
            parameters: &[(&str, String)],
        ) -> Result<(StatusCode, Vec<u8>), TransportError> {
            let parameters = parameters.iter();
            let query = parameters.map(|(name, value)| ((*name).to_owned(), value.clone()));
            self.queries.lock().push(query.collect());
            Ok((StatusCode::OK, self.body.clone().into_bytes()))
        }
    }

    #[tokio::test]
    async fn attribute_support_is_tested_once() {
        let span = serde_json::json!({"traceId": "07".repeat(16), "spanId": "01".repeat(8)});
        let batch = serde_json::json!({"resource": {}, "scopeSpans": [{"spans": [span]}]});
        let body = serde_json::json!({"result": {"resourceSpans": [batch]}}).to_string();
        let queries = Arc::default();
        let fixed = Fixed {
            body,
            queries: Arc::clone(&queries),
        };
        let query = Query {
            tags: vec![("key".to_owned(), "value".to_owned())],
            ..Query::default()
        };
        let traces = TraceClient::new("http://jaeger", fixed);
        let found = traces.newest(&["shop", "till", "stock"], &query).await;
        assert!(found.unwrap().is_empty(), "no span has the attribute");
        let queries = queries.lock();
        let attributes = queries.iter().flatten();
        let attributes = attributes.filter(|(name, _)| name == "query.attributes");
        let unknown = attributes.filter(|(_, value)| !value.contains("\"key\""));
        assert_eq!(unknown.count(), 1);
    }

    #[tokio::test]
    async fn responses_that_were_cut_off_are_too_large() {
        let fixed = Fixed {
            body: " ".repeat(MAX_RESPONSE_BYTES),
            queries: Arc::default(),
        };
        let traces = TraceClient::new("http://jaeger", fixed);
        let refused = traces.services().await.unwrap_err();
        assert!(matches!(refused, QueryError::TooLarge(_)), "{refused}");
    }
}
