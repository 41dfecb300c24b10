//! `spoor run`: runs one service, as in a container or as a child of the lab.

use std::{error::Error, io::Read, process::ExitCode, thread, time::Duration};

use clap::Subcommand;
use spoor_policy::ServiceName;
use spoor_telemetry::{
    Settings, Telemetry,
    serve::{self, Program},
};
use spoor_vision::model::BuiltIn;
use tokio_util::sync::CancellationToken;

use super::{failure::Invalid, signals};
use spoor_lab::{SUPERVISED, Service};

/// The time to export queued spans when a service ends.
const TELEMETRY_GRACE: Duration = Duration::from_secs(5);
/// The time a service has to finish its requests after its lab has died. It is short because the
/// receiver of its spans is gone, and the next lab needs its ports.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// Run one service, configured with OTEL_* and SPOOR_* variables or options
#[derive(Subcommand, Debug)]
#[command(after_help = "Examples:
  spoor run service-b --wait 0ms
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 spoor run service-a
  SPOOR_CONTROL_ENDPOINT=http://127.0.0.1:5779 spoor run service-a
                                         follow the policies and faults of a lab")]
pub enum RunService {
    /// An edge that calls service-b, over HTTP
    ServiceA(spoor_ab::a::Args),
    /// Waits as if for a database, then computes, over gRPC
    ServiceB(spoor_ab::b::Args),
    /// The wishlist's web page and JSON API
    Gateway(spoor_wishlist::gateway::Args),
    /// Stores the wishes, over gRPC
    Wishlist(Box<spoor_wishlist::wishlist::Args>),
    /// Searches the marketplaces for offers, over gRPC
    Offers(spoor_wishlist::offers::Args),
    /// A marketplace that is slow and reliable, over gRPC
    MarketplaceAttic(spoor_wishlist::marketplace::Args),
    /// A marketplace that is fast and often fails, over gRPC
    MarketplaceBazaar(spoor_wishlist::marketplace::Args),
    /// A marketplace that accepts few requests per second, over gRPC
    MarketplaceCorner(spoor_wishlist::marketplace::Args),
    /// Bands with their reviews, over HTTP
    Bands(spoor_bands::bands::Args),
    /// Reviews of bands, over HTTP
    Reviews(spoor_bands::reviews::Args),
    /// A to-do list, over HTTP
    Tasks(spoor_tasks::tasks::Args),
    /// Accepts images to classify, over HTTP
    Preprocessing(spoor_vision::preprocessing::Args),
    /// Queries both models and weights their votes, over gRPC
    Ensemble(spoor_vision::ensemble::Args),
    /// A model of MBConv blocks, over gRPC
    Efficientnetb0(spoor_vision::model::Args),
    /// A model of inverted residuals, over gRPC
    Mobilenetv2(spoor_vision::model::Args),
}

impl RunService {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::ServiceA(args) => run(Service::ServiceA, args).await,
            Self::ServiceB(args) => run(Service::ServiceB, args).await,
            Self::Gateway(args) => run(Service::Gateway, args).await,
            Self::Wishlist(args) => run(Service::Wishlist, *args).await,
            Self::Offers(args) => run(Service::Offers, args).await,
            Self::MarketplaceAttic(args) => run(Service::MarketplaceAttic, args).await,
            Self::MarketplaceBazaar(args) => run(Service::MarketplaceBazaar, args).await,
            Self::MarketplaceCorner(args) => run(Service::MarketplaceCorner, args).await,
            Self::Bands(args) => run(Service::Bands, args).await,
            Self::Reviews(args) => run(Service::Reviews, args).await,
            Self::Tasks(args) => run(Service::Tasks, args).await,
            Self::Preprocessing(args) => run(Service::Preprocessing, args).await,
            Self::Ensemble(args) => run(Service::Ensemble, args).await,
            Self::Efficientnetb0(args) => {
                let args = args.or_built_in(BuiltIn::Efficientnetb0);
                run(Service::Efficientnetb0, args).await
            }
            Self::Mobilenetv2(args) => {
                let args = args.or_built_in(BuiltIn::Mobilenetv2);
                run(Service::Mobilenetv2, args).await
            }
        }
    }
}

/// Runs a service's program until a signal, or the end of its lab.
async fn run<P>(service: Service, mut program: P) -> anyhow::Result<ExitCode>
where
    P: Program<Error: Error + Send + Sync + 'static>,
{
    // First of all: a signal during startup must drain as a later one does.
    let shutdown = signals::cancel_on_shutdown_signal()?;
    if std::env::var_os(SUPERVISED).is_some() {
        end_with_the_lab(shutdown.clone())?;
    }
    let settings = Settings::from_env()
        .map_err(|errors| Invalid(errors.0.iter().map(ToString::to_string).collect()))?;
    let name = ServiceName::new(service.name())?;
    let telemetry = Telemetry::start(settings.or_service(name))?;
    program
        .listen()
        .or_loopback(service.port(), service.ops_port());
    let served = serve::run(program, telemetry.clone(), shutdown).await;
    // After the servers, whose last requests still end spans.
    let drained = telemetry.shutdown(TELEMETRY_GRACE).await;
    if drained.dropped > 0 {
        tracing::warn!(
            dropped = drained.dropped,
            exported = drained.exported,
            "spans dropped at shutdown"
        );
    }
    served?;
    Ok(ExitCode::SUCCESS)
}

/// Shuts down when standard input closes. The lab holds the other end for as long as it lives, so
/// this also works when the lab is killed, unlike a signal.
#[expect(
    clippy::disallowed_methods,
    reason = "whatever has not drained by then may never: an orphan must not keep its ports"
)]
fn end_with_the_lab(shutdown: CancellationToken) -> std::io::Result<()> {
    // A thread and not a task: blocking reads of standard input cannot be cancelled, and would hold
    // up the shutdown of the runtime.
    thread::Builder::new()
        .name("lifeline".into())
        .spawn(move || {
            let mut ignored = [0; 64];
            // Whatever arrives is ignored; only the end of the stream counts.
            while matches!(std::io::stdin().read(&mut ignored), Ok(read) if read > 0) {}
            shutdown.cancel();
            thread::sleep(ORPHAN_GRACE);
            std::process::exit(1);
        })?;
    Ok(())
}
