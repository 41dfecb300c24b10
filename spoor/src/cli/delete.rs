//! `spoor delete`: deletes policies; the remaining ones take effect in their place.

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgGroup, Args};
use serde_json::json;
use spoor_api::read;
use spoor_policy::{Namespace, PolicyKey, PolicyName};

use super::{
    NamespaceArgs, Output,
    apply::{WaitArgs, print_change, print_result},
    documents::{no_policies, read_documents},
    failure::Invalid,
    out::errln,
    target::{Target, TargetArgs, key},
};

/// Delete policies by name, or those in files
#[derive(Args, Clone, Debug)]
// A group, since the error for a missing argument then names both ways.
#[command(group(ArgGroup::new("policies").required(true)), after_help = "Examples:
  spoor delete service-a
  spoor delete -f policies/ --wait
  spoor delete service-a --context kind-spoor -n shop")]
pub struct DeleteArgs {
    /// The policies' names
    #[arg(value_name = "NAME", group = "policies")]
    names: Vec<PolicyName>,
    /// A file, a folder, or - for standard input, with the policies to delete; can be repeated
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
    target: TargetArgs,
}

impl DeleteArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let requested = self.namespace.namespace.as_ref();
        let target = self.target.open(requested).await?;
        let (mut changes, mut refused) = (vec![], false);
        // Each deletion is published separately, and the wait covers the instances affected by any.
        let before = self.wait.before_deletion(&target).await?;
        let namespace = target.namespace(requested);
        let of_files = match &target {
            // As when the files are applied.
            Target::Lab(_) => Namespace::default(),
            Target::Cluster(_) => namespace.clone(),
        };
        let keys = self.keys(&namespace, &of_files)?;
        if self.output == Output::Table {
            target.print_name();
        }
        for key in keys {
            let change = match target.delete(&key).await? {
                Ok(change) => change,
                // The others are deleted nevertheless, as kubectl does: stopping at the first would
                // leave a result that depends on the order.
                Err(why) => {
                    errln!("spoor: {why}");
                    refused = true;
                    continue;
                }
            };
            if self.output == Output::Table {
                print_change(&change);
            }
            changes.push(change);
        }
        let convergence = match before.filter(|_| !changes.is_empty()) {
            // Waits for all instances, but counts only those of the services whose plans have
            // changed since then.
            Some((client, before)) => {
                Some(client.converged(&[], before + 1, self.wait.timeout).await?)
            }
            None => None,
        };
        let deleted = json!({ "policies": changes });
        // Printed, for example, for a policy with only a tail, which no instance applies.
        let without_instances = "no instance had to acknowledge the deletion";
        let code = print_result(self.output, deleted, convergence, without_instances)?;
        Ok(if refused { ExitCode::FAILURE } else { code })
    }

    /// The policies to delete: those named, in `namespace`, or those in files, in `of_files` unless
    /// they name another namespace.
    fn keys(&self, namespace: &Namespace, of_files: &Namespace) -> anyhow::Result<Vec<PolicyKey>> {
        if !self.names.is_empty() {
            let keys = self.names.iter().map(|name| key(namespace, name));
            return Ok(keys.collect());
        }
        let (mut keys, mut errors) = (vec![], vec![]);
        for document in read_documents(&self.filenames)? {
            match read::policies(&document.text, &document.source) {
                Ok(manifests) => {
                    for manifest in manifests {
                        let metadata = manifest.policy.metadata;
                        let named = metadata.namespace.map(Namespace::new).transpose()?;
                        let namespace = named.unwrap_or_else(|| of_files.clone());
                        keys.push(key(&namespace, &PolicyName::new(metadata.name)?));
                    }
                }
                Err(invalid) => errors.extend(invalid.iter().map(ToString::to_string)),
            }
        }
        if !errors.is_empty() {
            return Err(Invalid(errors).into());
        }
        if keys.is_empty() {
            return Err(no_policies(&self.filenames).into());
        }
        // A policy in two of the files is deleted once, and not reported as missing the second
        // time.
        keys.sort();
        keys.dedup();
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[derive(Parser)]
    struct Delete {
        #[command(flatten)]
        args: DeleteArgs,
    }

    #[rstest::rstest]
    #[case::once_in_each_file(
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: p}\n\
         spec: {head: {probability: 1%}}\n",
        Ok("default/p")
    )]
    #[case::none("# nothing\n", Err("no policy in "))]
    fn policies_of_files_are_deleted_once(
        #[case] text: &str,
        #[case] expected: Result<&str, &str>,
    ) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one.yaml", "two.yaml"] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let path = folder.path().to_str().unwrap();
        let delete = Delete::try_parse_from(["delete", "-f", path]).ok().unwrap();
        let default = Namespace::default();
        let keys = delete.args.keys(&default, &default);
        let keys = keys.map_err(|error| error.to_string());
        match expected {
            Ok(key) => {
                let keys: Vec<String> = keys.unwrap().iter().map(PolicyKey::to_string).collect();
                assert_eq!(keys, [key]);
            }
            Err(text) => assert!(keys.is_err_and(|error| error.contains(text)), "{text}"),
        }
    }

    #[rstest::rstest]
    #[case::names(&["one", "two"], None)]
    #[case::files(&["-f", "one.yaml", "-f", "two.yaml"], None)]
    #[case::nothing(&[], Some("<NAME|--filename <FILE>>"))]
    #[case::both(&["one", "-f", "two.yaml"], Some("cannot be used with"))]
    fn accepts_names_or_files(#[case] arguments: &[&str], #[case] refusal: Option<&str>) {
        let parsed = Cli::try_parse_from(["spoor", "delete"].iter().chain(arguments));
        let refused = parsed.err().map(|error| error.to_string());
        match refusal {
            Some(text) => assert!(refused.is_some_and(|it| it.contains(text)), "{text}"),
            None => assert_eq!(refused, None),
        }
    }
}
