//! Starting and stopping a lab.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use spoor_console::{Console, ConsoleSettings};
use spoor_control::Control;
use spoor_policy::Namespace;
use spoor_traces::{Pipeline, ReceiveSettings, TailSettings, query::Queries};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    addresses::{self, LabSockets, ReservedPorts},
    admin::{Admin, Permits},
    console::LabBackend,
    data_folder::{DataFolder, DataFolderError},
    final_counts::FinalCounts,
    hints::Hints,
    listeners::Listeners,
    policies::{FolderError, OpenPolicyStoreError, PolicyStore, PolicyStoreError},
    ports::BindPortError,
    serve::{listen, metrics},
    settings::LabSettings,
    supervisor::{NotReady, Roster, Supervisor},
    wire::{ApplyResult, Documents},
};

/// The time for all services to become ready. Normally they need less than a second, and much more
/// on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// The time for connections that are still open after the services have ended.
const LISTENERS_GRACE: Duration = Duration::from_secs(2);

/// A running lab.
pub struct Lab {
    urls: Arc<BTreeMap<String, String>>,
    control: Control,
    pipeline: Pipeline,
    policies: PolicyStore,
    roster: Arc<Roster>,
    supervisor: Supervisor,
    listeners: Listeners,
    /// Stops the background tasks.
    stop: CancellationToken,
    background: JoinSet<()>,
    /// Ends the clients' policy streams and the console's streams of events.
    end_streams: CancellationToken,
    _data: DataFolder,
}

/// The error of starting a lab.
#[derive(Debug, thiserror::Error)]
pub enum StartLabError {
    /// The data folder cannot be used.
    #[error(transparent)]
    OpenDataFolder(#[from] DataFolderError),
    /// A port cannot be bound.
    #[error(transparent)]
    BindPort(#[from] BindPortError),
    /// The path of this program's executable, which the services also run, is unknown.
    #[error("cannot find this program's executable")]
    FindExecutable(#[source] io::Error),
    /// The policies cannot be loaded.
    #[error(transparent)]
    OpenPolicies(#[from] OpenPolicyStoreError),
    /// The watched folder cannot be watched.
    #[error(transparent)]
    WatchFolder(#[from] FolderError),
    /// The address of a bound port is unknown.
    #[error("cannot read the address of a bound port")]
    ReadAddress(#[source] io::Error),
    /// The lab's own gRPC descriptors cannot be read.
    #[error(transparent)]
    DescribeServices(#[from] spoor_runtime::ReflectionError),
    /// The thread that prints the services' output cannot be started.
    #[error("cannot start the thread that prints the services' output")]
    StartPrinter(#[source] io::Error),
    /// A service did not become ready.
    #[error(transparent)]
    StartServices(#[from] NotReady),
}

impl Lab {
    /// Starts everything, and returns when every service is ready.
    ///
    /// # Errors
    /// [`StartLabError`]. No service is left running, and no port is left bound.
    pub async fn start(settings: LabSettings) -> Result<Self, StartLabError> {
        // The data folder comes first: opening it waits for services of a lab that was killed,
        // which may still hold the ports.
        let data = DataFolder::open(settings.data.as_deref()).await?;
        // All ports are bound before anything starts, so that a port in use is reported at once and
        // nothing has to be stopped.
        let sockets = LabSockets::bind(&settings.ports)?;
        let reserved_ports = ReservedPorts::reserve(&settings.services, &settings.ports)?;
        let executable = std::env::current_exe().map_err(StartLabError::FindExecutable)?;

        let stop = CancellationToken::new();
        let end_streams = CancellationToken::new();
        let control = Control::new(spoor_control::ControlSettings {
            shutdown: end_streams.clone(),
            ..spoor_control::ControlSettings::default()
        });
        let pipeline = Pipeline::start(pipeline_settings(&settings), stop.clone());
        let policies = PolicyStore::open(
            control.clone(),
            pipeline.clone(),
            data.file("policies.json"),
            settings.policies.clone(),
        )?;
        let watch = policies.watch()?;
        let roster = Arc::new(Roster::new(
            settings.services.iter().copied(),
            control.clone(),
        ));
        let mut background = JoinSet::new();
        background.spawn(watch.run(stop.clone()));

        // As late as possible: until its service listens, any process can take a released port.
        let service_addresses = reserved_ports.release();
        let urls = addresses::urls(&sockets, &service_addresses);
        let urls = Arc::new(urls.map_err(StartLabError::ReadAddress)?);
        let admin = Admin {
            policies: policies.clone(),
            control: control.clone(),
            roster: roster.clone(),
            decision_wait: pipeline.decision_wait(),
            urls: urls.clone(),
            metrics: Arc::new(metrics(&control, &pipeline)),
            permits: Permits::default(),
        };
        let queries = Queries::new(pipeline.store().clone());
        let console = console(&settings, &admin, queries.clone());
        let (recorded, end) = (console.clone(), end_streams.clone());
        background.spawn(async move { recorded.record(end).await });
        let hints = Hints::of(&sockets).map_err(StartLabError::ReadAddress)?;
        // Before the services start, since they connect at once.
        let listeners = listen(
            sockets,
            hints,
            &control,
            &pipeline,
            (&queries, &console),
            admin,
        );
        let listeners = listeners.await?;
        let specs = addresses::specs(&service_addresses, &urls, &settings, &data, &executable);
        let supervisor = Supervisor::start(specs, roster.clone(), settings.grace)
            .map_err(StartLabError::StartPrinter)?;
        let lab = Self {
            urls,
            control,
            pipeline,
            policies,
            roster,
            supervisor,
            listeners,
            stop,
            background,
            end_streams,
            _data: data,
        };
        match lab.supervisor.wait_until_ready(READY_TIMEOUT).await {
            Ok(()) => Ok(lab),
            Err(error) => {
                // Dropping the lab would kill the services; this lets them end by themselves.
                lab.stop().await;
                Err(error.into())
            }
        }
    }

    /// All addresses by name, such as `service-a`, `gateway`, `traces`, `admin` or `otlp-grpc`.
    #[must_use]
    pub fn urls(&self) -> &BTreeMap<String, String> {
        &self.urls
    }

    /// The process IDs of the running services, by name.
    #[must_use]
    pub fn processes(&self) -> BTreeMap<String, u32> {
        let children = self.roster.children().into_iter();
        children
            .filter_map(|(service, child)| Some((service.to_string(), child.process()?.pid)))
            .collect()
    }

    /// The control plane.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The trace pipeline.
    #[must_use]
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The names of the policies that are effective at any place in the default namespace, to which the
    /// lab's own services belong. Blocks while a change is saved or policies are listed.
    #[must_use]
    pub fn effective_policies(&self) -> Vec<String> {
        self.policies.effective(&Namespace::default())
    }

    /// Applies all policies in the documents, or none. Blocks while policies are saved or listed.
    ///
    /// # Errors
    /// [`PolicyStoreError::Validate`] names file, line and field, or the limit on all policies together
    /// that is exceeded; [`PolicyStoreError::Save`] if the policies could not be saved. The earlier
    /// policies stay in force.
    pub fn apply(&self, documents: &Documents) -> Result<ApplyResult, PolicyStoreError> {
        self.policies.apply(documents)
    }

    /// Stops the lab without losing data: the services finish their requests and export their
    /// spans, the pipeline decides on every trace, and only then do the listeners close.
    pub async fn stop(mut self) -> FinalCounts {
        // The receivers and the policy endpoints stay open meanwhile, for the last spans and
        // reports.
        self.supervisor.stop().await;
        self.pipeline.drain().await;
        let totals = self.pipeline.totals();
        let counts = FinalCounts::new(&totals, self.control.spans_dropped());
        // These streams never end by themselves, so closing would always wait for the whole grace
        // period.
        self.end_streams.cancel();
        self.listeners.close(LISTENERS_GRACE).await;
        self.stop.cancel();
        while let Some(ended) = self.background.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "background task failed");
            }
        }
        counts
    }
}

/// The console, which may change policies: all ports of a lab are on loopback addresses.
fn console(settings: &LabSettings, admin: &Admin, queries: Queries) -> Console {
    let url = admin.urls.get("admin").map_or("", String::as_str);
    let backend = LabBackend::new(
        url,
        admin.policies.clone(),
        admin.control.clone(),
        admin.permits.clone(),
        queries,
        settings.lessons.clone(),
    );
    let settings = ConsoleSettings {
        is_read_only: settings.is_console_read_only,
    };
    Console::new(Arc::new(backend), settings)
}

fn pipeline_settings(settings: &LabSettings) -> spoor_traces::PipelineSettings {
    let store_bytes = settings.store.get();
    spoor_traces::PipelineSettings {
        store_bytes,
        tail: tail_settings(store_bytes),
        receive: ReceiveSettings {
            other_signals: settings.other_signals,
            origins: settings.otlp_origins.clone(),
            max_receiving_bytes: max_receiving_bytes(store_bytes),
            ..ReceiveSettings::default()
        },
    }
}

/// The memory for requests being received. It is less with a small store, but always enough for
/// the largest JSON body, which takes twice its size, and for the index of its spans.
fn max_receiving_bytes(store_bytes: usize) -> usize {
    const MIN_BYTES: usize = 48 << 20;
    let default = ReceiveSettings::default().max_receiving_bytes;
    (store_bytes / 4).clamp(MIN_BYTES, default)
}

/// The settings of the tail sampler, which may use at most half as much memory as the store.
fn tail_settings(store_bytes: usize) -> TailSettings {
    let default = TailSettings::default();
    TailSettings {
        max_bytes: default.max_bytes.min(store_bytes / 2),
        ..default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(512, 256, 128)]
    #[case(64, 32, 48)]
    #[case(4096, 256, 128)]
    fn memory_limits_depend_on_the_store(
        #[case] store: usize,
        #[case] gathering: usize,
        #[case] receiving: usize,
    ) {
        assert_eq!(tail_settings(store << 20).max_bytes, gathering << 20);
        assert_eq!(max_receiving_bytes(store << 20), receiving << 20);
    }
}
