//! Operations: the requests that load consists of.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::Full;

use super::LoadError;

/// A request that is sent repeatedly.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The name in tables, such as `gateway GET /api/wishes`.
    pub name: Arc<str>,
    /// The service's address, `http://HOST:PORT`.
    pub url: Uri,
    /// The method.
    pub method: Method,
    /// The path and query.
    pub path: String,
    /// The bodies, which take turns. If there are none, the body is empty.
    pub bodies: Arc<[Body]>,
    /// The requests that follow, to what this one created.
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

impl Operation {
    /// A `GET` request of a path.
    pub fn get(name: impl Into<Arc<str>>, url: Uri, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url,
            method: Method::GET,
            path: path.into(),
            bodies: Arc::default(),
            follow_ups: vec![],
        }
    }

    /// A `POST` request of these bodies to a path.
    pub fn post(
        name: impl Into<Arc<str>>,
        url: Uri,
        path: impl Into<String>,
        bodies: Vec<Body>,
    ) -> Self {
        Self {
            method: Method::POST,
            bodies: bodies.into(),
            ..Self::get(name, url, path)
        }
    }

    /// Adds a request to the response's `Location`.
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

    /// The address to connect to, `HOST:PORT`.
    ///
    /// # Errors
    /// [`LoadError::Address`] if the URL is not an HTTP address.
    pub fn address(&self) -> Result<String, LoadError> {
        let is_http = self.url.scheme_str() == Some("http");
        let authority = self.url.authority().filter(|_| is_http);
        let authority = authority.ok_or_else(|| LoadError::Address(self.url.clone()))?;
        let port = authority.port_u16().unwrap_or(80);
        Ok(format!("{}:{port}", authority.host()))
    }

    /// Builds the request of a turn.
    ///
    /// # Errors
    /// [`LoadError::Path`] if the path is not valid in a request.
    pub fn request(&self, turn: u64) -> Result<Request<Full<Bytes>>, LoadError> {
        let count = u64::try_from(self.bodies.len()).unwrap_or(u64::MAX).max(1);
        let position = usize::try_from(turn % count).unwrap_or_default();
        self.build(&self.method, &self.path, self.bodies.get(position))
    }

    /// Builds a follow-up request to a location.
    ///
    /// # Errors
    /// [`LoadError::Path`] if the location is not a valid path.
    pub fn request_after(
        &self,
        follow_up: &FollowUp,
        location: &str,
    ) -> Result<Request<Full<Bytes>>, LoadError> {
        let path = format!("{location}{}", follow_up.suffix);
        self.build(&follow_up.method, &path, None)
    }

    fn build(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Body>,
    ) -> Result<Request<Full<Bytes>>, LoadError> {
        let host = self.url.authority().map(ToString::to_string);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host.unwrap_or_default());
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, body.content_type);
        }
        let bytes = body.map(|body| body.bytes.clone()).unwrap_or_default();
        request
            .body(Full::new(bytes))
            .map_err(|source| LoadError::Path {
                path: path.to_owned(),
                source,
            })
    }
}
