//! The certificates of the `policies` role: a certificate authority of the operator's own, and the
//! server's certificate, each in a Secret of the operator's namespace.
//!
//! Nothing else has to be installed for them. Private keys are never logged, and only this role can
//! read them through the API.

mod issue;
mod secret;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use spoor_runtime::with_causes;
use tokio::sync::watch;

pub use secret::CertificateLifetimes;
use secret::{CertificateState, IssueError};

use super::objects::FIELD_MANAGER;
use crate::{
    kubernetes::{ApiServerError, CALL_DEADLINE, with_deadline},
    lease::Leadership,
};

/// The name of the Secret with the authority.
pub const AUTHORITY_SECRET: &str = "spoor-ca";
/// The name of the Secret with the server's certificate.
pub const SERVER_SECRET: &str = "spoor-policies-tls";

/// The interval at which the Secrets are read, so that one that was deleted or emptied is
/// restored. These are two small reads; a watch would need permission to list Secrets.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// The reason why a certificate cannot be kept valid.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read Secret \"{0}\"")]
    Read(&'static str, #[source] ApiServerError),
    #[error("cannot write Secret \"{0}\"")]
    Write(&'static str, #[source] ApiServerError),
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// Keeps both certificates valid.
pub struct CertificateManager {
    secrets: Api<Secret>,
    names: Vec<String>,
    lifetimes: CertificateLifetimes,
    trust: watch::Sender<Trust>,
}

/// The state of the certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The authority's certificates in PEM, once they exist.
    pub authority: Option<String>,
    /// The reason why a certificate is missing or cannot be kept valid, with all causes.
    pub problem: Option<String>,
}

impl CertificateManager {
    /// Creates a manager of the Secrets in `namespace`, for a server with these DNS names.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        names: Vec<String>,
        lifetimes: CertificateLifetimes,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            names,
            lifetimes,
            trust: watch::Sender::default(),
        }
    }

    /// The state of the certificates, as it changes.
    #[must_use]
    pub fn trust(&self) -> watch::Receiver<Trust> {
        self.trust.subscribe()
    }

    /// Creates and renews certificates while no other replica can be the leader.
    pub async fn run(self, mut leadership: watch::Receiver<Leadership>) {
        loop {
            if leadership.wait_for(Leadership::is_certain).await.is_err() {
                return;
            }
            let pause = match self.update(Timestamp::now()).await {
                Ok(due) => {
                    self.report(None);
                    due.clamp(Duration::from_secs(1), CHECK_INTERVAL)
                }
                Err(error) => {
                    self.report(Some(with_causes(&error)));
                    RETRY_DELAY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Reports a problem, with one line in the log for as long as it stays the same.
    fn report(&self, problem: Option<String>) {
        self.trust.send_if_modified(|trust| {
            if trust.problem == problem {
                return false;
            }
            match &problem {
                Some(problem) => {
                    tracing::error!(error = problem, "cannot keep the certificate valid");
                }
                None => tracing::info!("the certificate is valid again"),
            }
            trust.problem = problem;
            true
        });
    }

    /// Brings both certificates up to date. Returns the time until the next renewal.
    async fn update(&self, now: Timestamp) -> Result<Duration, Error> {
        let stored = self.read(AUTHORITY_SECRET).await?;
        let life = self.lifetimes.authority;
        let authority = secret::authority(AUTHORITY_SECRET, stored.as_ref(), now, life)?;
        self.write(AUTHORITY_SECRET, &authority).await?;
        // The authority comes first, so that clients trust a new one before a server presents a
        // certificate that it signed.
        self.trust.send_if_modified(|trust| {
            let is_new = trust.authority.as_ref() != Some(&authority.certificates);
            trust.authority = Some(authority.certificates.clone());
            is_new
        });
        let stored = self.read(SERVER_SECRET).await?;
        let (names, life) = (&self.names, self.lifetimes.server);
        let server = secret::server(SERVER_SECRET, stored.as_ref(), names, &authority, now, life)?;
        self.write(SERVER_SECRET, &server).await?;
        let due = authority.renew_at.min(server.renew_at).duration_since(now);
        Ok(Duration::try_from(due).unwrap_or_default())
    }

    async fn read(&self, secret: &'static str) -> Result<Option<Secret>, Error> {
        let read = with_deadline(CALL_DEADLINE, self.secrets.get_opt(secret)).await;
        read.map_err(|error| Error::Read(secret, error))
    }

    async fn write(&self, name: &'static str, state: &CertificateState) -> Result<(), Error> {
        let Some(secret) = &state.write else {
            return Ok(());
        };
        // A patch and not a replacement: the chart creates the empty Secret and owns its labels.
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(secret);
        let write = self.secrets.patch(name, &parameters, &patch);
        let written = with_deadline(CALL_DEADLINE, write).await;
        written.map_err(|error| Error::Write(name, error))?;
        tracing::info!(secret = name, renew_at = %state.renew_at, "issued a certificate");
        Ok(())
    }
}
