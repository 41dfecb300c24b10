//! The `stacks` role: turns each `TracingStack` into Jaeger and the Collector.
//!
//! An object goes through `sources` (watches), `parse` (each object by itself, so that a broken
//! one does not affect the others), `validate`, `build` (pure, covered by snapshots), `apply` and
//! `status`. Only the leader reconciles. It also keeps the certificate of the `policies` role
//! valid.

mod apply;
pub mod build;
mod certificates;
mod children;
pub mod collector;
mod collector_probe;
mod controller;
mod gather_losses;
mod loss_monitor;
mod metrics;
mod metrics_client;
pub mod objects;
mod parse;
mod pod_failure;
mod reconcile;
mod rings;
mod route;
mod route_state;
pub mod sampler;
mod sampler_probe;
mod settings;
mod sources;
mod status;
mod validate;

use std::sync::Arc;

use kube::Client;
use tokio_util::sync::CancellationToken;

use self::{
    certificates::CertificateManager, collector_probe::CollectorProbe,
    controller::StacksController, gather_losses::GatherLosses, metrics::StacksMetrics,
    metrics_client::MetricsClient, reconcile::Reconciler, sources::StackSources,
};
pub use self::{
    certificates::{AUTHORITY_SECRET, CertificateLifetimes, SERVER_SECRET},
    settings::{StacksArguments, StacksSettings},
};
use crate::role::{Replica, RoleError, RunningRole};
use objects::FIELD_MANAGER;

/// Starts the role, which runs until `stop`.
///
/// # Errors
/// The ops port cannot be bound, or its address cannot be read.
pub async fn start(
    client: Client,
    settings: StacksSettings,
    stop: CancellationToken,
) -> Result<RunningRole, RoleError> {
    let mut replica = Replica::new(&client, &settings.role, FIELD_MANAGER, &stop)?;
    let watches = replica.watches.clone();
    let scope = settings.role.scope.clone();
    let names = settings.policies_service.names(&settings.cluster_domain);
    let (namespace, lifetimes) = (&settings.role.namespace, settings.lifetimes);
    let certificates = CertificateManager::new(client.clone(), namespace, names, lifetimes);
    let losses = GatherLosses::default();
    losses.register(replica.metrics());
    let reconciler = Arc::new(Reconciler {
        sources: StackSources::watch(&watches),
        applier: replica.applier.clone(),
        events: replica.events.clone(),
        collector_probe: CollectorProbe::default(),
        metrics_client: MetricsClient::default(),
        losses,
        claims: replica.claims.clone(),
    });
    let controller = StacksController {
        reconciler: reconciler.clone(),
        changed: watches.changed(),
        trust: certificates.trust(),
        leadership: replica.leadership.clone(),
        settings,
        metrics: StacksMetrics::register(replica.metrics()),
    };
    let trust = certificates.trust();
    // Without a valid certificate no service can stream policies. Administrators notice an unready
    // pod first, so this one reports the problem by not being Ready.
    let readiness = replica.readiness(move || match &trust.borrow().problem {
        Some(problem) => Err(format!(
            "cannot keep the certificate of the policy endpoints valid: {problem}"
        )),
        None => Ok(()),
    });
    let (monitored, leadership) = (reconciler.clone(), replica.leadership.clone());
    let leader_task = async move {
        tokio::join!(
            monitored.monitor_losses(&watches),
            certificates.run(leadership),
            controller.run()
        );
        Ok(())
    };
    let namespaces = move || reconciler.sources.namespaces(&scope);
    replica.spawn(readiness, namespaces, leader_task)
}
