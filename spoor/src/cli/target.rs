//! The lab or the cluster that a subcommand addresses.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;
use spoor_api::{
    SamplingPolicy,
    changes::{Change, Comparison},
};
use spoor_cluster::{ClusterClient, ClusterOptions};
use spoor_console::BackendError;
use spoor_lab::wire::{ConvergenceResult, Documents, PublishedVersion};
use spoor_policy::{Namespace, PolicyKey, PolicyName};

use super::{
    LabArgs, LabClient,
    client::ClientError,
    failure::{Invalid, InvalidOption},
    out::errln,
    plugin,
};

/// The longest wait for convergence, as in the lab.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// The cluster that a subcommand connects to, if it is not a lab.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct ClusterArgs {
    /// Address the cluster of this context in the kubeconfig, and not a lab
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    context: Option<String>,
    /// The kubeconfig of the cluster [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// The lab or the cluster that a subcommand addresses.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct TargetArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    lab: LabArgs,
}

/// A client of a lab or of a cluster.
pub(super) enum Target {
    /// A lab.
    Lab(LabClient),
    /// A cluster.
    Cluster(ClusterClient),
}

/// Policies that were applied.
#[derive(Serialize)]
pub(super) struct Applied {
    pub(super) policies: Vec<Change>,
    /// The lab's version with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<PublishedVersion>,
    /// The policies' generations in a cluster.
    #[serde(skip)]
    generations: BTreeMap<PolicyKey, i64>,
}

impl ClusterArgs {
    /// The connection's options, for this namespace or the context's.
    pub(super) fn options(&self, namespace: Option<&Namespace>) -> ClusterOptions {
        ClusterOptions {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            namespace: namespace.cloned(),
            all_namespaces: false,
            traces: None,
        }
    }
}

impl TargetArgs {
    /// Creates a client of the lab, or connects to the cluster. For the latter, `namespace` is the
    /// requested one.
    pub(super) async fn open(&self, namespace: Option<&Namespace>) -> anyhow::Result<Target> {
        if !self.is_cluster() {
            return Ok(Target::Lab(self.lab.client()));
        }
        let client = ClusterClient::connect(self.cluster.options(namespace)).await?;
        Ok(Target::Cluster(client))
    }

    /// Opens the target for a subcommand whose policies name their namespaces.
    pub(super) async fn open_for_documents(
        &self,
        namespace: Option<&Namespace>,
    ) -> anyhow::Result<Target> {
        if namespace.is_some() && !self.is_cluster() {
            let message = "--namespace: needs a cluster (--context); for the lab, write \
                           `metadata.namespace` in the policies";
            return Err(InvalidOption(message.to_owned()).into());
        }
        self.open(namespace).await
    }

    /// The options to add to suggested commands, so that they address the same lab or cluster.
    pub(super) fn option(&self) -> String {
        if !self.is_cluster() {
            return self.lab.option();
        }
        let ClusterArgs {
            context,
            kubeconfig,
        } = &self.cluster;
        let context = context.iter().map(|it| format!(" --context {it}"));
        let path = kubeconfig.iter();
        let path = path.map(|it| format!(" --kubeconfig {}", it.display()));
        context.chain(path).collect()
    }

    fn is_cluster(&self) -> bool {
        let ClusterArgs {
            context,
            kubeconfig,
        } = &self.cluster;
        let is_plugin = plugin::is_kubectl_plugin() && !self.lab.is_custom();
        context.is_some() || kubeconfig.is_some() || is_plugin
    }
}

impl Target {
    /// The namespace that a subcommand acts in.
    pub(super) fn namespace(&self, requested: Option<&Namespace>) -> Namespace {
        match self {
            Self::Lab(_) => requested.cloned().unwrap_or_default(),
            Self::Cluster(client) => client.namespace().clone(),
        }
    }

    /// Names the cluster on standard error, so that the output can be piped. A lab is not named.
    pub(super) fn print_name(&self) {
        if let Self::Cluster(client) = self {
            let context = &client.source().name;
            errln!("# context {context}, namespace {}", client.namespace());
        }
    }

    /// Lists the policies of a namespace.
    pub(super) async fn policies(
        &self,
        namespace: &Namespace,
    ) -> anyhow::Result<Vec<SamplingPolicy>> {
        match self {
            Self::Lab(client) => Ok(client.policies(namespace.as_str()).await?),
            Self::Cluster(client) => {
                let listed = client.list().await.map_err(of_cluster)?;
                for problem in listed.unreadable {
                    errln!("Warning: {problem}");
                }
                Ok(listed.policies)
            }
        }
    }

    /// Gets one policy.
    pub(super) async fn policy(&self, key: &PolicyKey) -> anyhow::Result<SamplingPolicy> {
        let PolicyKey { namespace, name } = key;
        match self {
            Self::Lab(client) => Ok(client.policy(namespace.as_str(), name.as_str()).await?),
            Self::Cluster(client) => client.get(key).await.map_err(of_cluster),
        }
    }

    /// Computes what applying the documents would change.
    pub(super) async fn diff(&self, documents: &Documents) -> anyhow::Result<Comparison> {
        match self {
            Self::Lab(client) => Ok(client.diff(documents).await?),
            Self::Cluster(client) => {
                let compared = client.compare(&documents.documents).await;
                compared.map_err(of_cluster)
            }
        }
    }

    /// Applies all policies in the documents.
    pub(super) async fn apply(&self, documents: &Documents) -> anyhow::Result<Applied> {
        match self {
            Self::Lab(client) => {
                let applied = client.apply(documents).await?;
                Ok(Applied {
                    policies: applied.policies,
                    version: Some(applied.version),
                    generations: BTreeMap::new(),
                })
            }
            Self::Cluster(client) => {
                let applied = client.apply_documents(&documents.documents).await;
                let applied = applied.map_err(of_cluster)?;
                Ok(Applied {
                    policies: applied.changes,
                    version: None,
                    generations: applied.generations,
                })
            }
        }
    }

    /// Waits until applied policies have converged.
    pub(super) async fn converged(
        &self,
        applied: &Applied,
        within: Duration,
    ) -> anyhow::Result<ConvergenceResult> {
        match self {
            Self::Lab(client) => {
                let sequence = applied.version.map_or(0, |it| it.sequence);
                let converged = client.converged(&applied.policies, sequence, within);
                Ok(converged.await?)
            }
            Self::Cluster(client) => {
                let within = within.min(MAX_WAIT);
                let converged = client.converged(&applied.generations, within).await;
                let converged = converged.map_err(of_cluster)?;
                Ok(ConvergenceResult {
                    converged: converged.is_converged,
                    milliseconds: converged.milliseconds.map(|it| it as f64),
                    expected: converged.expected,
                    waiting: vec![],
                    reasons: converged.reasons,
                })
            }
        }
    }

    /// Deletes a policy. Returns the reason if it does not exist or must not be deleted.
    pub(super) async fn delete(&self, key: &PolicyKey) -> anyhow::Result<Result<Change, String>> {
        let PolicyKey { namespace, name } = key;
        match self {
            Self::Lab(client) => match client.delete(namespace.as_str(), name.as_str()).await {
                Ok(change) => Ok(Ok(change)),
                Err(ClientError::Refused(reason)) => Ok(Err(reason)),
                Err(error) => Err(error.into()),
            },
            Self::Cluster(client) => match client.delete_policy(key).await {
                Ok(change) => Ok(Ok(change)),
                Err(
                    BackendError::Find(reason)
                    | BackendError::Refuse(reason)
                    | BackendError::Conflict(reason),
                ) => Ok(Err(reason)),
                Err(error) => Err(of_cluster(error)),
            },
        }
    }
}

/// The key of a policy in a namespace.
pub(super) fn key(namespace: &Namespace, name: &PolicyName) -> PolicyKey {
    PolicyKey {
        namespace: namespace.clone(),
        name: name.clone(),
    }
}

/// The error of a cluster, with one message for each invalid field.
fn of_cluster(error: BackendError) -> anyhow::Error {
    match error {
        BackendError::Validate(messages) => Invalid(messages).into(),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        target: TargetArgs,
    }

    fn of(arguments: &[&str]) -> TargetArgs {
        let arguments = ["spoor"].iter().chain(arguments);
        Command::try_parse_from(arguments).ok().unwrap().target
    }

    #[rstest::rstest]
    #[case(&[], false)]
    #[case(&["--context", "kind-lab"], true)]
    #[case(&["--kubeconfig", "admin.yaml"], true)]
    #[case(&["--lab", "http://127.0.0.1:16601"], false)]
    fn lab_is_the_default(#[case] arguments: &[&str], #[case] is_cluster: bool) {
        assert_eq!(of(arguments).is_cluster(), is_cluster);
    }

    #[test]
    fn suggested_commands_name_the_cluster() {
        let target = of(&["--context", "kind-lab", "--kubeconfig", "admin.yaml"]);
        let expected = " --context kind-lab --kubeconfig admin.yaml";
        assert_eq!(target.option(), expected);
    }

    #[tokio::test]
    async fn namespace_of_documents_needs_a_cluster() {
        let namespace = Namespace::new("shop").unwrap();
        let refused = of(&[]).open_for_documents(Some(&namespace)).await;
        let error = refused.err().unwrap().to_string();
        assert!(error.contains("--context"), "{error}");
    }
}
