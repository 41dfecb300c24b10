//! The `policies` role: resolves sampling policies, serves them on its listeners, and reports in
//! their status what took effect.
//!
//! An object goes through `sources` (watches), `objects` (parsed one by one, so that a broken
//! one affects no other), `validate`, `resolution` (pure, covered by snapshots), `publish`
//! and `status`. Only the leader resolves; a standby keeps its watches in sync and its listeners
//! closed. A leader that cannot reach the API server continues to serve what it has.

mod controller;
mod evidence;
mod identity;
mod identity_mismatches;
mod listeners;
mod metrics;
mod objects;
mod pods;
mod publish;
mod resolution;
mod settings;
mod sources;
mod status;
mod tokens;
mod validate;

use std::{net::SocketAddr, sync::Arc};

use kube::Client;
use spoor_control::Control;
use spoor_runtime::ServerCertificate;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use listeners::PolicyEndpoints;
pub use settings::{PoliciesArguments, PoliciesSettings, PolicyListeners};
pub use tokens::AUDIENCE;

use crate::role::{Replica, RoleError, RunningRole, StandbyReadiness};
use controller::{ControllerState, PoliciesController};
use identity::PodIdentifier;
use metrics::PoliciesMetrics;
use pods::PodsByAddress;
use sources::PolicySources;
use status::Statuses;
use tokens::TokenReviewer;

/// The field manager of statuses, and the reporter of events.
const FIELD_MANAGER: &str = "spoor-policies";

/// The running role. It ends when its token is cancelled.
#[derive(Debug)]
pub struct RunningPolicies {
    role: RunningRole,
    endpoints: watch::Receiver<Option<PolicyEndpoints>>,
}

impl RunningPolicies {
    /// The address of `/metrics`, `/healthz` and `/readyz`.
    #[must_use]
    pub fn ops(&self) -> SocketAddr {
        self.role.ops()
    }

    /// The addresses of the listeners while they are open: once this replica leads and has
    /// published.
    #[must_use]
    pub fn endpoints(&self) -> watch::Receiver<Option<PolicyEndpoints>> {
        self.endpoints.clone()
    }

    /// Waits for the end of the role.
    ///
    /// # Errors
    /// The reason, if the role ended by itself.
    pub async fn finished(self) -> Result<(), RoleError> {
        self.role.finished().await
    }
}

/// Runs the role until `stop`.
///
/// # Errors
/// The reason why it cannot continue.
pub async fn run(
    client: Client,
    settings: PoliciesSettings,
    stop: CancellationToken,
) -> Result<(), RoleError> {
    start(client, settings, stop).await?.finished().await
}

/// Starts the role, which runs until `stop`.
///
/// # Errors
/// The operations port cannot be bound, or TLS cannot be set up.
pub async fn start(
    client: Client,
    settings: PoliciesSettings,
    stop: CancellationToken,
) -> Result<RunningPolicies, RoleError> {
    let certificate = ServerCertificate::empty();
    let acceptor = certificate.acceptor()?;
    let mut replica = Replica::new(&client, &settings.role, FIELD_MANAGER, &stop)?;
    let stop = replica.stop.clone();
    let scope = settings.role.scope.clone();
    let sources = PolicySources::watch(&client, &replica.watches, &scope);
    let tokens = Arc::new(TokenReviewer::new(client));
    tokens.register(&mut replica.registry);
    let control = Control::new(spoor_control::ControlSettings {
        identify: Arc::new(PodIdentifier {
            by_name: sources.pods.clone(),
            by_address: PodsByAddress::new(sources.pods.clone(), replica.watches.changed()),
            tokens,
            mismatches: sources.mismatches.clone(),
        }),
        // Streams have a listener of their own, so they may use all of it.
        max_streams: listeners::MAX_POLICY_STREAMS,
        shutdown: stop.clone(),
        ..settings.control.clone()
    });
    control.register(&mut replica.registry);
    let (path, key) = (settings.certificate.clone(), settings.key.clone());
    let tasks = replica.tasks.clone();
    tasks.spawn(certificate.clone().watch_files(path, key, stop.clone()));
    let controller = PoliciesController {
        sources: sources.clone(),
        watches: replica.watches.clone(),
        control,
        metrics: PoliciesMetrics::register(&mut replica.registry),
        leadership: replica.leadership.clone(),
        claims: replica.claims.clone(),
        events: replica.events.clone(),
        state: ControllerState::default(),
    };
    let (opened, endpoints) = watch::channel(None);
    let is_published = endpoints.clone();
    let readiness = replica.readiness(StandbyReadiness::NotReady, move || {
        if !certificate.is_loaded() {
            Err("waits for the certificate of the stream listener".to_owned())
        } else if is_published.borrow().is_none() {
            Err("has not published any policies yet".to_owned())
        } else {
            Ok(())
        }
    });
    let (applier, events) = (replica.applier.clone(), replica.events.clone());
    let claims = replica.claims.clone();
    let lead = async move {
        // Without this wait the first version could lack the policies of a namespace that is about
        // to be claimed, and clients that reconnect would fall back to their default.
        claims.wait_until_read().await;
        let expiry = controller.resolve();
        let listen = &settings.listen;
        listeners::start(&controller.control, listen, acceptor, &tasks, &stop, opened).await?;
        let statuses = Statuses::new(applier, events, claims, settings.observed_interval);
        tokio::join!(
            controller.run_resolver(expiry),
            controller.run_status_writer(statuses)
        );
        Ok(())
    };
    let namespaces = move || sources.namespaces(&scope);
    let role = replica.spawn(readiness, namespaces, lead)?;
    Ok(RunningPolicies { role, endpoints })
}
