//! Requests to the services' HTTP APIs, through the API server's proxy.

use http::{Method, Request, StatusCode};
use kube::client::Body;
use serde_json::Value;

use super::lab::Lab;

/// A service's response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    /// ID of the request's trace, if the service returned one.
    pub trace_id: Option<String>,
    pub text: String,
}

impl Answer {
    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    /// ID of the request's trace, which the service must have returned.
    pub fn trace_id(&self) -> &str {
        let id = self.trace_id.as_deref();
        id.unwrap_or_else(|| panic!("no trace id: {} {}", self.status, self.text))
    }
}

/// GET of a path of a service, `NAME:PORT`.
pub async fn get(lab: &Lab, service: &str, path: &str) -> Answer {
    ask(lab, Method::GET, service, path, None).await
}

/// POST of JSON, or of nothing.
pub async fn post(lab: &Lab, service: &str, path: &str, json: Option<&Value>) -> Answer {
    ask(lab, Method::POST, service, path, json).await
}

/// DELETE of a path.
pub async fn delete(lab: &Lab, service: &str, path: &str) -> Answer {
    ask(lab, Method::DELETE, service, path, None).await
}

async fn ask(lab: &Lab, method: Method, service: &str, path: &str, json: Option<&Value>) -> Answer {
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
    let answer = lab.client.send(request.body(body).unwrap()).await.unwrap();
    let trace_id = answer.headers().get("x-trace-id");
    let trace_id = trace_id.map(|id| id.to_str().unwrap().to_owned());
    let status = answer.status();
    let body = answer.into_body().collect_bytes().await.unwrap();
    Answer {
        status,
        trace_id,
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}
