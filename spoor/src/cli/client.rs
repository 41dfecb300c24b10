//! A client of the lab's API.

use std::{error::Error, time::Duration};

use reqwest::{Method, RequestBuilder, StatusCode, Url, header::CONTENT_TYPE};
use serde::de::DeserializeOwned;
use spoor_api::{
    SamplingPolicy,
    changes::{Change, Comparison},
};

use spoor_lab::wire::{
    ApplyResult, ConvergenceResult, Documents, FaultSetting, FaultsByService, MAX_BODY_BYTES,
    Problem, ServiceStatus, Status,
};

use super::{exchange, http_client};

/// The timeout of a request to which the lab responds immediately.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The most policies named in one query. With more, the URL could become longer than HTTP
/// servers accept, and the client waits for everything instead.
const MAX_NAMED_POLICIES: usize = 100;

/// A client of the lab at one address.
#[derive(Clone, Debug)]
pub struct LabClient {
    lab: Url,
    http: reqwest::Client,
}

/// The error of a request to the lab.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens at the address.
    #[error("no lab is running at {0}; start one with `spoor up`, or give its address with --lab")]
    NotRunning(Url),
    /// No response, or one that cannot be decoded.
    #[error("request to the lab at {0} failed")]
    Request(Url, #[source] Box<dyn Error + Send + Sync>),
    /// The input is invalid: one message for each error.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
    /// The documents have this many bytes, which is more than a lab accepts.
    #[error(
        "the request with all files would be {0} bytes, and the lab accepts at most {MAX_BODY_BYTES}; give fewer files at once"
    )]
    TooLarge(usize),
    /// The lab refused the request.
    #[error("{0}")]
    Refused(String),
    /// Another program responds at the address.
    #[error("{0} is not a Spoor lab (it responded with {1}); give the lab's address with --lab")]
    NotALab(Url, StatusCode),
}

impl LabClient {
    /// Creates a client of the lab at this address.
    pub fn new(lab: Url) -> Self {
        let http = http_client(lab.as_str());
        Self { lab, http }
    }

    /// Applies all policies in the documents, or none.
    pub async fn apply(&self, documents: &Documents) -> Result<ApplyResult, ClientError> {
        self.post_documents("v1/policies", documents).await
    }

    /// Computes what applying the documents would change.
    pub async fn diff(&self, documents: &Documents) -> Result<Comparison, ClientError> {
        self.post_documents("v1/diff", documents).await
    }

    /// Lists the policies of all namespaces.
    pub async fn all_policies(&self) -> Result<Vec<SamplingPolicy>, ClientError> {
        self.json(self.request(Method::GET, "v1/policies")).await
    }

    /// Lists the policies of a namespace.
    pub async fn policies(&self, namespace: &str) -> Result<Vec<SamplingPolicy>, ClientError> {
        self.json(self.request(Method::GET, &format!("v1/policies/{namespace}")))
            .await
    }

    /// Gets one policy.
    pub async fn policy(&self, namespace: &str, name: &str) -> Result<SamplingPolicy, ClientError> {
        self.json(self.request(Method::GET, &format!("v1/policies/{namespace}/{name}")))
            .await
    }

    /// Deletes one policy.
    pub async fn delete(&self, namespace: &str, name: &str) -> Result<Change, ClientError> {
        self.json(self.request(Method::DELETE, &format!("v1/policies/{namespace}/{name}")))
            .await
    }

    /// Waits until these policies have converged, for at most `within`. If none are given, waits
    /// until every instance has what is currently published. `sequence` is the first version whose
    /// changes count.
    pub async fn converged(
        &self,
        applied: &[Change],
        sequence: u64,
        within: Duration,
    ) -> Result<ConvergenceResult, ClientError> {
        let request = self.request(Method::GET, "v1/converged");
        // Without the sequence, a status computed before the change could be taken for convergence.
        let within_milliseconds = within.as_millis().to_string();
        let mut request = request.query(&[
            ("within", within_milliseconds),
            ("sequence", sequence.to_string()),
        ]);
        // Waiting for everything is stricter, but never wrong, since it includes what was applied.
        if (1..=MAX_NAMED_POLICIES).contains(&applied.len()) {
            let name = |it: &Change| format!("{}/{}", it.namespace, it.name);
            let policies: Vec<String> = applied.iter().map(name).collect();
            request = request.query(&[("policies", policies.join(","))]);
        }
        // The lab responds after at most `within`, so the timeout of other requests is too short.
        self.json(request.timeout(within + REQUEST_TIMEOUT)).await
    }

    /// Lists the faults of all services.
    pub async fn faults(&self) -> Result<FaultsByService, ClientError> {
        self.json(self.request(Method::GET, "v1/faults")).await
    }

    /// Adds a fault to a service, or replaces the one of the same operation.
    pub async fn add_fault(
        &self,
        service: &str,
        fault: &FaultSetting,
    ) -> Result<FaultsByService, ClientError> {
        let request = self.request(Method::POST, &format!("v1/faults/{service}"));
        self.json(request.json(fault)).await
    }

    /// Removes the faults of a service, or of all.
    pub async fn clear_faults(
        &self,
        service: Option<&str>,
    ) -> Result<FaultsByService, ClientError> {
        let path = service.map_or("v1/faults".into(), |service| format!("v1/faults/{service}"));
        self.json(self.request(Method::DELETE, &path)).await
    }

    /// Restarts a service and returns its status before the restart.
    pub async fn restart(&self, service: &str) -> Result<ServiceStatus, ClientError> {
        let path = format!("v1/services/{service}/restart");
        self.json(self.request(Method::POST, &path)).await
    }

    /// Gets the lab's status.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.json(self.request(Method::GET, "v1/status")).await
    }

    async fn post_documents<T: DeserializeOwned>(
        &self,
        path: &str,
        documents: &Documents,
    ) -> Result<T, ClientError> {
        // Texts cannot fail to serialize.
        let body = serde_json::to_vec(documents).unwrap_or_default();
        // Not left to the lab, which would close the connection while the rest is sent.
        if body.len() > MAX_BODY_BYTES {
            return Err(ClientError::TooLarge(body.len()));
        }
        let request = self.request(Method::POST, path).body(body);
        self.json(request.header(CONTENT_TYPE, "application/json"))
            .await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.lab.clone();
        // Only a base such as `mailto:` has no segments; the option's parser refuses those.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        self.http.request(method, url).timeout(REQUEST_TIMEOUT)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let lab = self.lab.clone();
        // The one failure with a known fix; all others show their cause.
        let failed = |source: reqwest::Error| match source.is_connect() {
            true => ClientError::NotRunning(lab.clone()),
            false => ClientError::Request(lab.clone(), source.into()),
        };
        let (status, body) = exchange(request).await.map_err(failed)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                ClientError::Request(lab, format!("cannot decode the response: {error}").into())
            });
        }
        // Any HTTP server may listen on the port, and a lab's services also return problem JSON.
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if !problem.errors.is_empty() => ClientError::Invalid(problem.errors),
            Ok(problem) if !any_server_may_send(status) || self.is_lab().await => {
                ClientError::Refused(problem.detail)
            }
            _ => ClientError::NotALab(lab, status),
        })
    }

    /// Returns whether a lab responds at the address.
    pub(super) async fn is_lab(&self) -> bool {
        let response = exchange(self.request(Method::GET, "v1/status")).await;
        response.is_ok_and(|(_, body)| serde_json::from_slice::<Status>(&body).is_ok())
    }
}

/// Returns whether a server that is not a lab may respond with this status, because it does not
/// know the path or serves gRPC only.
fn any_server_may_send(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::UNSUPPORTED_MEDIA_TYPE
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_api::changes::Document;

    use super::*;

    #[tokio::test]
    async fn too_many_files_are_refused_without_a_lab() {
        let client = LabClient::new("http://127.0.0.1:1".parse().unwrap());
        let document = Document {
            source: "p.yaml".to_owned(),
            text: "#".repeat(MAX_BODY_BYTES / 4),
        };
        let documents = Documents {
            documents: vec![document; 4],
        };
        let refused = client.apply(&documents).await.unwrap_err();
        assert!(matches!(refused, ClientError::TooLarge(_)), "{refused}");
    }
}
