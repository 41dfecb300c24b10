//! The client of the API server.

use std::time::Duration;

use kube::{Client, Config};

/// The reason why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is neither a kubeconfig nor a pod's ServiceAccount.
    #[error("found no cluster; set KUBECONFIG, or run in a pod with a ServiceAccount")]
    FindCluster(#[source] kube::config::InferConfigError),
    /// The configuration that was found is not usable.
    #[error("cannot build a client for {0}")]
    BuildClient(String, #[source] Box<kube::Error>),
}

/// The longest silence on a connection. The API server ends a watch before that.
const READ_TIMEOUT: Duration = Duration::from_secs(75);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Creates a client for the cluster that this program runs in, or that `KUBECONFIG` names.
///
/// # Errors
/// [`ConnectError`]. An unreachable server is not an error, since nothing is sent yet.
pub async fn connect() -> Result<Client, ConnectError> {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::infer().await.map_err(ConnectError::FindCluster)?;
    connect_with(config)
}

/// Creates a client with this configuration, and sets its timeouts.
///
/// # Errors
/// [`ConnectError::BuildClient`].
pub fn connect_with(mut config: Config) -> Result<Client, ConnectError> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // Otherwise the time spent writing a request would count as silence.
    config.reset_reader_on_write = true;
    let url = config.cluster_url.to_string();
    Client::try_from(config).map_err(|error| ConnectError::BuildClient(url, Box::new(error)))
}
