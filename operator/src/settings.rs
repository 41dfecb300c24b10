//! The settings that both roles have, from flags or environment variables. All errors are reported
//! at once.

use std::{collections::BTreeSet, net::SocketAddr};

use spoor_runtime::{LogFormat, SettingsReader};
use tracing_subscriber::EnvFilter;

use crate::{
    kubernetes::watch::WatchScope,
    lease::{CLAIM_TIMING, Timing},
};

/// The settings that both roles have.
#[derive(Clone, Debug)]
pub struct RoleSettings {
    /// The namespace of the operator.
    pub namespace: String,
    /// The unique identity of this replica: its pod's name and a random suffix.
    pub identity: String,
    /// The name of this replica's pod.
    pub pod: String,
    /// The name of this installation of the operator. Both roles have the same, and no other
    /// installation in this namespace has it.
    pub installation: String,
    /// The namespaces that the operator serves.
    pub scope: WatchScope,
    /// The address of `/metrics`, `/healthz` and `/readyz`.
    pub ops: SocketAddr,
    /// The Lease by which the role's replicas elect their leader.
    pub lease: String,
    /// The timing of that lease.
    pub timing: Timing,
    /// The timing of namespaces' claims.
    pub claim_timing: Timing,
}

/// Checks a Kubernetes name: a DNS label or subdomain.
pub(crate) fn checked_name(
    reader: &mut SettingsReader,
    setting: &'static str,
    text: &str,
) -> String {
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let is_name = (1..=253).contains(&text.len()) && text.bytes().all(is_allowed);
    if !is_name {
        let problem =
            format!("must be 1 to 253 lower-case letters, digits, '-' and '.', not {text:?}");
        reader.add_error(setting, problem);
    }
    text.to_owned()
}

/// The settings of the log.
#[derive(Debug)]
pub struct LogSettings {
    /// The lines to log.
    pub filter: EnvFilter,
    /// Their format.
    pub format: LogFormat,
}

/// The settings of the log as flags and environment variables.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArguments {
    /// Log filter: a level, or `target=level` pairs separated by commas
    #[arg(long, global = true, env = "SPOOR_LOG", default_value = spoor_runtime::DEFAULT_LOG_FILTER)]
    log: String,
    /// Log format: text or json
    #[arg(long, global = true, env = "SPOOR_LOG_FORMAT", default_value = "text")]
    log_format: String,
}

impl LogArguments {
    /// Checks the settings.
    pub(crate) fn read(&self, reader: &mut SettingsReader) -> Option<LogSettings> {
        let filter = reader.parse("--log (SPOOR_LOG)", &self.log, "info,kube=warn");
        let format = self.log_format.parse();
        let format = reader.check("--log-format (SPOOR_LOG_FORMAT)", format);
        Some(LogSettings {
            filter: filter?,
            format: format?,
        })
    }
}

/// The settings that both roles have, as flags and environment variables.
#[derive(Clone, Debug, clap::Args)]
pub struct RoleArguments {
    /// Namespace of the operator
    #[arg(long, env = "SPOOR_NAMESPACE", default_value = "default")]
    namespace: String,
    /// Name of this pod
    #[arg(long, env = "SPOOR_POD_NAME", default_value = "spoor-operator")]
    pod: String,
    /// Lease by which the role's replicas elect their leader [default: spoor-ROLE]
    #[arg(long, env = "SPOOR_LEASE")]
    lease: Option<String>,
    /// Name of this installation, the same for both roles. Another installation that tries to serve
    /// one of its namespaces is refused
    #[arg(long, env = "SPOOR_INSTALLATION", default_value = "spoor")]
    installation: String,
    /// Namespaces to serve, separated by commas. If empty, all
    #[arg(long, env = "SPOOR_NAMESPACES", default_value = "")]
    namespaces: String,
    /// Address of /metrics, /healthz and /readyz
    #[arg(long, env = "SPOOR_OPS_LISTEN", default_value = "0.0.0.0:9464")]
    ops_listen: String,
}

impl RoleArguments {
    /// Checks the settings. `lease` is the default name of the Lease.
    pub fn read(&self, reader: &mut SettingsReader, lease: &str) -> Option<RoleSettings> {
        let mut name = |setting, text: &str| checked_name(reader, setting, text);
        let namespace = name("--namespace (SPOOR_NAMESPACE)", &self.namespace);
        let pod = name("--pod (SPOOR_POD_NAME)", &self.pod);
        let lease = self.lease.as_deref().unwrap_or(lease);
        let lease = name("--lease (SPOOR_LEASE)", lease);
        let installation = name("--installation (SPOOR_INSTALLATION)", &self.installation);
        let namespaces = self.namespaces.split(',').map(str::trim);
        let namespaces: BTreeSet<String> = namespaces
            .filter(|namespace| !namespace.is_empty())
            .map(|namespace| name("--namespaces (SPOOR_NAMESPACES)", namespace))
            .collect();
        let setting = "--ops-listen (SPOOR_OPS_LISTEN)";
        let ops = reader.parse(setting, &self.ops_listen, "0.0.0.0:9464");
        Some(RoleSettings {
            namespace,
            // A pod that restarts keeps its name, and must not take the lease of its predecessor
            // for its own.
            identity: format!("{pod}_{:016x}", rand::random::<u64>()),
            pod,
            installation,
            scope: match namespaces.is_empty() {
                true => WatchScope::All,
                false => WatchScope::Only(namespaces),
            },
            ops: ops?,
            lease,
            timing: Timing::default(),
            claim_timing: CLAIM_TIMING,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_runtime::InvalidSettings;

    use super::*;

    fn arguments(namespaces: &str) -> RoleArguments {
        RoleArguments {
            namespace: "spoor".to_owned(),
            pod: "fine".to_owned(),
            lease: None,
            installation: "spoor".to_owned(),
            namespaces: namespaces.to_owned(),
            ops_listen: "0.0.0.0:0".to_owned(),
        }
    }

    fn read(arguments: &RoleArguments) -> Result<RoleSettings, InvalidSettings> {
        let mut reader = SettingsReader::default();
        let role = arguments.read(&mut reader, "spoor-policies");
        reader.finish(role)
    }

    #[test]
    fn reports_all_errors_at_once() {
        let arguments = RoleArguments {
            namespace: "Not A Name".to_owned(),
            ops_listen: "nowhere".to_owned(),
            ..arguments("a, B")
        };
        let errors = read(&arguments).unwrap_err();
        let settings: Vec<_> = errors.0.iter().map(|error| error.setting).collect();
        assert_eq!(
            settings,
            [
                "--namespace (SPOOR_NAMESPACE)",
                "--namespaces (SPOOR_NAMESPACES)",
                "--ops-listen (SPOOR_OPS_LISTEN)"
            ]
        );
    }

    #[test]
    fn reads_namespaces_or_all() {
        let only = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned());
            WatchScope::Only(names.collect())
        };
        for (text, expected) in [
            ("", WatchScope::All),
            (" , ", WatchScope::All),
            ("a", only(&["a"])),
            ("b, a,b", only(&["a", "b"])),
        ] {
            assert_eq!(read(&arguments(text)).unwrap().scope, expected, "{text:?}");
        }
    }
}
