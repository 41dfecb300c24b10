//! Asks Jaeger's query API, version 3.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde::Deserialize;

use super::{
    list::{self, Found},
    render::printable,
};

const DEADLINE: Duration = Duration::from_secs(15);

/// A query API.
#[derive(Clone, Debug)]
pub struct Traces {
    base: String,
    http: reqwest::Client,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The HTTP client can't be made.
    #[error("preparing the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// Nobody listens there.
    #[error(
        "nobody answers for traces at {0}: start a lab with `spoor up`, or name another address with --traces-url"
    )]
    NotRunning(String),
    /// There is no answer, or only a part of one.
    #[error("asking {url} for traces")]
    Send {
        /// Where.
        url: String,
        /// Why not.
        source: reqwest::Error,
    },
    /// The answer is a refusal.
    #[error("{url} answered {status}: {message}")]
    Refused {
        /// Where.
        url: String,
        /// The status code.
        status: u16,
        /// Its own words.
        message: String,
    },
    /// The answer is no trace data.
    #[error("reading the answer of {url}: {source}")]
    Read {
        /// Where.
        url: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is none.
    #[error("no trace of {0} yet: send a request first, and give its spans a second or two")]
    NoTrace(String),
    /// None with this id.
    #[error(
        "no trace {0}: it was not sampled, is not finished yet, or has given way to newer ones"
    )]
    Unknown(String),
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct Query {
    /// A span's name.
    pub operation: Option<String>,
    /// Attributes.
    pub tags: Vec<(String, String)>,
    /// The shortest duration of a span.
    pub min_duration: Option<Duration>,
    /// How far back.
    pub lookback: Duration,
    /// How many at most.
    pub limit: u16,
}

impl Default for Query {
    /// The newest 20 of a day.
    fn default() -> Self {
        Self {
            operation: None,
            tags: vec![],
            min_duration: None,
            lookback: Duration::from_secs(24 * 3600),
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
struct Answer {
    result: Batches,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batches {
    #[serde(default)]
    resource_spans: Vec<ResourceSpans>,
}

impl Traces {
    /// The API at a base URL.
    ///
    /// # Errors
    /// [`AskError::Client`].
    pub fn at(base: &str) -> Result<Self, AskError> {
        let http = reqwest::Client::builder()
            .timeout(DEADLINE)
            .build()
            .map_err(AskError::Client)?;
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            http,
        })
    }

    /// The services that traces have been seen of.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn services(&self) -> Result<Vec<String>, AskError> {
        Ok(self
            .get::<Services>("/api/v3/services", &[])
            .await?
            .services)
    }

    /// The spans of a trace.
    ///
    /// # Errors
    /// [`AskError::Unknown`] if there is none.
    pub async fn trace(&self, id: &str) -> Result<Vec<ResourceSpans>, AskError> {
        let digits: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
        let path = format!("/api/v3/traces/{digits}");
        match self.get::<Answer>(&path, &[]).await {
            Ok(answer) => Ok(answer.result.resource_spans),
            Err(AskError::Refused { status: 404, .. }) => Err(AskError::Unknown(id.to_owned())),
            Err(error) => Err(error),
        }
    }

    /// The spans of the traces that a query finds for a service.
    ///
    /// # Errors
    /// [`AskError`].
    async fn find(&self, service: &str, query: &Query) -> Result<Vec<ResourceSpans>, AskError> {
        let now = Timestamp::now();
        let from = SystemTime::now()
            .checked_sub(query.lookback)
            .and_then(|from| Timestamp::try_from(from).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        let mut parameters = vec![
            ("query.service_name", service.to_owned()),
            ("query.start_time_min", from.to_string()),
            ("query.start_time_max", now.to_string()),
            // Jaeger 2.13's HTTP gateway has the first name, later ones that of the API's
            // definition; each ignores the other.
            ("query.num_traces", query.limit.to_string()),
            ("query.search_depth", query.limit.to_string()),
        ];
        if let Some(operation) = &query.operation {
            parameters.push(("query.operation_name", operation.clone()));
        }
        if let Some(shortest) = query.min_duration {
            parameters.push(("query.duration_min", format!("{}us", shortest.as_micros())));
        }
        if !query.tags.is_empty() {
            let tags: serde_json::Map<_, _> = query
                .tags
                .iter()
                .map(|(key, value)| (key.clone(), value.clone().into()))
                .collect();
            parameters.push((
                "query.attributes",
                serde_json::Value::Object(tags).to_string(),
            ));
        }
        match self.get::<Answer>("/api/v3/traces", &parameters).await {
            Ok(answer) => Ok(answer.result.resource_spans),
            // Jaeger answers a search that finds nothing with 404.
            Err(AskError::Refused { status: 404, .. }) => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// The newest traces that a query finds for any of the services.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn newest(&self, services: &[String], query: &Query) -> Result<Vec<Found>, AskError> {
        let mut by_id: BTreeMap<String, Found> = BTreeMap::new();
        for service in services {
            for found in list::separate(self.find(service, query).await?) {
                by_id.entry(found.id.clone()).or_insert(found);
            }
        }
        let mut found: Vec<Found> = by_id.into_values().collect();
        found.sort_by_key(|trace| Reverse(trace.tree.start()));
        found.truncate(usize::from(query.limit));
        Ok(found)
    }

    /// The id of a service's newest trace.
    ///
    /// # Errors
    /// [`AskError::NoTrace`] if it has none.
    pub async fn latest(&self, service: &str) -> Result<String, AskError> {
        let found = self
            .newest(&[service.to_owned()], &Query::default())
            .await?;
        let newest = found
            .first()
            .ok_or_else(|| AskError::NoTrace(service.to_owned()))?;
        Ok(newest.id.clone())
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<T, AskError> {
        let url = format!("{}{path}", self.base);
        let failed = |source: reqwest::Error| {
            let url = self.base.clone();
            if source.is_connect() {
                AskError::NotRunning(url)
            } else {
                AskError::Send { url, source }
            }
        };
        let request = self.http.get(&url).query(parameters);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        if !status.is_success() {
            let message = in_words(&body);
            return Err(AskError::Refused {
                url,
                status: status.as_u16(),
                message,
            });
        }
        serde_json::from_slice(&body).map_err(|source| AskError::Read { url, source })
    }
}

/// What a refusal says: Jaeger wraps it in JSON.
fn in_words(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = json.pointer("/error/message").and_then(|it| it.as_str());
    let said = said.map_or_else(|| String::from_utf8_lossy(body), Into::into);
    printable(&said).chars().take(500).collect()
}
