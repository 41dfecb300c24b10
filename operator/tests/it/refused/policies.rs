//! `SamplingPolicy`.

use spoor_api::KeepRule;

use super::{Case, case, validators::Validators};

const REFUSED: &[Case] = &[
    // Missing or contradictory parts.
    case(
        "{}",
        &[
            "spec: ",
            "must have \"head\", \"tail\" or both, such as `head: {probability: 1%}`",
        ],
    ),
    case(
        "{priority: 3}",
        &["spec: ", "must have \"head\", \"tail\" or both"],
    ),
    case("{hed: {probability: 1%}}", &["unknown field \"spec.hed\""]),
    case(
        "{head: {}}",
        &[
            "spec.head: ",
            "must have one of \"probability\" and \"rateLimit\", such as `probability: 1%`",
        ],
    ),
    case(
        "{head: {probability: 1%, rateLimit: {tracesPerSecond: 1}}}",
        &["spec.head: ", "not both; delete one"],
    ),
    // Probabilities.
    case(
        "{head: {probability: 1}}",
        &["spec.head.probability: ", "must be of type string"],
    ),
    case(
        "{head: {probability: '1'}}",
        &[
            "spec.head.probability: ",
            "must be a percentage such as \"1%\"",
        ],
    ),
    case(
        "{head: {probability: 0.01}}",
        &["spec.head.probability: ", "must be of type string"],
    ),
    case(
        "{head: {probability: '.5%'}}",
        &["spec.head.probability: ", "must be a percentage"],
    ),
    case(
        "{head: {probability: ' 1%'}}",
        &["spec.head.probability: ", "must be a percentage"],
    ),
    case(
        "{head: {probability: 1 %}}",
        &["spec.head.probability: ", "must be a percentage"],
    ),
    case(
        "{head: {probability: 101%}}",
        &["spec.head.probability: ", "must be from \"0%\" to \"100%\""],
    ),
    case(
        "{head: {probability: 100.0001%}}",
        &["spec.head.probability: ", "must be from \"0%\" to \"100%\""],
    ),
    case(
        "{head: {probability: -1%}}",
        &["spec.head.probability: ", "must be from \"0%\" to \"100%\""],
    ),
    case(
        "{head: {probability: 0.00001%}}",
        &["spec.head.probability: ", "at most 4 decimal places"],
    ),
    case(
        "{head: {probability: 1.000000000000000%}}",
        &["spec.head.probability: ", "may not be more than 16"],
    ),
    case(
        "{tail: {otherwise: 200%}}",
        &["spec.tail.otherwise: ", "must be from \"0%\" to \"100%\""],
    ),
    case("{tail: {}}", &["spec.tail.otherwise: ", "Required value"]),
    // Rate limits.
    case(
        "{head: {rateLimit: {}}}",
        &["spec.head.rateLimit.tracesPerSecond: ", "Required value"],
    ),
    case(
        "{head: {rateLimit: {tracesPerSecond: 0}}}",
        &[
            "spec.head.rateLimit.tracesPerSecond",
            "greater than or equal to 1",
        ],
    ),
    case(
        "{head: {rateLimit: {tracesPerSecond: 1000001}}}",
        &[
            "spec.head.rateLimit.tracesPerSecond",
            "less than or equal to 1000000",
        ],
    ),
    case(
        "{head: {rateLimit: {tracesPerSecond: 0.5}}}",
        &["spec.head.rateLimit.tracesPerSecond", "integer"],
    ),
    // Targets.
    case(
        "{head: {probability: 1%}, targets: [{}]}",
        &["spec.targets[0].service: ", "Required value"],
    ),
    case(
        "{head: {probability: 1%}, targets: [{service: ''}]}",
        &["spec.targets[0].service", "at least 1 chars long"],
    ),
    case(
        "{head: {probability: 1%}, targets: [{service: a}, {service: a}]}",
        &["spec.targets[1]: ", "Duplicate value", "\"service\":\"a\""],
    ),
    case(
        "{head: {probability: 1%}, targets: [{service: a, operations: [x, x]}]}",
        &["spec.targets[0].operations[1]: ", "Duplicate value: \"x\""],
    ),
    case(
        "{head: {probability: 1%}, targets: [{service: a, operations: ['']}]}",
        &["spec.targets[0].operations[0]", "at least 1 chars long"],
    ),
    case(
        "{head: {probability: 1%}, targets: [{service: \"a\\tb\"}]}",
        &[
            "spec.targets[0].service: ",
            "must not contain control characters",
        ],
    ),
    case(
        "{head: {probability: 1%}, targets: [{servce: a, service: a}]}",
        &["unknown field \"spec.targets[0].servce\""],
    ),
    case(
        "{head: {probability: 1%}, targets: service-a}",
        &["spec.targets: ", "must be of type array"],
    ),
    // Rules.
    case(
        "{tail: {otherwise: 1%, keep: [{name: a}]}}",
        &[
            "spec.tail.keep[0]: ",
            "must have one of \"error\", \"slowerThan\" and \"attribute\", such as `error: {}`",
        ],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{error: {}}]}}",
        &["spec.tail.keep[0].name: ", "Required value"],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: a, error: {}, slowerThan: 1s}]}}",
        &[
            "spec.tail.keep[0]: ",
            "must have only one of",
            "split it into several rules",
        ],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: a, error: {}}, {name: a, error: {}}]}}",
        &["spec.tail.keep[1]: ", "Duplicate value", "\"name\":\"a\""],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: Errors, error: {}}]}}",
        &[
            "spec.tail.keep[0].name: ",
            "must be lower-case letters, digits and '-'",
        ],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: a, slowerThan: soon}]}}",
        &[
            "spec.tail.keep[0].slowerThan: ",
            "must be a duration such as \"500ms\", \"2s\" or \"1m30s\"",
        ],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: a, slowerThan: 1.5s}]}}",
        &["spec.tail.keep[0].slowerThan: ", "must be a duration"],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: a, slowerThan: 0s}]}}",
        &["spec.tail.keep[0].slowerThan: ", "must be from 1ms to 1h"],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: a, slowerThan: 61m}]}}",
        &["spec.tail.keep[0].slowerThan: ", "must be from 1ms to 1h"],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: a, attribute: {values: [x]}}]}}",
        &["spec.tail.keep[0].attribute.key: ", "Required value"],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: a, attribute: {key: k, values: []}}]}}",
        &["spec.tail.keep[0].attribute.values", "at least 1 items"],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: a, attribute: {key: k, values: [x, x]}}]}}",
        &[
            "spec.tail.keep[0].attribute.values[1]: ",
            "Duplicate value: \"x\"",
        ],
    ),
    case(
        "{tail: {otherwise: 1%, keep: [{name: a, attribute: {key: k, values: [1]}}]}}",
        &[
            "spec.tail.keep[0].attribute.values[0]: ",
            "must be of type string",
        ],
    ),
    // The rest.
    case(
        "{head: {probability: 1%}, expiresAt: tomorrow}",
        &[
            "spec.expiresAt: ",
            "must be a time such as \"2027-01-01T12:00:00Z\"",
        ],
    ),
    case(
        "{head: {probability: 1%}, expiresAt: '2027-01-01'}",
        &[
            "spec.expiresAt: ",
            "must be a time such as \"2027-01-01T12:00:00Z\"",
        ],
    ),
    case(
        "{head: {probability: 1%}, expiresAt: '2027-02-30T12:00:00Z'}",
        &["spec.expiresAt: ", "that day does not exist"],
    ),
    case(
        "{head: {probability: 1%}, priority: 3000000000}",
        &["spec.priority", "less than or equal to 2147483647"],
    ),
    case(
        "{head: {probability: 1%}, priority: high}",
        &["spec.priority: ", "must be of type integer"],
    ),
];

const ACCEPTED: &[&str] = &[
    "{head: {probability: 0%}}",
    "{head: {probability: 100%}}",
    "{head: {probability: 100.0000%}}",
    "{head: {probability: 0.0001%}}",
    "{head: {probability: 001%}}",
    "{head: {rateLimit: {tracesPerSecond: 1}}}",
    "{head: {rateLimit: {tracesPerSecond: 1000000}}}",
    "{head: {probability: 1%}, priority: -2147483648}",
    "{head: {probability: 1%}, priority: 2147483647}",
    "{head: {probability: 1%}, targets: [], expiresAt: '2028-02-29T23:59:59.999999999+14:00'}",
    "{head: {probability: 1%}, expiresAt: '1999-12-31T00:00:00Z'}",
    "{head: {probability: 1%}, targets: [{service: a, operations: ['GET /', 'POST /käse/{id}']}, {service: A B}]}",
    "{tail: {otherwise: 0%}}",
    "{tail: {otherwise: 1%, keep: [{name: a, error: {}}]}}",
    "{tail: {otherwise: 100%, keep: [{name: a, slowerThan: 1ms}, {name: b, slowerThan: 1h}, {name: c, slowerThan: 59m59s999ms}]}}",
    "{tail: {otherwise: 1%, keep: [{name: a-0, attribute: {key: k, values: ['', ' ', true-ish]}}]}}",
    "{head: {probability: 1%, rateLimit: null}, tail: null}",
];

#[test]
fn every_condition_is_tried() {
    for field in KeepRule::CONDITIONS {
        let has_field = |spec: &str| spec.contains(&format!("{field}: "));
        assert!(REFUSED.iter().any(|case| has_field(case.spec)), "{field}");
        assert!(ACCEPTED.iter().any(|spec| has_field(spec)), "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_policies_name_field_and_fix() {
    let Some(validators) = Validators::of("SamplingPolicy", "refused policies").await else {
        return;
    };
    validators.assert_refused(REFUSED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extreme_policies_are_accepted() {
    let Some(validators) = Validators::of("SamplingPolicy", "accepted policies").await else {
        return;
    };
    validators.assert_accepted(ACCEPTED).await;
    let most = largest();
    validators.assert_accepted(&[&most]).await;
}

/// As many targets, operations, rules and values as are allowed, with long names.
fn largest() -> String {
    let long = |prefix: String, length: usize| format!("{prefix:x<length$}");
    let list = |entries: Vec<String>| format!("[{}]", entries.join(", "));
    let targets = (0..64).map(|target| {
        let operations = (0..64).map(|at| long(format!("o{at}-"), 200)).collect();
        format!(
            "{{service: {}, operations: {}}}",
            long(format!("s{target}-"), 253),
            list(operations)
        )
    });
    let keep = (0..32).map(|rule| {
        let values = (0..64).map(|at| long(format!("v{at}-"), 200)).collect();
        format!(
            "{{name: {}, attribute: {{key: {}, values: {}}}}}",
            long(format!("r{rule}-"), 63),
            long("k".to_owned(), 256),
            list(values)
        )
    });
    format!(
        "{{head: {{probability: 1%}}, targets: {}, tail: {{otherwise: 1%, keep: {}}}}}",
        list(targets.collect()),
        list(keep.collect())
    )
}
