//! The cluster as a console shows it.

use async_trait::async_trait;
use spoor_api::{
    SamplingPolicy,
    changes::{Change, Comparison, Document},
};
use spoor_console::{Backend, BackendError, FoundTraces, Source, TraceSpans};
use spoor_policy::PolicyKey;
use spoor_traces::{Search, TraceId};
use tokio::sync::watch;

use crate::ClusterClient;

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
        Err(no_traces())
    }

    async fn operations(&self, _service: &str) -> Result<Vec<String>, BackendError> {
        Err(no_traces())
    }

    async fn find_traces(&self, _search: Search) -> Result<FoundTraces, BackendError> {
        Err(no_traces())
    }

    async fn trace(&self, _id: TraceId) -> Result<Option<TraceSpans>, BackendError> {
        Err(no_traces())
    }
}

fn no_traces() -> BackendError {
    BackendError::Reach("the traces of a cluster cannot be read yet".to_owned())
}
