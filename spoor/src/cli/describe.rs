//! `spoor describe`: a policy with its whole status, as text.

use std::{fmt::Write, process::ExitCode};

use clap::Args;
use jiff::Timestamp;
use spoor_api::{
    SamplingPolicy,
    status::{Clients, Observed, ObservedOtherwise, ObservedTail, RuleKept, SamplingPolicyStatus},
};
use spoor_policy::PolicyName;

use super::out::out;
use super::{
    NamespaceArgs,
    duration::age,
    get::print_no_policies,
    policy_columns::{strategy, targets},
    table::{TextTable, or_all_others},
    target::{TargetArgs, key},
};

/// Show a policy in detail: where it is effective, what overrides it, and what is observed
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor describe service-a
  spoor describe service-a --context kind-spoor -n shop")]
pub struct DescribeArgs {
    /// The policies to show [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<PolicyName>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    target: TargetArgs,
}

impl DescribeArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let requested = self.namespace.namespace.as_ref();
        let target = self.target.open(requested).await?;
        let namespace = target.namespace(requested);
        let mut policies = vec![];
        for name in &self.names {
            policies.push(target.policy(&key(&namespace, name)).await?);
        }
        if self.names.is_empty() {
            policies = target.policies(&namespace).await?;
        }
        target.print_name();
        if policies.is_empty() {
            print_no_policies(&target, &namespace).await?;
        }
        let now = Timestamp::now();
        let described = policies.iter().map(|policy| describe(policy, now));
        let described: Vec<String> = described.collect::<Result<_, _>>()?;
        out!("{}", described.join("\n"));
        Ok(ExitCode::SUCCESS)
    }
}

fn describe(policy: &SamplingPolicy, now: Timestamp) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let metadata = &policy.metadata;
    let created = metadata.creation_timestamp.as_deref().unwrap_or_default();
    let created_ago = created
        .parse()
        .map_or_else(|_| String::new(), |at| age(at, now));
    writeln!(text, "Name:        {}", metadata.name)?;
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    writeln!(text, "Namespace:   {namespace}")?;
    writeln!(text, "Created:     {created} ({created_ago} ago)")?;
    writeln!(text, "Generation:  {}", metadata.generation.unwrap_or(1))?;
    writeln!(text, "Priority:    {}", policy.spec.priority)?;
    writeln!(text, "Targets:     {}", targets(policy))?;
    writeln!(text, "Strategy:    {}", strategy(policy))?;
    if let Some(expires) = &policy.spec.expires_at {
        writeln!(text, "Expires:     {expires}")?;
    }
    if let Some(status) = &policy.status {
        write_status(&mut text, status)?;
    }
    Ok(text)
}

fn write_status(text: &mut String, status: &SamplingPolicyStatus) -> std::fmt::Result {
    let mut conditions = TextTable::new(&["TYPE", "STATUS", "REASON", "MESSAGE"]);
    for condition in &status.conditions {
        conditions.row([
            condition.kind.clone(),
            condition.status.to_string(),
            condition.reason.clone(),
            condition.message.clone(),
        ]);
    }
    write!(text, "Conditions:\n{}", indent(&conditions))?;
    let effective = status.effective.iter();
    let effective = effective.map(|it| (&it.service, &it.operation));
    let overridden = status.overridden.iter();
    let overridden = overridden.map(|it| (&it.service, &it.operation));
    let places: Vec<_> = effective.chain(overridden).collect();
    if !status.effective.is_empty() {
        let mut effective = TextTable::new(&["SERVICE", "OPERATION", "STRATEGY"]);
        for entry in &status.effective {
            let [service, operation] = place(&places, (&entry.service, &entry.operation));
            effective.row([service, operation, entry.strategy.clone()]);
        }
        write!(text, "Effective:\n{}", indent(&effective))?;
    }
    if !status.overridden.is_empty() {
        let mut overridden = TextTable::new(&["SERVICE", "OPERATION", "BY"]);
        for entry in &status.overridden {
            let [service, operation] = place(&places, (&entry.service, &entry.operation));
            overridden.row([service, operation, entry.by.clone()]);
        }
        write!(text, "Overridden:\n{}", indent(&overridden))?;
    }
    if let Some(clients) = &status.clients {
        write_clients(text, clients)?;
    }
    if let Some(observed) = &status.observed {
        write_observed(text, observed)?;
    }
    if let Some(tail) = &status.tail {
        write_tail(text, tail)?;
    }
    Ok(())
}

/// The names of a service and an operation. `None` stands for all, or for all others.
type Place<'a> = (&'a Option<String>, &'a Option<String>);

/// The cells of a place. Without a name, it covers all services or operations, or all others if
/// other places of the policy have a name.
fn place(places: &[Place<'_>], (service, operation): Place<'_>) -> [String; 2] {
    let names_service = places.iter().any(|(service, _)| service.is_some());
    let mut of_service = places.iter().filter(|(other, _)| *other == service);
    let names_operation = of_service.any(|(_, operation)| operation.is_some());
    let cell = |name: &Option<String>, is_beside_others: bool| match name {
        None if !is_beside_others => "(all)".to_owned(),
        name => or_all_others(name.as_ref()),
    };
    [
        cell(service, names_service),
        cell(operation, names_operation),
    ]
}

fn write_clients(text: &mut String, clients: &Clients) -> std::fmt::Result {
    // Without `..`, so that a new field does not compile until it is handled here.
    let Clients {
        expected,
        current,
        refused,
        polling,
        silent,
        never_asked,
        slowest_milliseconds,
    } = clients;
    writeln!(
        text,
        "Clients:     {current} of {expected} current, {refused} refused, {polling} polling, {silent} silent, {never_asked} never asked"
    )?;
    slowest_milliseconds.map_or(Ok(()), |slowest| {
        writeln!(text, "Slowest:     {slowest} ms after publication")
    })
}

fn write_observed(text: &mut String, observed: &Observed) -> std::fmt::Result {
    write!(text, "Observed:    ")?;
    if let (Some(rate), Some(lower), Some(upper)) =
        (&observed.rate, &observed.lower, &observed.upper)
    {
        write!(
            text,
            "{rate} ({lower} to {upper}): {} of {} traces in {} s, ",
            observed.sampled, observed.started, observed.window_seconds
        )?;
    }
    let verdict = &observed.verdict;
    match &observed.message {
        // The verdict `Unknown` adds nothing to its message.
        Some(message) if verdict == "Unknown" => writeln!(text, "{message}"),
        Some(message) => writeln!(text, "{verdict}: {message}"),
        None => writeln!(text, "{verdict}"),
    }
}

fn write_tail(text: &mut String, tail: &ObservedTail) -> std::fmt::Result {
    let ObservedTail {
        decided,
        kept,
        by_rule,
        otherwise,
    } = tail;
    writeln!(text, "Tail:        kept {kept} of {decided} traces")?;
    if !by_rule.is_empty() {
        let mut rules = TextTable::new(&["RULE", "KEPT"]);
        for RuleKept { name, kept } in by_rule {
            rules.row([name.clone(), kept.to_string()]);
        }
        write!(text, "{}", indent(&rules))?;
    }
    let ObservedOtherwise {
        rate,
        lower,
        upper,
        verdict,
    } = otherwise;
    match (rate, lower, upper) {
        (Some(rate), Some(lower), Some(upper)) => writeln!(
            text,
            "Otherwise:   {rate} ({lower} to {upper}) of recent traces that matched no rule, {verdict}"
        ),
        _ => writeln!(text, "Otherwise:   no recent trace without a matching rule"),
    }
}

fn indent(table: &TextTable) -> String {
    let table = table.to_string();
    table.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_has_its_rules_and_the_rate_of_otherwise() {
        let mut tail = ObservedTail {
            decided: 12_600,
            kept: 1_800,
            by_rule: vec![RuleKept {
                name: "errors".to_owned(),
                kept: 600,
            }],
            ..ObservedTail::default()
        };
        let mut text = String::new();
        assert_eq!(write_tail(&mut text, &tail), Ok(()));
        assert_eq!(
            text,
            "Tail:        kept 1800 of 12600 traces\n  RULE     KEPT\n  errors   600\n\
             Otherwise:   no recent trace without a matching rule\n"
        );
        tail.otherwise = ObservedOtherwise {
            rate: Some("10%".to_owned()),
            lower: Some("9.2%".to_owned()),
            upper: Some("10.8%".to_owned()),
            verdict: "Consistent".to_owned(),
        };
        let mut text = String::new();
        assert_eq!(write_tail(&mut text, &tail), Ok(()));
        let expected =
            "Otherwise:   10% (9.2% to 10.8%) of recent traces that matched no rule, Consistent\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn all_others_need_a_named_operation() {
        let name = |text: &str| Some(text.to_owned());
        let (none, a, b, get) = (None, name("a"), name("b"), name("GET /"));
        let places = [(&a, &none), (&a, &get), (&b, &none)];
        assert_eq!(place(&places, places[0]), ["a", "(all others)"]);
        assert_eq!(place(&places, places[1]), ["a", "GET /"]);
        assert_eq!(place(&places, places[2]), ["b", "(all)"]);
        assert_eq!(place(&[(&none, &none)], (&none, &none)), ["(all)", "(all)"]);
    }
}
