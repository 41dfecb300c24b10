//! A model, which classifies pictures.

mod built_in;
mod file;
mod lazy;
mod network;
mod properties;
mod service;

use std::{path::PathBuf, sync::Arc};

use spoor_proto::{DESCRIPTORS, spoor::vision::v1::model_server::ModelServer};
use spoor_telemetry::serve::{Grpc, Program, ServeError, Server};
use tokio::sync::OnceCell;

use crate::workers::Workers;
use file::Source;
use lazy::LazyModel;
use service::Service;

pub use built_in::BuiltIn;
pub use file::OpenModelError;
pub use network::{ClassifyError, LoadModelError, Network};
pub use properties::{ModelProperties, Overrides, UnsupportedModel};

/// The most bytes of a tensor's message besides its values.
const MESSAGE_OVERHEAD_BYTES: usize = 1024;

/// The settings of a model.
#[derive(clap::Args, Clone, Debug)]
pub struct ModelArgs {
    /// Name of the model [default: the service's name]
    #[arg(long, env = "SPOOR_MODEL", value_name = "MODEL")]
    pub model: Option<BuiltIn>,
    /// ONNX file to use instead of the built-in model
    #[arg(long, env = "SPOOR_MODEL_FILE", value_name = "FILE")]
    pub model_file: Option<PathBuf>,
    /// File with the labels of the classes, one per line
    /// [default: the model's metadata `labels`, else `class 0`, `class 1` and so on]
    #[arg(long, env = "SPOOR_MODEL_LABELS_FILE", value_name = "FILE")]
    pub labels_file: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Maximum number of requests that wait for a CPU; more are refused
    #[arg(
        long,
        env = "SPOOR_MODEL_QUEUE",
        value_name = "NUMBER",
        default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(0..=1024)
    )]
    pub queue: u16,
    /// Load the model at startup instead of at the first request
    #[arg(
        long,
        env = "SPOOR_MODEL_PRELOAD",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        action = clap::ArgAction::Set
    )]
    pub preload: bool,
}

/// The error of running a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No model is named.
    #[error("SPOOR_MODEL is not set; set it to efficientnetb0 or mobilenetv2")]
    Unnamed,
    /// The model cannot be read.
    #[error(transparent)]
    Open(#[from] OpenModelError),
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadModelError),
    /// A port cannot be bound, or serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl Program for ModelArgs {
    type Error = ModelError;

    async fn serve(self, server: Server) -> Result<(), ModelError> {
        let name = self.model.ok_or(ModelError::Unnamed)?.name();
        let (queue, preload) = (self.queue, self.preload);
        let (source, properties) = self.read()?;
        tracing::info!(model.source = source.name(), model.size = %properties.input.size, "using model");
        let model = Arc::new(LazyModel {
            source,
            properties,
            network: OnceCell::new(),
        });
        if preload {
            model.get_or_load().await?;
        }
        // The size of the one input: a larger one is refused before it is decoded, with OUT_OF_RANGE.
        let max_bytes = model.properties.input.byte_count() + MESSAGE_OVERHEAD_BYTES;
        let service = Service {
            name,
            model,
            workers: Workers::new(queue.into()),
        };
        let service = ModelServer::new(service).max_decoding_message_size(max_bytes);
        Ok(server.serve_grpc(Grpc::new(service, DESCRIPTORS)).await?)
    }
}

impl ModelArgs {
    /// Uses this model unless another one is set.
    #[must_use]
    pub fn or_built_in(mut self, model: BuiltIn) -> Self {
        self.model.get_or_insert(model);
        self
    }

    /// Loads the model, as the service does at the first request.
    ///
    /// # Errors
    /// [`ModelError`] if the model or a setting is invalid.
    pub fn load(self) -> Result<(ModelProperties, Network), ModelError> {
        let (source, properties) = self.read()?;
        let network = Network::load(&source, &properties)?;
        Ok((properties, network))
    }

    fn read(self) -> Result<(Source, ModelProperties), ModelError> {
        let source = match (self.model_file, self.model) {
            (Some(path), _) => Source::File(path),
            (None, Some(model)) => Source::BuiltIn(model),
            (None, None) => return Err(ModelError::Unnamed),
        };
        let labels = self.labels_file.as_deref().map(file::labels).transpose()?;
        // Read at startup although the model is loaded later, so that a wrong file or setting
        // fails immediately.
        let properties = source.properties(&self.overrides, labels)?;
        Ok((source, properties))
    }
}
