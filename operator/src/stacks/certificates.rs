//! The trust between the policies' server and their clients: a certificate authority of the
//! operator's own, and the server' certificate, each in a Secret of the operator's namespace.
//!
//! Nothing outside of the operator has to be installed for it. Private keys are never logged, and
//! only this role can read them through the API.

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
use tokio::sync::watch;

pub use secret::CertificateLifetimes;
use secret::{CertificateState, IssueError};

use super::objects::FIELD_MANAGER;
use crate::{
    kubernetes::{CALL_DEADLINE, CallError, chain, with_deadline},
    lease::Leadership,
};

/// The Secret of the authority.
pub const AUTHORITY_SECRET: &str = "spoor-ca";
/// The Secret of the server' certificate.
pub const SERVER_SECRET: &str = "spoor-policies-tls";

/// How often the Secrets are read, so that one that somebody deleted or emptied is made anew. Two
/// small reads: a watch would need the right to list Secrets.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(5);

/// Why a certificate is not there.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("can't read Secret \"{secret}\"")]
    Read {
        secret: &'static str,
        #[source]
        source: CallError,
    },
    #[error("can't write Secret \"{secret}\"")]
    Write {
        secret: &'static str,
        #[source]
        source: CallError,
    },
    #[error(transparent)]
    Decide(#[from] IssueError),
}

/// Keeps both certificates valid.
pub struct CertificateManager {
    secrets: Api<Secret>,
    names: Vec<String>,
    lifetimes: CertificateLifetimes,
    trust: watch::Sender<Trust>,
}

/// What is known of the certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The authority's certificates in PEM, once they are there.
    pub authority: Option<String>,
    /// Why a certificate is missing or can't be stored valid, with all causes.
    pub problem: Option<String>,
}

impl CertificateManager {
    /// For the operator's namespace, and server that are known by these names.
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

    /// What is known of the certificates.
    #[must_use]
    pub fn trust(&self) -> watch::Receiver<Trust> {
        self.trust.subscribe()
    }

    /// Makes what is missing and replaces what is due, for ever; only while nobody else can be the
    /// leader.
    pub async fn run(self, mut leadership: watch::Receiver<Leadership>) {
        loop {
            if leadership.wait_for(Leadership::is_certain).await.is_err() {
                return;
            }
            let pause = match self.look(Timestamp::now()).await {
                Ok(due) => {
                    self.report(None);
                    due.clamp(Duration::from_secs(1), LOOK_INTERVAL)
                }
                Err(error) => {
                    self.report(Some(chain(&error)));
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Passes a problem on, with one line in the log for as long as it is the same.
    fn report(&self, problem: Option<String>) {
        self.trust.send_if_modified(|trust| {
            if trust.problem == problem {
                return false;
            }
            match &problem {
                Some(problem) => {
                    tracing::error!(
                        error = problem,
                        "the server' certificate can't be stored valid"
                    );
                }
                None => tracing::info!("the server' certificate is valid again"),
            }
            trust.problem = problem;
            true
        });
    }

    /// Brings both to what they should be, and says how long that holds.
    async fn look(&self, now: Timestamp) -> Result<Duration, Error> {
        let found = self.read(AUTHORITY_SECRET).await?;
        let authority = secret::authority(
            AUTHORITY_SECRET,
            found.as_ref(),
            now,
            self.lifetimes.authority,
        )?;
        self.write(AUTHORITY_SECRET, &authority).await?;
        // Clients should know a new authority before they meet what it signed.
        self.trust.send_if_modified(|trust| {
            let is_new = trust.authority.as_ref() != Some(&authority.certificates);
            trust.authority = Some(authority.certificates.clone());
            is_new
        });
        let found = self.read(SERVER_SECRET).await?;
        let (names, life) = (&self.names, self.lifetimes.server);
        let server = secret::server(SERVER_SECRET, found.as_ref(), names, &authority, now, life)?;
        self.write(SERVER_SECRET, &server).await?;
        let due = authority.renew_at.min(server.renew_at).duration_since(now);
        Ok(Duration::try_from(due).unwrap_or_default())
    }

    async fn read(&self, secret: &'static str) -> Result<Option<Secret>, Error> {
        with_deadline(CALL_DEADLINE, self.secrets.get_opt(secret))
            .await
            .map_err(|source| Error::Read { secret, source })
    }

    async fn write(&self, name: &'static str, decided: &CertificateState) -> Result<(), Error> {
        let Some(secret) = &decided.write else {
            return Ok(());
        };
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        with_deadline(
            CALL_DEADLINE,
            self.secrets.patch(name, &parameters, &Patch::Apply(secret)),
        )
        .await
        .map_err(|source| Error::Write {
            secret: name,
            source,
        })?;
        tracing::info!(secret = name, renew_at = %decided.renew_at, "made a certificate");
        Ok(())
    }
}
