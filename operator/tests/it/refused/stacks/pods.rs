//! Refused resources, scheduling and additions of pods.

use crate::refused::{Case, case};

pub const REFUSED: &[Case] = &[
    case(
        "{jaeger: {scheduling: {affinity: {nodeAffinity: 7}}}}",
        &[
            "spec.jaeger.scheduling.affinity.nodeAffinity: ",
            "must be of type object",
        ],
    ),
    case(
        "{collector: {scheduling: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}}}}}}",
        &[
            "spec.collector.scheduling.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution: ",
            "must be of type array",
        ],
    ),
    case(
        "{collector: {scheduling: {affinity: {nodeAfinity: {}}}}}",
        &["unknown field \"spec.collector.scheduling.affinity.nodeAfinity\""],
    ),
    case(
        "{collector: {scheduling: {topologySpreadConstraints: [{maxSkew: x, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}}}",
        &[
            "spec.collector.scheduling.topologySpreadConstraints[0].maxSkew: ",
            "must be of type integer",
        ],
    ),
    case(
        "{jaeger: {resources: {limits: {memory: much}}}}",
        &[
            "spec.jaeger.resources.limits[memory]: ",
            "must be a quantity such as",
        ],
    ),
    case(
        "{jaeger: {resources: {limits: {ram: 1Gi}}}}",
        &[
            "spec.jaeger.resources.limits: ",
            "must be a resource name: \"cpu\", \"memory\"",
            "not \"ram\"",
        ],
    ),
    case(
        "{jaeger: {resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}}}",
        &[
            "spec.jaeger.resources.limits: ",
            "raise the limit or lower the request",
        ],
    ),
    case(
        "{collector: {resources: {requests: {cpu: 1.5}}}}",
        &[
            "spec.collector.resources.requests.cpu: ",
            "must be of type integer",
        ],
    ),
    case(
        "{collector: {scheduling: {nodeSelector: {'a b': c}}}}",
        &[
            "spec.collector.scheduling.nodeSelector: ",
            "must be a key such as \"kubernetes.io/arch\"",
        ],
    ),
    case(
        "{collector: {scheduling: {nodeSelector: {a: 'b c'}}}}",
        &[
            "spec.collector.scheduling.nodeSelector[a]: ",
            "must be letters, digits",
        ],
    ),
    case(
        "{collector: {scheduling: {tolerations: [{effect: NoSchedule}]}}}",
        &[
            "spec.collector.scheduling.tolerations[0]: ",
            "\"key\" is missing",
        ],
    ),
    case(
        "{collector: {scheduling: {tolerations: [{key: a, operator: Exists, value: b}]}}}",
        &[
            "spec.collector.scheduling.tolerations[0].value: ",
            "delete it",
        ],
    ),
    case(
        "{collector: {scheduling: {tolerations: [{key: a, tolerationSeconds: 5}]}}}",
        &[
            "spec.collector.scheduling.tolerations[0].tolerationSeconds: ",
            "requires `effect: NoExecute`",
        ],
    ),
    case(
        "{collector: {scheduling: {tolerations: [{key: a, effect: Never}]}}}",
        &[
            "spec.collector.scheduling.tolerations[0].effect: ",
            "supported values: \"NoSchedule\"",
        ],
    ),
    case(
        "{collector: {scheduling: {priorityClassName: Very High}}}",
        &[
            "spec.collector.scheduling.priorityClassName: ",
            "must be an object's name",
        ],
    ),
    case(
        "{collector: {pod: {env: [{name: 1A}]}}}",
        &[
            "spec.collector.pod.env[0].name: ",
            "must be the name of a variable",
        ],
    ),
    case(
        "{jaeger: {pod: {labels: {a: 'b c'}}}}",
        &["spec.jaeger.pod.labels[a]: ", "must be letters, digits"],
    ),
];
