//! The client of the API server.

use std::time::Duration;

use kube::{Client, Config};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a pod's ServiceAccount.
    #[error("found no cluster: neither KUBECONFIG nor a pod's ServiceAccount")]
    FindCluster(#[source] kube::config::InferConfigError),
    /// What was found can't be used.
    #[error("can't make a client for {url}")]
    MakeClient {
        /// The API server.
        url: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Nothing is read for longer: watches end before that by themselves.
const READ_TIMEOUT: Duration = Duration::from_secs(75);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for the cluster that this program is in, or that `KUBECONFIG` names.
///
/// # Errors
/// [`ConnectError`]; a server that does not answer is none yet.
pub async fn connect() -> Result<Client, ConnectError> {
    // A second installation is refused, which is fine: then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::infer().await.map_err(ConnectError::FindCluster)?;
    connect_with(config)
}

/// The same for a cluster that is known; sets the times after which a connection is given up.
///
/// # Errors
/// [`ConnectError::MakeClient`].
pub fn connect_with(mut config: Config) -> Result<Client, ConnectError> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    let url = config.cluster_url.to_string();
    Client::try_from(config).map_err(|source| ConnectError::MakeClient {
        url,
        source: Box::new(source),
    })
}
