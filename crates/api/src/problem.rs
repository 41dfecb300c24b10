//! What is said of fields that are wrong together, by validation and by a cluster's API server.

pub(crate) const NOTHING: &str =
    "must have \"head\", \"tail\" or both, such as `head: {probability: 1%}`";
pub(crate) const HEAD_BOTH: &str =
    "must have one of \"probability\" and \"rateLimit\", not both: delete one";
pub(crate) const HEAD_NONE: &str =
    "must have one of \"probability\" and \"rateLimit\", such as `probability: 1%`";
pub(crate) const RULE_NONE: &str =
    "must have one of \"error\", \"slowerThan\" and \"attribute\", such as `error: {}`";
pub(crate) const RULE_SEVERAL: &str =
    "must have only one of \"error\", \"slowerThan\" and \"attribute\": make a rule of each";

pub(crate) const EXISTING_JAEGER: &str = "stands alone: the operator doesn't change a Jaeger that it doesn't run; delete \"existing\", or everything beside it in spec.jaeger";
pub(crate) const EXISTING_COLLECTOR: &str = "stands alone: the operator doesn't change a Collector that it doesn't run; delete \"existing\", or everything beside it in spec.collector";
pub(crate) const GATHER_WAIT: &str = "must be at most decisionWait (5s by default), or the late spans of a trace come after its decision: lower \"gatherWait\" or raise \"decisionWait\"";
pub(crate) const REPLICAS: &str = "must be 1 while traces are held in a pod of Jaeger itself: several need storage.opensearch, .elasticsearch, .cassandra or .clickhouse";
pub(crate) const STORAGE_NONE: &str = "must have one of \"memory\", \"badger\", \"opensearch\", \"elasticsearch\", \"cassandra\" and \"clickhouse\", such as `memory: {}`";
pub(crate) const STORAGE_SEVERAL: &str = "must have only one of \"memory\", \"badger\", \"opensearch\", \"elasticsearch\", \"cassandra\" and \"clickhouse\": delete the others";
pub(crate) const SEARCH_TLS: &str =
    "is only for URLs that begin with \"https://\": change `urls`, or delete `tls`";
pub(crate) const CLICKHOUSE_TLS: &str = "needs a Jaeger after 2.13, which doesn't know it yet: name one in spec.jaeger.image, or delete `tls`";
pub(crate) const SIZE: &str = "must be more than 0, such as \"10Gi\"";
pub(crate) const LIMITS: &str =
    "must be at least what is requested of the same resource: raise the limit or lower the request";
pub(crate) const TOLERATION_KEY: &str =
    "is missing: name a key, or write `operator: Exists` to put up with every taint";
pub(crate) const TOLERATION_VALUE: &str =
    "must not be there with `operator: Exists`, which asks for no value: delete it";
pub(crate) const TOLERATION_SECONDS: &str =
    "is only for `effect: NoExecute`: set that, or delete it";
