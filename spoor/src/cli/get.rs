//! `spoor get`: lists policies with their status.

use std::{collections::BTreeSet, process::ExitCode};

use clap::{Args, ValueEnum};
use serde::Serialize;
use spoor_api::{API_VERSION, SamplingPolicy, to_yaml};
use spoor_policy::{Namespace, PolicyName};

use super::out::{errln, out, outln};
use super::{
    LabClient, NamespaceArgs,
    policy_columns::{COLUMNS, WIDE_COLUMNS, winners},
    print_json,
    table::TextTable,
    target::{Target, TargetArgs, key},
};

/// List policies with their status
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor get policies
  spoor get policies -o wide
  spoor get policy service-a -o yaml
  spoor get policies --context kind-spoor -n shop")]
pub struct GetArgs {
    /// The kind of resource to list
    #[arg(value_enum)]
    resource: Resource,
    /// The name of one policy
    name: Option<PolicyName>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Resource {
    #[value(aliases = ["policy", "samplingpolicies", "samplingpolicy", "spol"])]
    Policies,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    #[default]
    Table,
    /// A table with more columns
    Wide,
    /// The resources as JSON
    Json,
    /// The resources as YAML
    Yaml,
    /// The names of the resources
    Name,
}

/// Printed if the lab has no policies.
const NO_POLICIES: &str =
    "No policies. Each service uses its own sampler settings; by default, it samples every trace.";

/// A list in the format of the Kubernetes API.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<SamplingPolicy>,
}

impl GetArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let Resource::Policies = self.resource;
        let requested = self.namespace.namespace.as_ref();
        let target = self.target.open(requested).await?;
        let namespace = target.namespace(requested);
        let policies = match &self.name {
            Some(name) => vec![target.policy(&key(&namespace, name)).await?],
            None => target.policies(&namespace).await?,
        };
        match self.output {
            Format::Json | Format::Yaml => self.print_resources(policies)?,
            Format::Name => {
                for policy in &policies {
                    outln!("samplingpolicy.spoor.dev/{}", policy.metadata.name);
                }
            }
            Format::Table | Format::Wide => {
                target.print_name();
                match policies.as_slice() {
                    [] => print_no_policies(&target, &namespace).await?,
                    policies => print_table(policies, self.output == Format::Wide),
                }
                if let Target::Lab(client) = &target {
                    warn_about_folder_errors(client).await?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Prints a policy that was requested by name as it is, and others as a list.
    fn print_resources(&self, policies: Vec<SamplingPolicy>) -> anyhow::Result<()> {
        match (&self.name, policies.as_slice()) {
            (Some(_), [policy]) => self.print_resource(policy),
            // kubectl, too, prints even one item as a list unless it was requested by name, and
            // scripts rely on that.
            _ => self.print_resource(&List {
                api_version: API_VERSION,
                kind: "SamplingPolicyList",
                items: policies,
            }),
        }
    }

    fn print_resource(&self, resource: &(impl Serialize + 'static)) -> anyhow::Result<()> {
        match self.output {
            Format::Json => print_json(resource)?,
            _ => out!("{}", to_yaml(resource)?),
        }
        Ok(())
    }
}

/// Prints, in place of an empty list, which namespaces of a lab have policies, or that it has none.
/// In a cluster, its user may not be allowed to list other namespaces.
pub(super) async fn print_no_policies(
    target: &Target,
    namespace: &Namespace,
) -> anyhow::Result<()> {
    let Target::Lab(client) = target else {
        outln!("No policies in namespace {namespace}.");
        return Ok(());
    };
    let all = client.all_policies().await?.into_iter();
    let others: BTreeSet<String> = all.filter_map(|it| it.metadata.namespace).collect();
    let others: Vec<String> = others.iter().map(|it| format!("{it} (-n {it})")).collect();
    match others.as_slice() {
        [] => outln!("{NO_POLICIES}"),
        others => {
            let others = others.join(", ");
            outln!("No policies in namespace {namespace}. There are some in: {others}.");
        }
    }
    Ok(())
}

fn print_table(policies: &[SamplingPolicy], wide: bool) {
    let mut columns = COLUMNS.to_vec();
    if wide {
        columns.extend(WIDE_COLUMNS);
    }
    // Only when needed: most tables would have an empty column otherwise.
    if policies.iter().any(|policy| !winners(policy).is_empty()) {
        columns.push(("OVERRIDDEN BY", winners));
    }
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    let mut table = TextTable::new(&headings);
    for policy in policies {
        table.row(columns.iter().map(|(_, cell)| cell(policy)));
    }
    out!("{table}");
}

async fn warn_about_folder_errors(client: &LabClient) -> anyhow::Result<()> {
    // On standard error, so that the table can be piped.
    let folder = client.status().await?.folder;
    if let Some(folder) = folder.filter(|folder| !folder.errors.is_empty()) {
        errln!(
            "\nThe watched folder {} has errors, so its files are not applied; policies that were \
             applied from it before stay in force:",
            folder.path
        );
        for error in folder.errors {
            errln!("  {error}");
        }
    }
    Ok(())
}
