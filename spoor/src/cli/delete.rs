//! `spoor delete`: deletes policies; the remaining ones take effect in their place.

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgGroup, Args};
use serde_json::json;
use spoor_api::read;
use spoor_policy::{Namespace, PolicyName};

use super::{
    LabArgs, NamespaceArgs, Output,
    apply::{WaitArgs, print_change, print_result},
    client::ClientError,
    documents::read_all,
    failure::Invalid,
    out::errln,
};

/// Delete policies by name, or those in files
#[derive(Args, Clone, Debug)]
// A group, since the error for a missing argument then names both ways.
#[command(group(ArgGroup::new("policies").required(true)), after_help = "Examples:
  spoor delete service-a
  spoor delete -f policies/ --wait")]
pub struct DeleteArgs {
    /// The policies' names
    #[arg(value_name = "NAME", group = "policies")]
    names: Vec<PolicyName>,
    /// A file, a folder or - (standard input) whose policies to delete; can be repeated
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE",
        group = "policies"
    )]
    filenames: Vec<PathBuf>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    lab: LabArgs,
}

impl DeleteArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let client = self.lab.client();
        let (mut changes, mut refused) = (vec![], false);
        // Each deletion is published by itself, and the wait counts the instances of all.
        let before = self.wait.sequence(&client).await?;
        for (namespace, name) in self.keys()? {
            let change = match client.delete(&namespace, &name).await {
                Ok(change) => change,
                // The others are deleted nevertheless, as kubectl does: stopping at the first would
                // leave a result that depends on the order.
                Err(ClientError::Refused(why)) => {
                    errln!("spoor: {why}");
                    refused = true;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if self.output == Output::Table {
                print_change(&change);
            }
            changes.push(change);
        }
        let convergence = match before.filter(|_| !changes.is_empty()) {
            Some(before) => Some(self.wait.until_converged_after(&client, before).await?),
            None => None,
        };
        let deleted = json!({ "policies": changes });
        let unaffected = "no instance was affected";
        let code = print_result(self.output, deleted, convergence, unaffected)?;
        Ok(if refused { ExitCode::FAILURE } else { code })
    }

    /// The namespace and name of each policy to delete.
    fn keys(&self) -> anyhow::Result<Vec<(String, String)>> {
        if !self.names.is_empty() {
            let namespace = self.namespace.namespace.to_string();
            let keys = self
                .names
                .iter()
                .map(|name| (namespace.clone(), name.to_string()));
            return Ok(keys.collect());
        }
        let (mut keys, mut errors) = (vec![], vec![]);
        for document in read_all(&self.filenames)?.documents {
            match read::policies(&document.text, &document.source) {
                Ok(manifests) => keys.extend(manifests.into_iter().map(|manifest| {
                    let metadata = manifest.policy.metadata;
                    let namespace = metadata.namespace;
                    (
                        namespace.unwrap_or_else(|| Namespace::default().to_string()),
                        metadata.name,
                    )
                })),
                Err(faults) => errors.extend(faults.iter().map(ToString::to_string)),
            }
        }
        if errors.is_empty() {
            // A policy in two of the files is deleted once, and not reported as missing the second
            // time.
            keys.sort();
            keys.dedup();
            Ok(keys)
        } else {
            Err(Invalid(errors).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

    #[rstest::rstest]
    #[case::names(&["one", "two"], None)]
    #[case::files(&["-f", "one.yaml", "-f", "two.yaml"], None)]
    #[case::nothing(&[], Some("<NAME|--filename <FILE>>"))]
    #[case::both(&["one", "-f", "two.yaml"], Some("cannot be used with"))]
    fn takes_names_or_files(#[case] arguments: &[&str], #[case] refusal: Option<&str>) {
        let parsed = Cli::try_parse_from(["spoor", "delete"].iter().chain(arguments));
        let refused = parsed.err().map(|error| error.to_string());
        match refusal {
            Some(text) => assert!(refused.is_some_and(|it| it.contains(text)), "{text}"),
            None => assert_eq!(refused, None),
        }
    }
}
