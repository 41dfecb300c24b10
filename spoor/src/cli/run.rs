//! `spoor run`: one service, as a container or the lab starts it.

use std::{error::Error, io::Read, process::ExitCode, thread, time::Duration};

use clap::Subcommand;
use spoor_policy::ServiceName;
use spoor_telemetry::{Settings, Telemetry};
use tokio_util::sync::CancellationToken;

use super::{failure::Invalid, signals};
use crate::{lab::SUPERVISED, service::Service};

/// For the spans that wait to be exported when a service ends.
const TELEMETRY_GRACE: Duration = Duration::from_secs(5);
/// When the lab is gone, nobody would end a service that can't end by itself.
const ORPHANS_GRACE: Duration = Duration::from_secs(5);

/// Run one service, set by OTEL_* and SPOOR_* variables or options
#[derive(Subcommand, Debug)]
#[command(after_help = "Examples:
  spoor run service-b --wait 0ms
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 spoor run service-a
  SPOOR_CONTROL_ENDPOINT=http://127.0.0.1:5779 spoor run service-a
                                         with the policies and faults of a lab")]
pub enum RunService {
    /// The edge that calls service-b, over HTTP
    ServiceA(spoor_ab::a::Args),
    /// Waits as a database would and computes, over gRPC
    ServiceB(spoor_ab::b::Args),
    /// The wishlist's web page and JSON API
    Gateway(spoor_wishlist::gateway::Args),
    /// Keeps the wishes, over gRPC
    Wishlist(Box<spoor_wishlist::wishlist::Args>),
}

impl RunService {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let shutdown = signals::cancelled_when_told()?;
        if std::env::var_os(SUPERVISED).is_some() {
            end_with_the_lab(shutdown.clone())?;
        }
        let telemetry = self.telemetry()?;
        let served = self.serve(telemetry.clone(), shutdown).await;
        let drained = telemetry.shutdown(TELEMETRY_GRACE).await;
        if drained.dropped > 0 {
            tracing::warn!(
                "{} spans were dropped, {} exported",
                drained.dropped,
                drained.exported
            );
        }
        served.map(|()| ExitCode::SUCCESS)
    }

    fn telemetry(&self) -> anyhow::Result<Telemetry> {
        let settings = Settings::from_env()
            .map_err(|errors| Invalid(errors.iter().map(ToString::to_string).collect()))?;
        let name = ServiceName::new(self.service().name())?;
        Ok(Telemetry::start(settings.or_service(name))?)
    }

    async fn serve(self, telemetry: Telemetry, stop: CancellationToken) -> anyhow::Result<()> {
        match self {
            Self::ServiceA(args) => failed(spoor_ab::a::run(args, telemetry, stop).await),
            Self::ServiceB(args) => failed(spoor_ab::b::run(args, telemetry, stop).await),
            Self::Gateway(args) => {
                failed(spoor_wishlist::gateway::run(args, telemetry, stop).await)
            }
            Self::Wishlist(args) => {
                failed(spoor_wishlist::wishlist::run(*args, telemetry, stop).await)
            }
        }
    }

    fn service(&self) -> Service {
        match self {
            Self::ServiceA(_) => Service::ServiceA,
            Self::ServiceB(_) => Service::ServiceB,
            Self::Gateway(_) => Service::Gateway,
            Self::Wishlist(_) => Service::Wishlist,
        }
    }
}

fn failed<E: Error + Send + Sync + 'static>(outcome: Result<(), E>) -> anyhow::Result<()> {
    Ok(outcome?)
}

/// The lab holds the other end of standard input for as long as it lives.
fn end_with_the_lab(shutdown: CancellationToken) -> std::io::Result<()> {
    thread::Builder::new()
        .name("lifeline".into())
        .spawn(move || {
            let mut nothing = [0; 64];
            while matches!(std::io::stdin().read(&mut nothing), Ok(read) if read > 0) {}
            shutdown.cancel();
            thread::sleep(ORPHANS_GRACE);
            std::process::exit(1);
        })?;
    Ok(())
}
