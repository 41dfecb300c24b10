//! What can be set of the role.

use super::{build::Doors, certificates::Lives};
use crate::settings::{Reader, Role, RoleArguments};

/// The role's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What every role has.
    pub role: Role,
    /// The Service before the policies' doors; it is in the operator's namespace.
    pub doors: Doors,
    /// The domain that the cluster's names end with.
    pub cluster_domain: String,
    /// How long certificates hold.
    pub lives: Lives,
}

/// The role's settings, as written.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    role: RoleArguments,
    /// The Service before the doors of the role policies, in the operator's namespace
    #[arg(long, env = "SPOOR_DOORS_SERVICE", default_value = "spoor-policies")]
    doors_service: String,
    /// The domain that the cluster's names end with
    #[arg(long, env = "SPOOR_CLUSTER_DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
}

impl Settings {
    /// With everything else as it is by default.
    #[must_use]
    pub fn new(role: Role, doors_service: String) -> Self {
        Self {
            doors: Doors {
                service: doors_service,
                namespace: role.namespace.clone(),
            },
            role,
            cluster_domain: "cluster.local".to_owned(),
            lives: Lives::default(),
        }
    }
}

impl Arguments {
    /// Checks them.
    pub fn read(&self, reader: &mut Reader) -> Option<Settings> {
        let role = self.role.read(reader, "spoor-stacks");
        let service = reader.name("--doors-service (SPOOR_DOORS_SERVICE)", &self.doors_service);
        let domain = reader.name(
            "--cluster-domain (SPOOR_CLUSTER_DOMAIN)",
            &self.cluster_domain,
        );
        Some(Settings {
            cluster_domain: domain,
            ..Settings::new(role?, service)
        })
    }
}
