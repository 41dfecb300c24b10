//! Speaks to a running lab.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use spoor_api::SamplingPolicy;

use crate::lab::admin::{
    Applied, Change, Comparison, Convergence, Documents, FaultSetting, Faults, Problem,
    ServiceStatus, Status,
};

/// For an answer that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// More would make too long an address.
const MAX_NAMED_POLICIES: usize = 100;

/// A lab, by the address of its API.
#[derive(Clone, Debug)]
pub struct Client {
    lab: Url,
    http: reqwest::Client,
}

/// Why the lab did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no lab runs at {0}: start one with `spoor up`, or name another with --lab")]
    NotRunning(Url),
    /// It did not answer, or not as a lab does.
    #[error("the lab at {lab} did not answer")]
    Ask {
        /// Its address.
        lab: Url,
        /// Why.
        source: reqwest::Error,
    },
    /// What was sent is wrong, in these places.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// Something else answers there.
    #[error("what answers at {lab} is no lab ({status}): name another with --lab")]
    NoLab {
        /// The address.
        lab: Url,
        /// How it answered.
        status: StatusCode,
    },
}

impl Client {
    /// For the lab at this address.
    #[must_use]
    pub fn new(lab: Url) -> Self {
        Self {
            lab,
            http: reqwest::Client::new(),
        }
    }

    /// Applies all, or none.
    pub async fn apply(&self, documents: &Documents) -> Result<Applied, ClientError> {
        self.json(self.request(Method::POST, "v1/policies").json(documents))
            .await
    }

    /// What applying them would change.
    pub async fn diff(&self, documents: &Documents) -> Result<Comparison, ClientError> {
        self.json(self.request(Method::POST, "v1/diff").json(documents))
            .await
    }

    /// All policies of a namespace.
    pub async fn policies(&self, namespace: &str) -> Result<Vec<SamplingPolicy>, ClientError> {
        self.json(self.request(Method::GET, &format!("v1/policies/{namespace}")))
            .await
    }

    /// One policy.
    pub async fn policy(&self, namespace: &str, name: &str) -> Result<SamplingPolicy, ClientError> {
        self.json(self.request(Method::GET, &format!("v1/policies/{namespace}/{name}")))
            .await
    }

    /// Deletes one policy.
    pub async fn delete(&self, namespace: &str, name: &str) -> Result<Change, ClientError> {
        self.json(self.request(Method::DELETE, &format!("v1/policies/{namespace}/{name}")))
            .await
    }

    /// Waits until every instance has what is published now, or the time is over.
    pub async fn converged(&self, within: Duration) -> Result<Convergence, ClientError> {
        self.wait(within, &[]).await
    }

    /// Waits until these policies have converged, or the time is over.
    pub async fn policies_converged(
        &self,
        applied: &Applied,
        within: Duration,
    ) -> Result<Convergence, ClientError> {
        if applied.policies.len() > MAX_NAMED_POLICIES {
            return self.converged(within).await;
        }
        let policies = applied.policies.iter();
        let policies: Vec<String> = policies
            .map(|policy| format!("{}/{}", policy.namespace, policy.name))
            .collect();
        let sequence = applied.version.sequence.to_string();
        let query = [("policies", policies.join(",")), ("sequence", sequence)];
        self.wait(within, &query).await
    }

    async fn wait(
        &self,
        within: Duration,
        query: &[(&str, String)],
    ) -> Result<Convergence, ClientError> {
        let request = self
            .request(Method::GET, "v1/converged")
            .query(&[("within", within.as_millis())])
            .query(query);
        self.json(request.timeout(within + PATIENCE)).await
    }

    /// The faults of all services.
    pub async fn faults(&self) -> Result<Faults, ClientError> {
        self.json(self.request(Method::GET, "v1/faults")).await
    }

    /// Adds a fault to a service's, or replaces the one of the same operation.
    pub async fn add_fault(
        &self,
        service: &str,
        fault: &FaultSetting,
    ) -> Result<Faults, ClientError> {
        self.json(
            self.request(Method::POST, &format!("v1/faults/{service}"))
                .json(fault),
        )
        .await
    }

    /// Ends the faults of a service, or of all.
    pub async fn clear_faults(&self, service: Option<&str>) -> Result<Faults, ClientError> {
        let path = service.map_or("v1/faults".into(), |service| format!("v1/faults/{service}"));
        self.json(self.request(Method::DELETE, &path)).await
    }

    /// Ends a service, which the lab starts again; what it was before.
    pub async fn restart(&self, service: &str) -> Result<ServiceStatus, ClientError> {
        let path = format!("v1/services/{service}/restart");
        self.json(self.request(Method::POST, &path)).await
    }

    /// How the lab does.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.json(self.request(Method::GET, "v1/status")).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.lab.clone();
        // Only a base such as `mailto:` has no segments; the option's parser refuses those.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        self.http.request(method, url).timeout(PATIENCE)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let failed = |source: reqwest::Error| {
            if source.is_connect() {
                ClientError::NotRunning(self.lab.clone())
            } else {
                ClientError::Ask {
                    lab: self.lab.clone(),
                    source,
                }
            }
        };
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status.is_success() {
            return answer.json().await.map_err(failed);
        }
        Err(match answer.json::<Problem>().await {
            Ok(problem) if !problem.errors.is_empty() => ClientError::Invalid(problem.errors),
            Ok(problem) => ClientError::Refused(problem.detail),
            Err(_) => ClientError::NoLab {
                lab: self.lab.clone(),
                status,
            },
        })
    }
}

/// Reads the address of a lab.
///
/// # Errors
/// A sentence that says what would be right.
pub fn lab_address(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        _ => Err("must be an address such as http://127.0.0.1:16600".into()),
    }
}
