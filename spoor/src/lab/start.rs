//! A lab's start and its end.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use spoor_control::Control;
use spoor_traces::{AllowedOrigins, OtherSignals, Pipeline, ReceiveSettings, TailSettings};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    addresses::{self, Kept, Open},
    admin::Admin,
    data_folder::{DataFolder, DataFolderError},
    hints::Hints,
    listeners::Listeners,
    policies::{self, Desk, FolderError},
    ports::TakePortError,
    serve::{listen, metrics},
    settings::Settings,
    stopped::Stopped,
    supervisor::{NotReady, Roster, Supervisor},
};

/// For every service to become ready. It takes a fraction of a second, unless the machine is
/// busy with something else.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// For connections that stay open after the services have ended.
const LISTENERS_GRACE: Duration = Duration::from_secs(2);

/// A running lab.
pub struct Lab {
    urls: Arc<BTreeMap<String, String>>,
    control: Control,
    pipeline: Pipeline,
    desk: Desk,
    roster: Arc<Roster>,
    supervisor: Supervisor,
    listeners: Listeners,
    /// Ends what works in the background.
    stop: CancellationToken,
    background: JoinSet<()>,
    /// Ends the streams of clients.
    end_streams: CancellationToken,
    _data: DataFolder,
}

/// Why a lab does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port can't be had.
    #[error(transparent)]
    Port(#[from] TakePortError),
    /// The data folder can't be used.
    #[error(transparent)]
    Data(#[from] DataFolderError),
    /// The policies can't be taken up.
    #[error(transparent)]
    Policies(#[from] policies::OpenError),
    /// The watched folder can't be watched.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A service does not become ready.
    #[error(transparent)]
    Services(#[from] NotReady),
    /// The lab's own gRPC descriptors cannot be read.
    #[error(transparent)]
    Reflection(#[from] spoor_runtime::ReflectionError),
    /// The operating system's word.
    #[error("can't start the lab")]
    System(#[from] io::Error),
}

impl Lab {
    /// Starts everything, and returns when every service is ready.
    ///
    /// # Errors
    /// [`StartError`] says in a line what is in the way; nothing runs then.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let services = settings.services();
        // First: services of a lab that was killed may still hold the ports.
        let data = DataFolder::open(settings.data.as_deref()).await?;
        let open = Open::all(&settings.ports)?;
        let kept = Kept::all(&services, &settings.ports)?;
        let executable = std::env::current_exe()?;

        let stop = CancellationToken::new();
        let end_streams = CancellationToken::new();
        let control = Control::new(spoor_control::Settings {
            shutdown: end_streams.clone(),
            ..spoor_control::Settings::default()
        });
        let pipeline = Pipeline::start(pipeline_settings(&settings), stop.clone());
        let kept_policies = data.file("policies.json");
        let desk = Desk::open(
            control.clone(),
            pipeline.clone(),
            kept_policies,
            settings.policies.clone(),
        )?;
        let watch = desk.watch()?;
        let roster = Arc::new(Roster::new(services, control.clone()));
        let mut background = JoinSet::new();
        background.spawn(watch.run(stop.clone()));

        let places = kept.release();
        let urls = Arc::new(addresses::urls(&open, &places)?);
        let admin = Admin {
            desk: desk.clone(),
            control: control.clone(),
            roster: roster.clone(),
            urls: urls.clone(),
            metrics: Arc::new(metrics(&control, &pipeline)),
        };
        let hints = Hints::of(&open)?;
        let listeners = listen(open, hints, &control, &pipeline, admin).await?;
        let specs = addresses::specs(&places, &urls, &settings, &data, &executable);
        let supervisor = Supervisor::start(specs, roster.clone(), settings.grace)?;
        let lab = Self {
            urls,
            control,
            pipeline,
            desk,
            roster,
            supervisor,
            listeners,
            stop,
            background,
            end_streams,
            _data: data,
        };
        match lab.supervisor.ready(READY_WITHIN).await {
            Ok(()) => Ok(lab),
            Err(error) => {
                lab.stop().await;
                Err(error.into())
            }
        }
    }

    /// Where everything is, by name: `service-a`, `gateway`, `traces`, `admin`, `otlp-grpc`, …
    #[must_use]
    pub fn urls(&self) -> &BTreeMap<String, String> {
        &self.urls
    }

    /// The process of each service that has one, by the service's name.
    #[must_use]
    pub fn processes(&self) -> BTreeMap<String, u32> {
        let children = self.roster.children().into_iter();
        children
            .filter_map(|(service, child)| Some((service.to_string(), child.process()?.pid)))
            .collect()
    }

    /// Who samples how.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The traces.
    #[must_use]
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The policies.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Ends it so that nothing is lost: the services answer what they accepted and hand over
    /// their spans, the pipeline decides about every trace, and only then the doors close.
    pub async fn stop(mut self) -> Stopped {
        self.supervisor.stop().await;
        self.pipeline.drain().await;
        let stopped = Stopped::of(&self.pipeline, &self.control);
        self.end_streams.cancel();
        self.listeners.close(LISTENERS_GRACE).await;
        self.stop.cancel();
        while let Some(ended) = self.background.join_next().await {
            if let Err(error) = ended {
                tracing::error!("the watch over policies failed: {error}");
            }
        }
        stopped
    }
}

fn pipeline_settings(settings: &Settings) -> spoor_traces::Settings {
    let default = spoor_traces::Settings::default();
    let store_bytes = settings.store_bytes.unwrap_or(default.store_bytes);
    spoor_traces::Settings {
        store_bytes,
        tail: tail_settings(store_bytes),
        receive: ReceiveSettings {
            other_signals: if settings.discard_other_signals {
                OtherSignals::Discard
            } else {
                OtherSignals::Refuse
            },
            origins: origins(&settings.otlp_origins),
            max_receiving_bytes: max_receiving_bytes(store_bytes),
            ..default.receive
        },
    }
}

/// The memory for requests in reception: less beside a small store, but enough for the largest
/// body as JSON, which takes its size twice, and the index of its spans.
fn max_receiving_bytes(store_bytes: usize) -> usize {
    const MIN: usize = 48 << 20;
    let default = ReceiveSettings::default().max_receiving_bytes;
    (store_bytes / 4).clamp(MIN, default)
}

/// Gathering takes at most half of what the store may take.
fn tail_settings(store_bytes: usize) -> TailSettings {
    let default = TailSettings::default();
    TailSettings {
        max_bytes: default.max_bytes.min(store_bytes / 2),
        ..default
    }
}

fn origins(origins: &[String]) -> AllowedOrigins {
    match origins {
        [] => AllowedOrigins::Loopback,
        origins if origins.iter().any(|origin| origin == "*") => AllowedOrigins::Any,
        origins => AllowedOrigins::Listed(origins.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(512, 256, 128)]
    #[case(64, 32, 48)]
    #[case(4096, 256, 128)]
    fn other_memory_follows_the_store(
        #[case] store: usize,
        #[case] gathering: usize,
        #[case] receiving: usize,
    ) {
        assert_eq!(tail_settings(store << 20).max_bytes, gathering << 20);
        assert_eq!(max_receiving_bytes(store << 20), receiving << 20);
    }
}
