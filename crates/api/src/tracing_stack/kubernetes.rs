//! The parts of a stack whose shape comes from Kubernetes.

use std::{borrow::Cow, collections::BTreeMap};

use derive_more::Display;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};

/// A mapping that the operator copies unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FreeForm(pub Map<String, Value>);

// Without `x-kubernetes-preserve-unknown-fields`, the API server would remove all fields.
impl JsonSchema for FreeForm {
    fn schema_name() -> Cow<'static, str> {
        "FreeForm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
        })
    }
}

/// The pull policy of an image.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Display,
)]
pub enum ImagePullPolicy {
    /// The image is pulled at each start of a pod.
    Always,
    /// The image is pulled if the node does not have it.
    #[default]
    IfNotPresent,
    /// The image is never pulled. The node must have it.
    Never,
}

/// An amount of CPU, memory or storage in Kubernetes' notation: `500m`, `1`, `256Mi`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Display)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl<'de> Deserialize<'de> for Quantity {
    /// Accepts `cpu: 1` as well as `cpu: "1"`, as Kubernetes does.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            // A fraction may be formatted with different digits from those that were written.
            Value::Number(number) if !number.is_f64() => Ok(Self(number.to_string())),
            _ => Err(de::Error::custom(
                "must be a quantity such as \"500m\" or \"256Mi\"",
            )),
        }
    }
}

// `x-kubernetes-int-or-string` replaces `type`, since both numbers and strings are allowed.
impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 24,
            "examples": ["256Mi"],
        })
    }
}

/// Resource requests and limits of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Resources reserved for a pod, such as `{cpu: 100m, memory: 128Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: BTreeMap<String, Quantity>,
    /// Maximum amounts of resources that a pod may use, such as `{memory: 512Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: BTreeMap<String, Quantity>,
}

/// Additions to pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodAdditions {
    /// Annotations of pods. The operator's own annotations take precedence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    // Bounded, since the API server estimates the cost of rules for the largest possible object.
    pub annotations: BTreeMap<String, String>,
    /// Labels of pods. The operator's own labels take precedence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
    /// Environment variables of containers. They take precedence over the operator's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Secrets of type `kubernetes.io/dockerconfigjson` in the same namespace, for pulling images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub image_pull_secrets: Vec<String>,
}

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    /// Name of the variable.
    #[schemars(length(min = 1, max = 128), example = &"GOGC")]
    pub name: String,
    /// Value of the variable. It is not secret; use a Secret for values that are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024), example = &"50")]
    pub value: String,
}

/// Constraints on the nodes that pods run on. Each field is as in a pod's `spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scheduling {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// Node taints to tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Affinity to nodes and other pods. By default, replicas prefer different nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "affinity")]
    pub affinity: Option<FreeForm>,
    /// Constraints on spreading pods over zones and nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "topology_spread_constraints")]
    pub topology_spread_constraints: Vec<FreeForm>,
    /// PriorityClass of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"system-cluster-critical")]
    pub priority_class_name: Option<String>,
}

/// The outline of a pod's `spec.affinity`.
///
/// The full schema would make up half of the definition, so the operator checks the rest.
pub(crate) fn affinity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "nodeAffinity": of_nodes(),
            "podAffinity": of_pods("Pods to run near."),
            "podAntiAffinity": of_pods("Pods to run apart from."),
        },
    })
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn of_nodes() -> Value {
    let mut required = free_form("Nodes that a pod must run on.");
    required["required"] = json!(["nodeSelectorTerms"]);
    required["properties"] = json!({
        "nodeSelectorTerms": list("Terms. A node must match at least one.", free_form("A term.")),
    });
    let preferred = list("Nodes that a pod should run on.", free_form("A term."));
    outline("Nodes to run on.", required, preferred)
}

fn of_pods(description: &str) -> Value {
    let required = list("Terms that must hold.", free_form("A term."));
    let preferred = list("Terms that should hold.", free_form("A term."));
    outline(description, required, preferred)
}

pub(crate) fn topology_spread_constraints(_: &mut SchemaGenerator) -> Schema {
    let mut constraint = free_form("A constraint.");
    constraint["required"] = json!(["maxSkew", "topologyKey", "whenUnsatisfiable"]);
    constraint["properties"] = json!({
        "maxSkew": {
            "description": "Maximum difference in the number of pods between topology domains.",
            "type": "integer", "format": "int32", "minimum": 1,
        },
        "topologyKey": {
            "description": "Node label whose value is the topology domain.",
            "type": "string", "minLength": 1, "maxLength": 317,
        },
        "whenUnsatisfiable": {
            "description": "Behaviour for a pod that cannot satisfy the constraint.",
            "type": "string", "enum": ["DoNotSchedule", "ScheduleAnyway"],
        },
        "labelSelector": free_form("Pods that are counted."),
    });
    json_schema!({"type": "array", "maxItems": 16, "items": constraint})
}

fn outline(description: &str, required: Value, preferred: Value) -> Value {
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "properties": {REQUIRED: required, PREFERRED: preferred},
    })
}

fn list(description: &str, items: Value) -> Value {
    json!({"description": description, "type": "array", "maxItems": 32, "items": items})
}

fn free_form(description: &str) -> Value {
    json!({
        "description": description,
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// A taint to tolerate, as in a pod's `spec.tolerations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Toleration {
    /// Key of the taint. If unset, `operator` must be `Exists`, which tolerates every taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 316))]
    pub key: Option<String>,
    /// Comparison with the taint: `Equal`, which is the default, or `Exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// Effect of the taint: `NoSchedule`, `PreferNoSchedule` or `NoExecute`. If unset, all effects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// Time to tolerate a taint with the effect `NoExecute`, in seconds. If unset, forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// The comparison of a toleration with a taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Key and value must equal the taint's.
    Equal,
    /// The key must equal the taint's.
    Exists,
}

/// The effect of a taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// New pods are not scheduled on the node.
    NoSchedule,
    /// New pods are scheduled on other nodes if possible.
    PreferNoSchedule,
    /// Pods are evicted from the node.
    NoExecute,
}

/// The credentials for a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialsSpec {
    /// Secret in the same namespace with the keys `username` and `password`, such as one of type
    /// `kubernetes.io/basic-auth`.
    #[schemars(length(min = 1, max = 253), example = &"opensearch-jaeger")]
    pub secret_name: String,
}

/// TLS settings for connections to a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSpec {
    /// Secret in the same namespace with the certificate authority in `ca.crt`. Defaults to the
    /// certificate authorities in Jaeger's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"opensearch-ca")]
    pub ca_secret_name: Option<String>,
    /// Secret in the same namespace with the client certificate in `tls.crt` and `tls.key`, such as
    /// one of type `kubernetes.io/tls`. If unset, Jaeger presents no certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"jaeger-client")]
    pub cert_secret_name: Option<String>,
    /// Name to verify in the server's certificate. Defaults to the server's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"opensearch.example.com")]
    pub server_name: Option<String>,
}
