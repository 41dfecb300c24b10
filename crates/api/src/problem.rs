//! Problems of several fields together, reported by validation and by the API server.

pub(crate) const NO_PART: &str =
    "must have \"head\", \"tail\" or both, such as `head: {probability: 1%}`";
pub(crate) const HEAD_BOTH: &str =
    "must have one of \"probability\" and \"rateLimit\", not both; delete one";
pub(crate) const HEAD_NONE: &str =
    "must have one of \"probability\" and \"rateLimit\", such as `probability: 1%`";
pub(crate) const RULE_NONE: &str =
    "must have one of \"error\", \"slowerThan\" and \"attribute\", such as `error: {}`";
pub(crate) const RULE_SEVERAL: &str = "must have only one of \"error\", \"slowerThan\" and \"attribute\"; split it into several rules";

pub(crate) const EXISTING_JAEGER: &str = "must be the only field of spec.jaeger, since the operator does not change a Jaeger that it does not run; delete \"existing\" or the other fields";
pub(crate) const EXISTING_COLLECTOR: &str = "must be the only field of spec.collector, since the operator does not change a Collector that it does not run; delete \"existing\" or the other fields";
pub(crate) const GATHER_WAIT: &str = "must be at most decisionWait (5s by default), since spans would otherwise arrive after the decision on their trace; lower \"gatherWait\" or raise \"decisionWait\"";
pub(crate) const KEPT_IS_OTLP: &str = "must not be the same as otlp, since the Collector would send the spans that the sampler keeps to the sampler again; give the Collector a second receiver";
pub(crate) const SAMPLER_OF_EXISTING: &str = "requires spec.collector.existing.kept, the address to which a sampler behind an existing Collector returns spans; set that field or delete this one";
pub(crate) const ENGINE_OF_EXISTING: &str = "must be Spoor with spec.collector.existing.kept, since the operator does not configure the tail sampler of a Collector that it does not run; delete one of the two fields";
pub(crate) const SAMPLER_ENGINE: &str = "must be the only field of spec.sampler if it is OpenTelemetry, whose settings are those of spec.collector; delete the other fields or set `engine: Spoor`";
pub(crate) const SAMPLER_DECISION_WAIT: &str = "must be at most maxTraceDuration (30s by default); lower \"decisionWait\" or raise \"maxTraceDuration\"";
pub(crate) const MOVED_GATHER_WAIT: &str = "requires `sampler.engine: OpenTelemetry`; with Spoor's sampler, set spec.sampler.maxTraceDuration instead";
pub(crate) const MOVED_DECISION_WAIT: &str = "requires `sampler.engine: OpenTelemetry`; with Spoor's sampler, set spec.sampler.decisionWait instead";
pub(crate) const REPLICAS: &str = "must be 1 with storage in Jaeger's own pod; use storage.opensearch, .elasticsearch, .cassandra or .clickhouse for more";
pub(crate) const STORAGE_NONE: &str = "must have one of \"memory\", \"badger\", \"opensearch\", \"elasticsearch\", \"cassandra\" and \"clickhouse\", such as `memory: {}`";
pub(crate) const STORAGE_SEVERAL: &str = "must have only one of \"memory\", \"badger\", \"opensearch\", \"elasticsearch\", \"cassandra\" and \"clickhouse\"; delete the others";
pub(crate) const SEARCH_TLS: &str =
    "requires URLs that begin with \"https://\"; change `urls` or delete `tls`";
pub(crate) const CLICKHOUSE_TLS: &str =
    "requires a Jaeger newer than 2.13, the default; set spec.jaeger.image or delete `tls`";
pub(crate) const SIZE: &str = "must be greater than 0, such as \"10Gi\"";
pub(crate) const LIMITS: &str =
    "must be at least the request for the same resource; raise the limit or lower the request";
pub(crate) const TOLERATION_KEY: &str =
    "is missing; set a key, or set `operator: Exists` to tolerate every taint";
pub(crate) const TOLERATION_VALUE: &str = "must not be set with `operator: Exists`; delete it";
pub(crate) const TOLERATION_SECONDS: &str =
    "requires `effect: NoExecute`; set that or delete this field";

/// The beginning of the problem of an item that is in its list already.
pub(crate) const DUPLICATE: &str = "duplicate ";

/// True for a problem of a value that has none of several fields, of which one must be set.
pub(crate) fn is_missing_choice(problem: &str) -> bool {
    [NO_PART, HEAD_NONE, RULE_NONE].contains(&problem)
}

/// The problem of a quantity outside these limits.
pub(crate) fn quantity_range([min, max]: [&str; 2]) -> String {
    format!("must be from {min} to {max}")
}
