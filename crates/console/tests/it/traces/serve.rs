//! A console over a store, on a port of its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{Response, StatusCode};
use spoor_api::{
    SamplingPolicy,
    changes::{Change, Comparison, Document},
};
use spoor_console::{
    Backend, BackendError, Console, ConsoleSettings, FoundTraces, ListedTrace, Source, SourceKind,
    TraceSpans,
};
use spoor_policy::PolicyKey;
use spoor_traces::{
    Search, StoredTrace, TraceId, TraceStore,
    figures::ServiceFigures,
    query::{Queries, TraceQueryError},
};
use tokio::{sync::watch, task::JoinHandle};

/// A backend with the traces of a store, and without policies.
struct StoreBackend {
    source: Source,
    /// `None` if the backend cannot be reached.
    queries: Option<Queries>,
    changes: watch::Sender<u64>,
}

impl StoreBackend {
    fn new(store: Option<&TraceStore>) -> Self {
        Self {
            source: Source {
                kind: SourceKind::Lab,
                name: "test".to_owned(),
                namespace: None,
            },
            queries: store.map(|store| Queries::new(store.clone())),
            changes: watch::Sender::new(0),
        }
    }

    fn queries(&self) -> Result<&Queries, BackendError> {
        let unreachable = || BackendError::Reach("the store is unreachable".to_owned());
        self.queries.as_ref().ok_or_else(unreachable)
    }
}

fn failed(error: TraceQueryError) -> BackendError {
    match error {
        TraceQueryError::TraceTooLarge(_) => BackendError::TooLarge(error.to_string()),
        error => BackendError::Reach(error.to_string()),
    }
}

fn without_policies<T>() -> Result<T, BackendError> {
    Err(BackendError::Refuse("there are no policies".to_owned()))
}

#[async_trait]
impl Backend for StoreBackend {
    fn source(&self) -> &Source {
        &self.source
    }

    fn policy_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn policies(&self) -> Result<Vec<SamplingPolicy>, BackendError> {
        Ok(Vec::new())
    }

    async fn policy(&self, _key: &PolicyKey) -> Result<SamplingPolicy, BackendError> {
        without_policies()
    }

    async fn diff(&self, _document: Document) -> Result<Comparison, BackendError> {
        without_policies()
    }

    async fn apply(&self, _document: Document) -> Result<Vec<Change>, BackendError> {
        without_policies()
    }

    async fn delete(&self, _key: &PolicyKey) -> Result<Change, BackendError> {
        without_policies()
    }

    async fn services(&self) -> Result<Vec<String>, BackendError> {
        self.queries()?.some_services().await.map_err(failed)
    }

    async fn operations(&self, service: &str) -> Result<Vec<String>, BackendError> {
        let operations = self.queries()?.some_operations(service.to_owned());
        operations.await.map_err(failed)
    }

    async fn find_traces(&self, search: Search) -> Result<FoundTraces, BackendError> {
        let list = |trace: &StoredTrace| {
            ListedTrace::new(trace.id, trace.decode(), Some(trace.kept.clone()))
        };
        let found = self.queries()?.find_each(search, list).await;
        let found = found.map_err(failed)?;
        Ok(FoundTraces {
            traces: found.traces,
            too_large: found.too_large,
            stored: Some(found.stored),
        })
    }

    async fn trace(&self, id: TraceId) -> Result<Option<TraceSpans>, BackendError> {
        let found = self.queries()?.decoded_trace(id).await.map_err(failed)?;
        Ok(found.map(|(resource_spans, kept)| TraceSpans {
            id,
            resource_spans,
            kept: Some(kept),
        }))
    }

    async fn figures(&self, window: Duration) -> Result<ServiceFigures, BackendError> {
        self.queries()?.figures(window).await.map_err(failed)
    }
}

/// A running console, which stops when dropped.
pub struct Server {
    url: String,
    task: JoinHandle<()>,
}

impl Server {
    /// A console over a store.
    pub async fn start(store: &TraceStore) -> Self {
        Self::serve(StoreBackend::new(Some(store))).await
    }

    /// A console whose backend cannot be reached.
    pub async fn start_unreachable() -> Self {
        Self::serve(StoreBackend::new(None)).await
    }

    async fn serve(backend: StoreBackend) -> Self {
        let settings = ConsoleSettings {
            is_read_only: false,
        };
        let app = Console::new(Arc::new(backend), settings).router();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub async fn get(&self, path: &str) -> Response {
        reqwest::get(self.url(path)).await.unwrap()
    }

    pub async fn text(&self, path: &str) -> (StatusCode, String) {
        let response = self.get(path).await;
        (response.status(), response.text().await.unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
