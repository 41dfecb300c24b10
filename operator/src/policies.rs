//! The `policies` role: resolves sampling policies, serves them on its listeners, and reports in
//! their status what took effect.
//!
//! An object goes through `sources` (watches), `objects` (parsed and validated one by one, so that
//! a broken one does not affect the others), `resolution` (pure, covered by snapshots), `publish`
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
mod stack_tails;
mod status;
mod tokens;

use std::sync::Arc;

use kube::Client;
use spoor_control::Control;
use spoor_runtime::ServerCertificate;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use settings::{PoliciesArguments, PoliciesSettings, PolicyEndpoints};
pub use tokens::AUDIENCE;

use crate::role::{Replica, RoleError, RunningRole};
use controller::{ControllerState, PoliciesController};
use identity::PodIdentifier;
use metrics::PoliciesMetrics;
use pods::PodsByAddress;
use sources::PolicySources;
use status::Statuses;
use tokens::TokenReviewer;

/// The field manager of statuses, and the reporter of events.
const FIELD_MANAGER: &str = "spoor-policies";

/// The running role, and its listeners.
#[derive(Debug)]
pub struct RunningPolicies {
    /// The role.
    pub role: RunningRole,
    /// The addresses of the listeners, once this replica is the leader and has published.
    pub endpoints: watch::Receiver<Option<PolicyEndpoints>>,
}

/// Starts the role, which runs until `stop`.
///
/// # Errors
/// The ops port cannot be bound, its address cannot be read, or TLS cannot be set up.
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
    let sources = PolicySources::watch(&replica.watches);
    let tokens = Arc::new(TokenReviewer::new(client));
    tokens.register(replica.metrics());
    let control = Control::new(spoor_control::ControlSettings {
        identify: Arc::new(PodIdentifier {
            by_name: sources.pods.clone(),
            stacks: sources.stacks.clone(),
            by_address: PodsByAddress::new(sources.pods.clone(), replica.watches.changed()),
            tokens,
            mismatches: sources.mismatches.clone(),
        }),
        // Streams have a listener of their own, so they may use all of its connections.
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
        metrics: PoliciesMetrics::register(replica.metrics()),
        leadership: replica.leadership.clone(),
        claims: replica.claims.clone(),
        events: replica.events.clone(),
        state: ControllerState::default(),
    };
    let (opened, endpoints) = watch::channel(None);
    let is_published = endpoints.clone();
    let leadership = replica.leadership.clone();
    let readiness = replica.readiness(move || {
        // A standby is not ready, so that the Services send clients to the leader only.
        if !leadership.borrow().is_leader() {
            Err("this replica is a standby".to_owned())
        } else if !certificate.is_loaded() {
            Err("waiting for the certificate of the stream listener".to_owned())
        } else if is_published.borrow().is_none() {
            Err("no policies published yet".to_owned())
        } else {
            Ok(())
        }
    });
    let (applier, events) = (replica.applier.clone(), replica.events.clone());
    let claims = replica.claims.clone();
    let leader_task = async move {
        // Without this wait the first version could lack the policies of a namespace that is about
        // to be claimed, and clients that reconnect would use their fallback.
        claims.wait_until_read().await;
        // Before the first resolution: objects also change while the listeners open.
        let changed = controller.watches.changed();
        let expiry = controller.resolve();
        let listen = &settings.listen;
        listeners::start(&controller.control, listen, acceptor, &tasks, &stop, opened).await?;
        let statuses = Statuses::new(applier, events, claims, settings.observed_interval);
        tokio::join!(
            controller.run_resolver(changed, expiry),
            controller.run_status_writer(statuses)
        );
        Ok(())
    };
    let namespaces = move || sources.namespaces(&scope);
    let role = replica.spawn(readiness, namespaces, leader_task)?;
    Ok(RunningPolicies { role, endpoints })
}
