//! The role `policies`: sampling policies are resolved, served at the doors, and told in their
//! status what became of them.

mod settings;

use kube::Client;
use tokio_util::sync::CancellationToken;

pub use settings::{Arguments, Listen, Settings};

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port can't be listened at.
    #[error(transparent)]
    Bind(#[from] crate::serve::BindError),
    /// Another replica leads now.
    #[error("another replica leads: {0}")]
    Deposed(String),
}

/// Runs the role until `stop`.
///
/// # Errors
/// Why it can't.
pub async fn run(_: Client, _: Settings, stop: CancellationToken) -> Result<(), Error> {
    stop.cancelled().await;
    Ok(())
}
