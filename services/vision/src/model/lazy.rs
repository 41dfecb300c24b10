//! A model that is loaded at the first request.

use std::sync::Arc;

use tokio::{sync::OnceCell, task};
use tracing::{Instrument, info_span};

use super::{
    file::Source,
    network::{LoadModelError, Network},
    properties::ModelProperties,
};

/// A model that may not be loaded yet.
#[derive(Clone)]
pub(super) struct LazyModel(Arc<Inner>);

struct Inner {
    source: Source,
    properties: ModelProperties,
    network: OnceCell<Arc<Network>>,
}

impl LazyModel {
    pub(super) fn new(source: Source, properties: ModelProperties) -> Self {
        Self(Arc::new(Inner {
            source,
            properties,
            network: OnceCell::new(),
        }))
    }

    pub(super) fn properties(&self) -> &ModelProperties {
        &self.0.properties
    }

    /// Returns the model, and loads it first if needed. Every request that waits for that has a span
    /// for it.
    pub(super) async fn get_or_load(&self) -> Result<Arc<Network>, LoadModelError> {
        if let Some(network) = self.0.network.get() {
            return Ok(Arc::clone(network));
        }
        let span = info_span!(
            "load model",
            model.source = self.0.source.name(),
            model.cold = true
        );
        self.load().instrument(span).await
    }

    /// Loads the model once, however many requests wait. The task continues if all of them are
    /// cancelled, so that the next request does not start over.
    async fn load(&self) -> Result<Arc<Network>, LoadModelError> {
        let inner = Arc::clone(&self.0);
        task::spawn(async move {
            // If loading fails, the cell stays empty, and the next request tries again.
            let network = inner.network.get_or_try_init(|| read(Arc::clone(&inner)));
            network.await.cloned()
        })
        .await?
    }
}

async fn read(inner: Arc<Inner>) -> Result<Arc<Network>, LoadModelError> {
    // On a blocking thread, since this takes tens of milliseconds of CPU time.
    let load = move || Network::load(&inner.source, &inner.properties);
    Ok(Arc::new(task::spawn_blocking(load).await??))
}
