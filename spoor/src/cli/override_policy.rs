//! `spoor override`: a policy with an expiry and a high priority.

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use spoor_api::{
    EXPIRY_LIMIT, Head, Metadata, SamplingPolicy, SamplingPolicySpec, TargetSpec, to_yaml,
};
use spoor_policy::{Namespace, OperationName, PolicyName, Probability, ServiceName};

use super::out::{errln, out, outln};
use super::{
    ClientError, LabArgs, LabClient, NamespaceArgs, Output,
    apply::{TAIL_ONLY, WaitArgs, print_change, print_result},
    duration::positive_duration,
    failure::InvalidOption,
};
use spoor_api::changes::Document;
use spoor_lab::wire::Documents;

/// The priority of overrides, above those that people normally give their policies.
const PRIORITY: i32 = 1000;

/// Sample a service at another rate for a limited time, after which the rate reverts
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor override service-a 100% --for 15m
  spoor override service-a 0% --operation 'GET /healthz' --for 2h
  spoor override service-a 100% --for 15m -o yaml | kubectl apply -f -")]
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
    lab: LabArgs,
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
        let policy = self.policy(Timestamp::now())?;
        match self.output {
            Some(Format::Yaml) => out!("{}", to_yaml(&policy)?),
            Some(Format::Json) => super::print_json(&policy)?,
            None => return self.apply(&policy).await,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn apply(&self, policy: &SamplingPolicy) -> anyhow::Result<ExitCode> {
        // Sent as a document like a file, so that an override is validated and reported like any
        // other policy.
        let document = Document {
            source: "override".into(),
            text: to_yaml(policy)?,
        };
        let client = self.lab.client();
        let documents = vec![document];
        let applied = client.apply(&Documents { documents }).await?;
        applied.policies.iter().for_each(print_change);
        warn_if_overridden(&client, policy).await?;
        let convergence = self.wait.until_applied(&client, &applied).await?;
        let code = print_result(Output::Table, applied, convergence, TAIL_ONLY)?;
        // A short override may have expired meanwhile.
        let is_ahead = |until: Timestamp| until > Timestamp::now();
        if let Some(until) = &policy.spec.expires_at
            && until.parse().is_ok_and(is_ahead)
        {
            let name = &policy.metadata.name;
            let namespace = match &self.namespace.namespace {
                default if *default == Namespace::default() => String::new(),
                other => format!(" -n {other}"),
            };
            let lab = self.lab.option();
            outln!(
                "In force until {until}; `spoor delete {name}{namespace}{lab}` ends it earlier."
            );
        }
        Ok(code)
    }

    fn policy(&self, now: Timestamp) -> Result<SamplingPolicy, InvalidOption> {
        // The lab would name a line of a document that the user has not written.
        let too_late = InvalidOption("--for: must end before the year 3000, such as 15m".into());
        let until = now.checked_add(self.lifetime).ok();
        let until = until
            .filter(|until| *until < EXPIRY_LIMIT)
            .ok_or(too_late)?;
        let metadata = Metadata {
            namespace: Some(self.namespace.namespace.to_string()),
            ..Metadata::named(self.name()?.as_str())
        };
        let operations = self.operation.iter().map(ToString::to_string).collect();
        let spec = SamplingPolicySpec {
            priority: PRIORITY,
            targets: vec![TargetSpec {
                service: self.service.to_string(),
                operations,
            }],
            head: Some(Head {
                probability: Some(self.probability.to_string()),
                ..Head::default()
            }),
            // Milliseconds are precise enough, and easier to read than nanoseconds.
            expires_at: Some(format!("{until:.3}")),
            ..SamplingPolicySpec::default()
        };
        Ok(SamplingPolicy::new(metadata, spec))
    }

    /// The policy's name. It depends on the service only, so that another override of the same
    /// service replaces this one.
    fn name(&self) -> Result<PolicyName, InvalidOption> {
        let name = format!("override-{}", self.service);
        PolicyName::new(&name).map_err(|error| {
            InvalidOption(format!(
                "{name:?} is not a valid policy name: {error}; write a policy with another name \
                 and apply it"
            ))
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
