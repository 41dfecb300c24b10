//! `spoor override`: a policy with an expiry and a high priority.

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use spoor_api::{
    InvalidOverride, Metadata, OverrideFields, SamplingPolicy, override_policy, to_yaml,
};
use spoor_policy::{Namespace, OperationName, Probability, ServiceName};

use super::out::{errln, out, outln};
use super::{
    ClientError, LabClient, NamespaceArgs, Output,
    apply::{TAIL_ONLY, WaitArgs, print_change, print_result},
    duration::positive_duration,
    failure::InvalidOption,
    plugin::program_name,
    target::{Target, TargetArgs},
};
use spoor_api::changes::Document;
use spoor_lab::wire::Documents;

/// Sample a service at another rate for a limited time, after which the rate reverts
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor override service-a 100% --for 15m
  spoor override service-a 0% --operation 'GET /healthz' --for 2h
  spoor override service-a 100% --for 15m -o yaml | kubectl apply -f -
  spoor override service-a 100% --for 15m --context kind-spoor -n shop")]
pub struct OverrideArgs {
    /// The service where the traces start
    service: ServiceName,
    /// The share of traces to keep, such as 100% or 0.5%
    probability: Probability,
    /// The time until the override expires, such as 15m
    #[arg(long = "for", value_name = "DURATION", value_parser = positive_duration, allow_hyphen_values = true)]
    lifetime: Duration,
    /// Affect only traces that start with this operation; can be repeated
    #[arg(long)]
    operation: Vec<OperationName>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    /// Print the policy in this format instead of applying it; cannot be used with --wait
    #[arg(short, long, value_enum, conflicts_with = "wait")]
    output: Option<Format>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// YAML
    Yaml,
    /// JSON
    Json,
}

impl OverrideArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let requested = self.namespace.namespace.clone();
        let policy = self.policy(&requested.unwrap_or_default(), Timestamp::now())?;
        match self.output {
            Some(Format::Yaml) => out!("{}", to_yaml(&policy)?),
            Some(Format::Json) => super::print_json(&policy)?,
            None => return self.apply().await,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn apply(&self) -> anyhow::Result<ExitCode> {
        let requested = self.namespace.namespace.as_ref();
        let target = self.target.open(requested).await?;
        let namespace = target.namespace(requested);
        let policy = &self.policy(&namespace, Timestamp::now())?;
        // Sent as a document like a file, so that an override is validated and reported like any
        // other policy.
        let document = Document {
            source: "override".into(),
            text: to_yaml(policy)?,
        };
        let documents = vec![document];
        let applied = target.apply(&Documents { documents }).await?;
        target.print_name();
        applied.policies.iter().for_each(print_change);
        // In a cluster, the status has this only once the operator has seen the policy.
        if let Target::Lab(client) = &target {
            warn_if_overridden(client, policy).await?;
        }
        let convergence = self.wait.until_applied(&target, &applied).await?;
        let code = print_result(Output::Table, applied, convergence, TAIL_ONLY)?;
        // A short override may have expired meanwhile.
        let is_ahead = |until: Timestamp| until > Timestamp::now();
        if let Some(until) = &policy.spec.expires_at
            && until.parse().is_ok_and(is_ahead)
        {
            let name = &policy.metadata.name;
            let is_cluster = matches!(target, Target::Cluster(_));
            let namespace = match requested {
                // A context may have another default than the lab.
                Some(other) if *other != Namespace::default() || is_cluster => {
                    format!(" -n {other}")
                }
                _ => String::new(),
            };
            let (program, target) = (program_name(), self.target.option());
            outln!(
                "In force until {until}; `{program} delete {name}{namespace}{target}` ends it \
                 earlier."
            );
        }
        Ok(code)
    }

    fn policy(
        &self,
        namespace: &Namespace,
        now: Timestamp,
    ) -> Result<SamplingPolicy, InvalidOption> {
        let fields = OverrideFields {
            namespace: namespace.clone(),
            service: self.service.clone(),
            operations: self.operation.clone(),
            probability: self.probability,
            lifetime: self.lifetime,
        };
        // The lab would name a line of a document that the user has not written.
        override_policy(&fields, now).map_err(|error| match error {
            InvalidOverride::Lifetime => InvalidOption(format!("--for: {error}")),
            InvalidOverride::Name { .. } => InvalidOption(error.to_string()),
        })
    }
}

/// Warns about operations of the service for which other policies still decide.
async fn warn_if_overridden(
    client: &LabClient,
    policy: &SamplingPolicy,
) -> Result<(), ClientError> {
    let Metadata {
        namespace, name, ..
    } = &policy.metadata;
    let namespace = namespace.as_deref().unwrap_or_default();
    let applied = client.policy(namespace, name).await?;
    let overridden = applied.status.into_iter().flat_map(|it| it.overridden);
    for place in overridden {
        if let Some(operation) = &place.operation {
            errln!(
                "Warning: {name}: {operation:?} is still sampled by the policy {}",
                place.by
            );
        }
    }
    Ok(())
}
