//! The cluster as a console shows it.

use std::time::Duration;

use async_trait::async_trait;
use spoor_api::{
    SamplingPolicy,
    changes::{Change, Comparison, Document},
};
use spoor_console::{Backend, BackendError, FoundTraces, Source, TraceSpans};
use spoor_policy::PolicyKey;
use spoor_traces::{Search, TraceId, figures::ServiceFigures};
use tokio::sync::watch;

use crate::{ClusterClient, traces};

#[async_trait]
impl Backend for ClusterClient {
    fn source(&self) -> &Source {
        Self::source(self)
    }

    fn policy_changes(&self) -> watch::Receiver<u64> {
        self.changes().subscribe()
    }

    async fn policies(&self) -> Result<Vec<SamplingPolicy>, BackendError> {
        let listed = self.list().await?;
        for problem in &listed.unreadable {
            tracing::debug!(problem, "policy skipped");
        }
        Ok(listed.policies)
    }

    async fn policy(&self, key: &PolicyKey) -> Result<SamplingPolicy, BackendError> {
        self.get(key).await
    }

    async fn diff(&self, document: Document) -> Result<Comparison, BackendError> {
        self.compare(&[document]).await
    }

    async fn apply(&self, document: Document) -> Result<Vec<Change>, BackendError> {
        let applied = self.apply_documents(&[document]).await?;
        Ok(applied.changes)
    }

    async fn delete(&self, key: &PolicyKey) -> Result<Change, BackendError> {
        self.delete_policy(key).await
    }

    async fn services(&self) -> Result<Vec<String>, BackendError> {
        traces::services(self.traces()).await
    }

    async fn operations(&self, service: &str) -> Result<Vec<String>, BackendError> {
        traces::operations(self.traces(), service).await
    }

    async fn find_traces(&self, search: Search) -> Result<FoundTraces, BackendError> {
        traces::find(self.traces(), search).await
    }

    async fn trace(&self, id: TraceId) -> Result<Option<TraceSpans>, BackendError> {
        traces::get(self.traces(), id).await
    }

    async fn figures(&self, window: Duration) -> Result<ServiceFigures, BackendError> {
        traces::figures(self.traces(), window).await
    }
}
