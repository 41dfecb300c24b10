//! Requests to the services' HTTP APIs, through the API server's proxy.

use http::{Method, Request, StatusCode};
use kube::client::Body;
use serde_json::Value;

use super::lab::Lab;

/// A service's response.
#[derive(Debug)]
pub struct EdgeResponse {
    pub status: StatusCode,
    /// ID of the request's trace, if the service returned one.
    pub trace_id: Option<String>,
    pub text: String,
}

impl EdgeResponse {
    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    /// ID of the request's trace, which the service must have returned.
    pub fn trace_id(&self) -> &str {
        let id = self.trace_id.as_deref();
        id.unwrap_or_else(|| panic!("no trace ID: {} {}", self.status, self.text))
    }
}

/// Sends a GET for a path of a service, `NAME:PORT`.
pub async fn get(lab: &Lab, service: &str, path: &str) -> EdgeResponse {
    send(lab, Method::GET, service, path, None).await
}

/// Sends a POST with JSON, or without a body.
pub async fn post(lab: &Lab, service: &str, path: &str, json: Option<&Value>) -> EdgeResponse {
    send(lab, Method::POST, service, path, json).await
}

/// Sends a DELETE for a path.
pub async fn delete(lab: &Lab, service: &str, path: &str) -> EdgeResponse {
    send(lab, Method::DELETE, service, path, None).await
}

async fn send(
    lab: &Lab,
    method: Method,
    service: &str,
    path: &str,
    json: Option<&Value>,
) -> EdgeResponse {
    let namespace = lab.namespace;
    let proxied = format!("/api/v1/namespaces/{namespace}/services/http:{service}/proxy{path}");
    let request = Request::builder().method(method).uri(proxied);
    let (request, body) = match json {
        Some(json) => (
            request.header("content-type", "application/json"),
            Body::from(json.to_string().into_bytes()),
        ),
        None => (request, Body::empty()),
    };
    let response = lab.client.send(request.body(body).unwrap()).await.unwrap();
    let trace_id = response.headers().get("x-trace-id");
    let trace_id = trace_id.map(|id| id.to_str().unwrap().to_owned());
    let status = response.status();
    let body = response.into_body().collect_bytes().await.unwrap();
    EdgeResponse {
        status,
        trace_id,
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}
