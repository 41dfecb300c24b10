//! Operations: the requests that load consists of.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;

use super::{base_url::BaseUrl, error::DriveError};

/// A request that is sent repeatedly.
#[derive(Clone, Debug)]
pub struct LoadOperation {
    /// The name in tables, such as `gateway GET /api/wishes`.
    pub name: Arc<str>,
    /// The service's address.
    pub url: BaseUrl,
    /// The method.
    pub method: Method,
    /// The path and query.
    pub path: String,
    /// The bodies, which take turns. If there are none, the body is empty.
    pub bodies: Arc<[Body]>,
    /// The requests that follow, to the resource that this one created. Each counts in the load's rate.
    pub follow_ups: Vec<FollowUp>,
}

/// A request body.
#[derive(Clone, Debug)]
pub struct Body {
    /// The media type.
    pub content_type: &'static str,
    /// The bytes.
    pub bytes: Bytes,
}

/// A request to the `Location` of an operation's response.
#[derive(Clone, Debug)]
pub struct FollowUp {
    /// The name in tables.
    pub name: Arc<str>,
    /// The method.
    pub method: Method,
    /// The part of the path after the location.
    pub suffix: &'static str,
}

impl LoadOperation {
    /// A `GET` request for a path.
    #[must_use]
    pub fn get(name: impl Into<Arc<str>>, url: BaseUrl, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url,
            method: Method::GET,
            path: path.into(),
            bodies: Arc::default(),
            follow_ups: vec![],
        }
    }

    /// Adds a request to the response's `Location`.
    #[must_use]
    pub fn followed_by(
        mut self,
        name: impl Into<Arc<str>>,
        method: Method,
        suffix: &'static str,
    ) -> Self {
        self.follow_ups.push(FollowUp {
            name: name.into(),
            method,
            suffix,
        });
        self
    }

    /// Builds the request for a turn.
    ///
    /// # Errors
    /// [`DriveError::BuildRequest`] if the path is not valid in a request.
    pub(super) fn request(&self, turn: u64) -> Result<Request<Full<Bytes>>, DriveError> {
        let count = u64::try_from(self.bodies.len()).unwrap_or(u64::MAX).max(1);
        let position = usize::try_from(turn % count).unwrap_or_default();
        self.build(&self.method, &self.path, self.bodies.get(position))
    }

    /// Builds a request to the operation's service, such as a follow-up request to a location.
    ///
    /// # Errors
    /// [`DriveError::BuildRequest`] if the path is not valid in a request.
    pub(super) fn build(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Body>,
    ) -> Result<Request<Full<Bytes>>, DriveError> {
        // hyper's low-level connections add no `Host`, which HTTP/1.1 requires.
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.url.host());
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, body.content_type);
        }
        let bytes = body.map(|body| body.bytes.clone()).unwrap_or_default();
        request
            .body(Full::new(bytes))
            .map_err(|source| DriveError::BuildRequest {
                path: path.to_owned(),
                source,
            })
    }
}
