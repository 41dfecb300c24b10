//! Validation rules and printer columns of `TracingStack`.

use std::time::Duration;

use serde_json::Value;

use super::{Rule, age, column, condition, message, rule::fits};
use crate::{
    format_duration, formats, problem,
    stack::{
        ExporterName, ManagedCollector, ManagedSampler, SamplerEngine, SamplerStorage, Storage,
    },
    status::Condition,
};

const JAEGER: &str = "spec.jaeger";
const COLLECTOR: &str = "spec.collector";
const SAMPLER: &str = "spec.sampler";
/// The fields of `spec.jaeger.storage`, of which exactly one must be set.
pub(super) const STORAGES: [&str; 6] = [
    "memory",
    "badger",
    "opensearch",
    "elasticsearch",
    "cassandra",
    "clickhouse",
];

pub(super) fn rules() -> Vec<Rule> {
    let name = &formats::STACK_NAME;
    let is_name = fits("self.metadata.name", name);
    let holds = format!("size(self.metadata.name) <= {} && {is_name}", name.max);
    let mut rules = vec![Rule::new("", holds, name.problem).of_field("metadata.name")];
    rules.extend(jaeger());
    rules.extend(collector());
    rules.extend(sampler());
    rules.extend(storage());
    rules.extend(search("opensearch"));
    rules.extend(search("elasticsearch"));
    for database in ["opensearch", "elasticsearch", "cassandra", "clickhouse"] {
        rules.extend(credentials_and_tls(database));
    }
    rules.extend(pod(JAEGER));
    rules.extend(pod(COLLECTOR));
    rules.extend(pod(SAMPLER));
    rules
}

// CEL cannot count the fields of an object, so a rule that a field must be the only one lists all
// others.
fn jaeger() -> Vec<Rule> {
    vec![
        Rule::new(
            JAEGER,
            "!has(self.existing) || !(has(self.image) || has(self.imagePullPolicy) || has(self.storage) || has(self.replicas) || has(self.basePath) || has(self.prometheus) || has(self.resources) || has(self.scheduling) || has(self.pod))",
            problem::EXISTING_JAEGER,
        )
        .of_field("existing"),
        Rule::new(
            JAEGER,
            "!has(self.replicas) || self.replicas < 2 || (has(self.storage) && !has(self.storage.memory) && !has(self.storage.badger))",
            problem::REPLICAS,
        )
        .of_field("replicas"),
        Rule::new(
            JAEGER,
            "has(self.image) || !(has(self.storage) && has(self.storage.clickhouse) && has(self.storage.clickhouse.tls))",
            problem::CLICKHOUSE_TLS,
        )
        .of_field("storage.clickhouse.tls"),
        Rule::text("spec.jaeger.existing.otlp", &formats::NAMED_ADDRESS),
        Rule::text("spec.jaeger.existing.query", &formats::NAMED_ADDRESS),
        Rule::text("spec.jaeger.image", &formats::IMAGE),
        Rule::text("spec.jaeger.basePath", &formats::BASE_PATH),
        Rule::text("spec.jaeger.prometheus.url", &formats::PROMETHEUS_URL),
    ]
}

fn collector() -> Vec<Rule> {
    let mut rules = vec![
        Rule::new(
            COLLECTOR,
            "!has(self.existing) || !(has(self.image) || has(self.imagePullPolicy) || has(self.replicas) || has(self.gatherWait) || has(self.decisionWait) || (has(self.exporters) && size(self.exporters) > 0) || (has(self.envFromSecrets) && size(self.envFromSecrets) > 0) || has(self.resources) || has(self.scheduling) || has(self.pod))",
            problem::EXISTING_COLLECTOR,
        )
        .of_field("existing"),
        Rule::text("spec.collector.existing.otlp", &formats::NAMED_ADDRESS),
        Rule::text("spec.collector.existing.kept", &formats::NAMED_ADDRESS),
        Rule::new(
            "spec.collector.existing",
            "!has(self.kept) || self.kept != self.otlp",
            problem::KEPT_IS_OTLP,
        )
        .of_field("kept"),
        Rule::text("spec.collector.image", &formats::IMAGE),
        Rule::keys("spec.collector.exporters", &formats::EXPORTER),
        Rule::new(
            "spec.collector.exporters",
            format!("!self.exists(key, key.contains('/{}'))", ExporterName::RESERVED),
            ExporterName::RESERVED_PROBLEM,
        ),
        Rule::text("spec.collector.envFromSecrets[]", &formats::OBJECT_NAME),
    ];
    rules.extend(Rule::duration(
        "spec.collector.gatherWait",
        ManagedCollector::GATHER_WAIT_LIMITS,
    ));
    rules.extend(Rule::duration(
        "spec.collector.decisionWait",
        ManagedCollector::DECISION_WAIT_LIMITS,
    ));
    rules.push(gather_before_decision());
    rules
}

/// The rule that `gatherWait` is at most `decisionWait`.
fn gather_before_decision() -> Rule {
    let holds = at_most(
        ("gatherWait", ManagedCollector::DEFAULT_GATHER_WAIT),
        ("decisionWait", ManagedCollector::DEFAULT_DECISION_WAIT),
    );
    Rule::new(COLLECTOR, holds, problem::GATHER_WAIT).of_field("gatherWait")
}

/// A CEL expression that is true if the first duration is at most the second, each a field with its
/// default. It is true if either text is not a duration, which another rule reports.
fn at_most(shorter: (&str, Duration), longer: (&str, Duration)) -> String {
    let wait = |(field, default): (&str, Duration)| {
        let default = format_duration(default);
        format!("(has(self.{field}) ? self.{field} : '{default}')")
    };
    let (shorter, longer) = (wait(shorter), wait(longer));
    format!(
        "!{} || !{} || duration({shorter}) <= duration({longer})",
        fits(&shorter, &formats::DURATION),
        fits(&longer, &formats::DURATION)
    )
}

fn sampler() -> Vec<Rule> {
    let fields = "has(self.replicas) || has(self.decisionWait) || has(self.maxTraceDuration) || has(self.memory) || has(self.storage) || has(self.resources) || has(self.scheduling) || has(self.pod)";
    let (default, stock) = (SamplerEngine::default(), SamplerEngine::OpenTelemetry);
    let is_stock = format!(
        "(has(self.sampler) && has(self.sampler.engine) ? self.sampler.engine : '{default}') == '{stock}'"
    );
    let moved = |field: &str| format!("!has(self.collector) || !has(self.collector.{field})");
    let mut rules = vec![
        Rule::new(
            "spec",
            format!(
                "!has(self.collector) || !has(self.collector.existing) || has(self.collector.existing.kept) || !has(self.sampler) || !(has(self.sampler.engine) || {})",
                fields.replace("self.", "self.sampler.")
            ),
            problem::SAMPLER_OF_EXISTING,
        )
        .of_field("sampler"),
        Rule::new(
            "spec",
            format!(
                "!has(self.collector) || !has(self.collector.existing) || !has(self.collector.existing.kept) || !({is_stock})"
            ),
            problem::ENGINE_OF_EXISTING,
        )
        .of_field("sampler.engine"),
        Rule::new(
            "spec",
            format!("{} || {is_stock}", moved("gatherWait")),
            problem::MOVED_GATHER_WAIT,
        )
        .of_field("collector.gatherWait"),
        Rule::new(
            "spec",
            format!("{} || {is_stock}", moved("decisionWait")),
            problem::MOVED_DECISION_WAIT,
        )
        .of_field("collector.decisionWait"),
        Rule::new(
            SAMPLER,
            format!("!has(self.engine) || self.engine != '{stock}' || !({fields})"),
            problem::SAMPLER_ENGINE,
        )
        .of_field("engine"),
        Rule::new(
            SAMPLER,
            at_most(
                ("decisionWait", ManagedSampler::DEFAULT_DECISION_WAIT),
                (
                    "maxTraceDuration",
                    ManagedSampler::DEFAULT_MAX_TRACE_DURATION,
                ),
            ),
            problem::SAMPLER_DECISION_WAIT,
        )
        .of_field("decisionWait"),
        Rule::text(
            "spec.sampler.storage.claim.storageClassName",
            &formats::OBJECT_NAME,
        ),
    ];
    rules.extend(Rule::duration(
        "spec.sampler.decisionWait",
        ManagedSampler::DECISION_WAIT_LIMITS,
    ));
    rules.extend(Rule::duration(
        "spec.sampler.maxTraceDuration",
        ManagedSampler::MAX_TRACE_DURATION_LIMITS,
    ));
    rules.extend(quantity_within(
        "spec.sampler.memory",
        ManagedSampler::MEMORY_LIMITS,
    ));
    rules.extend(quantity_within(
        "spec.sampler.storage.size",
        SamplerStorage::SIZE_LIMITS,
    ));
    rules
}

fn storage() -> Vec<Rule> {
    let mut rules: Vec<Rule> = [
        ("badger.storageClassName", &formats::OBJECT_NAME),
        ("cassandra.hosts[]", &formats::HOST),
        ("cassandra.keyspace", &formats::KEYSPACE),
        ("cassandra.datacenter", &formats::DATACENTER),
        ("clickhouse.addresses[]", &formats::ADDRESS),
        ("clickhouse.database", &formats::DATABASE),
    ]
    .map(|(field, format)| Rule::text(&format!("spec.jaeger.storage.{field}"), format))
    .into();
    let problems = [problem::STORAGE_NONE, problem::STORAGE_SEVERAL];
    rules.extend(Rule::one_of("spec.jaeger.storage", &STORAGES, problems));
    let size = "spec.jaeger.storage.badger.size";
    rules.push(quantity(size));
    rules.push(Rule::new(
        size,
        // `quantity()` fails on other strings, which the rule above reports.
        "!isQuantity(string(self)) || quantity(string(self)).isGreaterThan(quantity('0'))",
        problem::SIZE,
    ));
    let retention = "spec.jaeger.storage.badger.retention";
    rules.extend(Rule::retention(retention, Storage::RETENTION_LIMITS));
    rules
}

fn search(kind: &str) -> [Rule; 3] {
    let at = format!("spec.jaeger.storage.{kind}");
    [
        Rule::new(
            &at,
            "!has(self.tls) || self.urls.all(url, url.startsWith('https://'))",
            problem::SEARCH_TLS,
        )
        .of_field("tls"),
        Rule::text(&format!("{at}.urls[]"), &formats::SEARCH_URL),
        Rule::text(&format!("{at}.indexPrefix"), &formats::INDEX_PREFIX),
    ]
}

fn credentials_and_tls(kind: &str) -> [Rule; 4] {
    [
        ("credentials.secretName", &formats::OBJECT_NAME),
        ("tls.caSecretName", &formats::OBJECT_NAME),
        ("tls.certSecretName", &formats::OBJECT_NAME),
        ("tls.serverName", &formats::SERVER_NAME),
    ]
    .map(|(field, format)| Rule::text(&format!("spec.jaeger.storage.{kind}.{field}"), format))
}

fn pod(of: &str) -> Vec<Rule> {
    let resources = format!("{of}.resources");
    let scheduling = format!("{of}.scheduling");
    let toleration = format!("{scheduling}.tolerations[]");
    let additions = format!("{of}.pod");
    let mut rules = vec![
        Rule::new(
            &resources,
            "!has(self.requests) || !has(self.limits) || self.limits.all(name, !(name in self.requests) || !isQuantity(string(self.limits[name])) || !isQuantity(string(self.requests[name])) || quantity(string(self.limits[name])).compareTo(quantity(string(self.requests[name]))) >= 0)",
            problem::LIMITS,
        )
        .of_field("limits"),
        Rule::keys(&format!("{scheduling}.nodeSelector"), &formats::LABEL_KEY),
        Rule::text(&format!("{scheduling}.nodeSelector{{}}"), &formats::LABEL_VALUE),
        Rule::text(&format!("{scheduling}.priorityClassName"), &formats::OBJECT_NAME),
        Rule::keys(&format!("{additions}.annotations"), &formats::LABEL_KEY),
        Rule::text(&format!("{additions}.annotations{{}}"), &formats::TEXT),
        Rule::keys(&format!("{additions}.labels"), &formats::LABEL_KEY),
        Rule::text(&format!("{additions}.labels{{}}"), &formats::LABEL_VALUE),
        Rule::text(&format!("{additions}.env[].name"), &formats::ENV_NAME),
        Rule::text(&format!("{additions}.env[].value"), &formats::TEXT),
        Rule::text(&format!("{additions}.imagePullSecrets[]"), &formats::OBJECT_NAME),
        Rule::text(&format!("{toleration}.key"), &formats::LABEL_KEY),
        Rule::text(&format!("{toleration}.value"), &formats::LABEL_VALUE),
        Rule::new(
            &toleration,
            "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            // With the field's name, since the error is about the toleration as a whole.
            format!("\"key\" {}", problem::TOLERATION_KEY),
        ),
        Rule::new(
            &toleration,
            "!has(self.value) || !has(self.operator) || self.operator != 'Exists'",
            problem::TOLERATION_VALUE,
        )
        .of_field("value"),
        Rule::new(
            &toleration,
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            problem::TOLERATION_SECONDS,
        )
        .of_field("tolerationSeconds"),
    ];
    for kind in ["requests", "limits"] {
        let at = format!("{resources}.{kind}");
        rules.push(Rule::keys(&at, &formats::RESOURCE));
        rules.push(quantity(&format!("{at}{{}}")));
    }
    rules
}

/// Rules for a quantity within limits.
fn quantity_within(at: &str, limits: [&str; 2]) -> [Rule; 2] {
    let [min, max] = limits;
    // `quantity()` fails on other texts, which the first rule reports.
    let holds = format!(
        "!isQuantity(string(self)) || (quantity(string(self)).compareTo(quantity('{min}')) >= 0 && quantity(string(self)).compareTo(quantity('{max}')) <= 0)"
    );
    [
        quantity(at),
        Rule::new(at, holds, problem::quantity_range(limits)),
    ]
}

/// A rule for a quantity, which may be written as a number.
fn quantity(at: &str) -> Rule {
    let format = &formats::QUANTITY;
    Rule::new(at, fits("string(self)", format), format.problem)
}

pub(super) fn columns() -> Vec<Value> {
    vec![
        column("Route", ".status.route", false),
        column("Storage", ".status.storage", false),
        condition(Condition::AVAILABLE, false),
        condition(Condition::PROGRESSING, false),
        condition(Condition::DEGRADED, true),
        column("OTLP", ".status.endpoints.otlp", true),
        column("Query", ".status.endpoints.query", true),
        message(Condition::AVAILABLE),
        age(),
    ]
}
