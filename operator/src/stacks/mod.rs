//! The role `stacks`: a `TracingStack` becomes Jaeger and the Collector.

use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::settings::{Reader, Role, RoleArguments};

/// The role's settings, as written.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    role: RoleArguments,
}

/// The role's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What every role has.
    pub role: Role,
}

/// Why the role ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does nothing yet.
    #[error("the role stacks is not there yet")]
    NotThere,
}

impl Arguments {
    /// Checks them.
    pub fn read(&self, reader: &mut Reader) -> Option<Settings> {
        let role = self.role.read(reader, "spoor-stacks")?;
        Some(Settings { role })
    }
}

/// Runs the role until `stop`.
///
/// # Errors
/// Why it can't.
pub async fn run(_: Client, _: Settings, _: CancellationToken) -> Result<(), Error> {
    Err(Error::NotThere)
}
