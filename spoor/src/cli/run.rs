//! `spoor run`: runs one service, as in a container or as a child of the lab, or a sampler.

use std::{error::Error, io::Read, process::ExitCode, thread, time::Duration};

use clap::Subcommand;
use spoor_policy::ServiceName;
use spoor_runtime::InvalidSettings;
use spoor_sampler::{Sampler, SamplerArgs};
use spoor_telemetry::{
    Telemetry, TelemetrySettings,
    serve::{Program, ServiceArgs},
};
use spoor_vision::model::BuiltIn;
use tokio_util::sync::CancellationToken;

use super::failure::Invalid;
use spoor_lab::{SUPERVISED, Service};

/// The time to export queued spans when a service ends.
const TELEMETRY_GRACE: Duration = Duration::from_secs(5);
/// The time a service has to finish its requests after its lab has died. It is short because the
/// receiver of its spans is gone, and the next lab needs its ports.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// Run one service or a sampler, configured with OTEL_* and SPOOR_* variables or options
#[derive(Subcommand, Debug)]
#[command(after_help = "Examples:
  spoor run service-b --wait 0ms
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 spoor run service-a
  SPOOR_CONTROL_ENDPOINT=http://127.0.0.1:5779 spoor run service-a
                                         follow the policies and faults of a lab
  SPOOR_CONTROL_ENDPOINT=http://127.0.0.1:5779 spoor run sampler --journal sampler/
                                         keep or drop traces by a lab's tail rules, and send
                                         those that are kept to its port 4317")]
pub enum RunService {
    /// An edge that calls service-b; serves HTTP
    ServiceA(ServiceArgs<spoor_ab::a::ServiceAArgs>),
    /// Simulates a database query, then computes; serves gRPC
    ServiceB(ServiceArgs<spoor_ab::b::ServiceBArgs>),
    /// The wishlist's web page and JSON API
    Gateway(ServiceArgs<spoor_wishlist::gateway::GatewayArgs>),
    /// Stores the wishes; serves gRPC
    Wishlist(Box<ServiceArgs<spoor_wishlist::wishlist::WishlistArgs>>),
    /// Searches the marketplaces for offers; serves gRPC
    Offers(ServiceArgs<spoor_wishlist::offers::OffersArgs>),
    /// A marketplace that is slow and reliable; serves gRPC
    MarketplaceAttic(ServiceArgs<spoor_wishlist::marketplace::MarketplaceArgs>),
    /// A marketplace that is fast and often fails; serves gRPC
    MarketplaceBazaar(ServiceArgs<spoor_wishlist::marketplace::MarketplaceArgs>),
    /// A marketplace that accepts few requests per second; serves gRPC
    MarketplaceCorner(ServiceArgs<spoor_wishlist::marketplace::MarketplaceArgs>),
    /// Bands with their reviews; serves HTTP
    Bands(ServiceArgs<spoor_bands::bands::BandsArgs>),
    /// Reviews of bands; serves HTTP
    Reviews(ServiceArgs<spoor_bands::reviews::ReviewsArgs>),
    /// A to-do list; serves HTTP
    Tasks(ServiceArgs<spoor_tasks::tasks::TasksArgs>),
    /// Accepts images to classify; serves HTTP
    Preprocessing(ServiceArgs<spoor_vision::preprocessing::PreprocessingArgs>),
    /// Queries both models and weights their votes; serves gRPC
    Ensemble(ServiceArgs<spoor_vision::ensemble::EnsembleArgs>),
    /// A model of MBConv blocks; serves gRPC
    Efficientnetb0(ServiceArgs<spoor_vision::model::ModelArgs>),
    /// A model of inverted residuals; serves gRPC
    Mobilenetv2(ServiceArgs<spoor_vision::model::ModelArgs>),
    /// Receives spans, keeps or drops whole traces by live tail rules, and forwards those kept
    // Not a service of the mesh: the lab neither starts it nor expects an instance of it.
    Sampler(Box<SamplerArgs>),
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
            Self::Efficientnetb0(mut args) => {
                args.program = args.program.or_built_in(BuiltIn::Efficientnetb0);
                run(Service::Efficientnetb0, args).await
            }
            Self::Mobilenetv2(mut args) => {
                args.program = args.program.or_built_in(BuiltIn::Mobilenetv2);
                run(Service::Mobilenetv2, args).await
            }
            Self::Sampler(args) => run_sampler(*args).await,
        }
    }
}

/// Runs a service's program until a signal, or the end of its lab.
async fn run<P>(service: Service, mut args: ServiceArgs<P>) -> anyhow::Result<ExitCode>
where
    P: Program<Error: Error + Send + Sync + 'static> + clap::Args,
{
    // Before anything else, so that a signal during startup drains like a later one.
    let shutdown = spoor_runtime::cancel_on_shutdown_signal()?;
    if std::env::var_os(SUPERVISED).is_some() {
        shut_down_with_lab(shutdown.clone())?;
    }
    let settings = TelemetrySettings::from_env().map_err(invalid)?;
    let name = ServiceName::new(service.name())?;
    let telemetry = Telemetry::start(settings.or_service(name))?;
    args.listen.or_loopback(service.port(), service.ops_port());
    let served = args.run(telemetry.clone(), shutdown).await;
    // After the servers, whose last requests still end spans.
    let drained = telemetry.shutdown(TELEMETRY_GRACE).await;
    let (dropped, exported) = (drained.dropped, drained.exported);
    if dropped > 0 {
        // Both numbers count from the start of the process.
        tracing::warn!(dropped, exported, "spans were dropped");
    }
    served?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a sampler until a signal.
async fn run_sampler(args: SamplerArgs) -> anyhow::Result<ExitCode> {
    let shutdown = spoor_runtime::cancel_on_shutdown_signal()?;
    let settings = args.settings(|name| std::env::var(name).ok());
    let settings = settings.map_err(invalid)?;
    // For the log only.
    let telemetry = Telemetry::start(settings.log.clone())?;
    let sampler = Sampler::start(settings)?;
    let (address, ops) = (sampler.address()?, sampler.ops_address()?);
    tracing::info!(%address, %ops, "sampler ready");
    let ended = sampler.run(shutdown).await;
    telemetry.shutdown(TELEMETRY_GRACE).await;
    ended?;
    Ok(ExitCode::SUCCESS)
}

fn invalid(InvalidSettings(errors): InvalidSettings) -> Invalid {
    Invalid(errors.iter().map(ToString::to_string).collect())
}

/// Shuts down when standard input closes. The lab keeps the other end open while it runs, so this
/// also works when the lab is killed, unlike a signal.
#[expect(
    clippy::disallowed_methods,
    reason = "an orphan that has not drained by then must not keep its ports"
)]
fn shut_down_with_lab(shutdown: CancellationToken) -> std::io::Result<()> {
    // A thread and not a task: blocking reads of standard input cannot be cancelled, and would
    // delay the shutdown of the runtime.
    thread::Builder::new()
        .name("lab-watch".into())
        .spawn(move || {
            let mut ignored = [0; 64];
            // Only the end of the stream counts; any input is ignored.
            while matches!(std::io::stdin().read(&mut ignored), Ok(read) if read > 0) {}
            shutdown.cancel();
            thread::sleep(ORPHAN_GRACE);
            std::process::exit(1);
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    #[test]
    fn every_service_has_a_subcommand() {
        let command = RunService::augment_subcommands(Command::new("run"));
        // The sampler is not a service of the mesh, and so not of the lab.
        let subcommands = || {
            let all = command.get_subcommands();
            all.filter(|subcommand| subcommand.get_name() != "sampler")
        };
        let names: Vec<&str> = subcommands().map(Command::get_name).collect();
        assert_eq!(names, Service::ALL.map(Service::name));
        for (service, subcommand) in Service::ALL.into_iter().zip(subcommands()) {
            let about = subcommand.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            assert!(
                about.starts_with(service.description()),
                "{service}: {about}"
            );
        }
    }
}
