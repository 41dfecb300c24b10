//! The parts of a stack that Kubernetes gives the shape.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};

/// A mapping whose fields are somebody else's: passed on as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FreeForm(pub Map<String, Value>);

impl JsonSchema for FreeForm {
    fn schema_name() -> Cow<'static, str> {
        "FreeForm".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
        })
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At each start of a pod.
    Always,
    /// When the node doesn't have it.
    #[default]
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

impl ImagePullPolicy {
    /// The word in the resource.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// An amount of processor, memory or volume as Kubernetes writes it: `500m`, `1`, `256Mi`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// People write `cpu: 1` as well as `cpu: "1"`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Number(number) if !number.is_f64() => Ok(Self(number.to_string())),
            _ => Err(de::Error::custom(
                "must be a quantity such as \"500m\" or \"256Mi\"",
            )),
        }
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 24,
            "examples": ["256Mi"],
        })
    }
}

/// What a pod may use of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// What is set aside for it, such as `{cpu: 100m, memory: 128Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: BTreeMap<String, Quantity>,
    /// What it may use at most, such as `{memory: 512Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: BTreeMap<String, Quantity>,
}

/// Additions to pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodAdditions {
    /// Annotations of the pods. One that the operator sets itself keeps the operator's value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the pods. One that the operator sets itself keeps the operator's value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
    /// Environment variables of the containers. One that the operator sets itself is replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Secrets of the same namespace, of the type `kubernetes.io/dockerconfigjson`, with which the
    /// images are pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub image_pull_secrets: Vec<String>,
}

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 128), example = &"GOGC")]
    pub name: String,
    /// Its value. For one that must stay secret, use a Secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024), example = &"50")]
    pub value: String,
}

/// On which nodes pods may run; each field as in a pod's `spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scheduling {
    /// Labels that the node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that are put up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Which nodes and neighbours are wanted; none: replicas on different nodes where possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "affinity")]
    pub affinity: Option<FreeForm>,
    /// How pods are spread over zones and nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "topology_spread_constraints")]
    pub topology_spread_constraints: Vec<FreeForm>,
    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"system-cluster-critical")]
    pub priority_class_name: Option<String>,
}

/// The outline of a pod's `spec.affinity`: the operator checks the rest, which would be half of the
/// definition.
pub(crate) fn affinity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "nodeAffinity": of_nodes(),
            "podAffinity": of_pods("Pods to be near."),
            "podAntiAffinity": of_pods("Pods to be apart from."),
        },
    })
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn of_nodes() -> Value {
    let mut required = free_form("Nodes that a pod needs.");
    required["required"] = json!(["nodeSelectorTerms"]);
    required["properties"] = json!({
        "nodeSelectorTerms": list("Terms of which a node must meet one.", free_form("A term.")),
    });
    let preferred = list("Nodes that a pod prefers.", free_form("A term."));
    let properties = json!({REQUIRED: required, PREFERRED: preferred});
    outline("Nodes to run on.", properties)
}

fn of_pods(description: &str) -> Value {
    let required = list("Terms that must hold.", free_form("A term."));
    let preferred = list("Terms that should hold.", free_form("A term."));
    let properties = json!({REQUIRED: required, PREFERRED: preferred});
    outline(description, properties)
}

pub(crate) fn topology_spread_constraints(_: &mut SchemaGenerator) -> Schema {
    let mut constraint = free_form("A constraint.");
    constraint["required"] = json!(["maxSkew", "topologyKey", "whenUnsatisfiable"]);
    constraint["properties"] = json!({
        "maxSkew": {
            "description": "By how many pods two topology domains may differ.",
            "type": "integer", "format": "int32", "minimum": 1,
        },
        "topologyKey": {
            "description": "The node label that names a topology domain.",
            "type": "string", "minLength": 1, "maxLength": 317,
        },
        "whenUnsatisfiable": {
            "description": "What becomes of a pod for which it cannot hold.",
            "type": "string", "enum": ["DoNotSchedule", "ScheduleAnyway"],
        },
        "labelSelector": free_form("The pods that are counted."),
    });
    json_schema!({"type": "array", "maxItems": 16, "items": constraint})
}

fn outline(description: &str, properties: Value) -> Value {
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
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

/// A taint that is put up with, as in a pod's `spec.tolerations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key; none, with `operator: Exists`: every taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 316))]
    pub key: Option<String>,
    /// `Equal`, the default, or `Exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// The taint's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// How long a taint `NoExecute` is put up with; none: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration is compared with a taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Key and value are the taint's.
    Equal,
    /// The key is the taint's.
    Exists,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// Keeps new pods away.
    NoSchedule,
    /// Keeps new pods away if they can go elsewhere.
    PreferNoSchedule,
    /// Drives pods away.
    NoExecute,
}

/// As whom to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// A Secret of the same namespace with the keys `username` and `password`, as the type
    /// `kubernetes.io/basic-auth` has them.
    #[schemars(length(min = 1, max = 253), example = &"opensearch-jaeger")]
    pub secret_name: String,
}

/// How to check the server's certificate, and which to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSpec {
    /// A Secret of the same namespace whose `ca.crt` is the certificate authority; none: those in
    /// Jaeger's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"opensearch-ca")]
    pub ca_secret_name: Option<String>,
    /// A Secret of the same namespace with `tls.crt` and `tls.key` to show to the server, as the
    /// type `kubernetes.io/tls` has them; none: no certificate is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"jaeger-client")]
    pub cert_secret_name: Option<String>,
    /// The name that the server's certificate must have; none: its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"opensearch.example.com")]
    pub server_name: Option<String>,
}
