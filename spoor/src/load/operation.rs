//! What is sent: operations, in turn.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::Full;

use super::LoadError;

/// A request that is sent again and again.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What tables call it, such as `gateway GET /api/wishes`.
    pub name: Arc<str>,
    /// Where the service is: `http://HOST:PORT`.
    pub url: Uri,
    /// With which method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// What is sent along, each in its turn; nothing if there are none.
    pub bodies: Arc<[Body]>,
    /// What is done with that which it made.
    pub follow_ups: Vec<FollowUp>,
}

/// What is sent along.
#[derive(Clone, Debug)]
pub struct Body {
    /// Its media type.
    pub content_type: &'static str,
    /// The bytes.
    pub bytes: Bytes,
}

/// A request to where the answer's `Location` points.
#[derive(Clone, Debug)]
pub struct FollowUp {
    /// What tables call it.
    pub name: Arc<str>,
    /// With which method.
    pub method: Method,
    /// What comes after the location.
    pub suffix: &'static str,
}

impl Operation {
    /// A `GET` of this path.
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

    /// A `POST` of these to this path.
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

    /// Followed by this, where the answer's `Location` points.
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

    /// Where to connect.
    ///
    /// # Errors
    /// [`LoadError::Address`] when that is no HTTP address.
    pub fn address(&self) -> Result<String, LoadError> {
        let is_http = self.url.scheme_str() == Some("http");
        let authority = self.url.authority().filter(|_| is_http);
        let authority = authority.ok_or_else(|| LoadError::Address(self.url.clone()))?;
        let port = authority.port_u16().unwrap_or(80);
        Ok(format!("{}:{port}", authority.host()))
    }

    /// The request that is sent in this turn.
    ///
    /// # Errors
    /// [`LoadError::Path`] when the path can't be that of a request.
    pub fn request(&self, turn: u64) -> Result<Request<Full<Bytes>>, LoadError> {
        let count = u64::try_from(self.bodies.len()).unwrap_or(u64::MAX).max(1);
        let position = usize::try_from(turn % count).unwrap_or_default();
        self.build(&self.method, &self.path, self.bodies.get(position))
    }

    /// The request that follows up what is at this location.
    ///
    /// # Errors
    /// [`LoadError::Path`] when the location is no path.
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
