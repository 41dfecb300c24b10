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
pub(super) struct LazyModel {
    pub(super) source: Source,
    pub(super) properties: ModelProperties,
    pub(super) network: OnceCell<Arc<Network>>,
}

impl LazyModel {
    /// Returns the model, and loads it first if needed. Every request that waits for the loading has
    /// a span for its wait.
    pub(super) async fn get_or_load(self: &Arc<Self>) -> Result<Arc<Network>, LoadModelError> {
        if let Some(network) = self.network.get() {
            return Ok(Arc::clone(network));
        }
        let span = info_span!(
            "load model",
            model.source = self.source.name(),
            model.cold = true
        );
        self.load().instrument(span).await
    }

    /// Loads the model once, however many requests wait. The task continues if all of them are
    /// cancelled, so that the next request does not start over.
    async fn load(self: &Arc<Self>) -> Result<Arc<Network>, LoadModelError> {
        let this = Arc::clone(self);
        task::spawn(async move {
            // If loading fails, the cell stays empty, and the next request tries again.
            let network = this.network.get_or_try_init(|| read(Arc::clone(&this)));
            network.await.cloned()
        })
        .await?
    }
}

async fn read(model: Arc<LazyModel>) -> Result<Arc<Network>, LoadModelError> {
    // On a blocking thread, since this takes tens of milliseconds of CPU time.
    let load = move || Network::load(&model.source, &model.properties);
    Ok(Arc::new(task::spawn_blocking(load).await??))
}
