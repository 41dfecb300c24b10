//! The programs of docs/sdks.md in pods that have nothing but `NAME-otel-env`, their name, and
//! their label: they follow a policy.
//!
//! `SPOOR_SDK_IMAGE` names the image that `.ci/sdk-image` builds.

use std::{ops::RangeInclusive, time::Duration};

use kube::api::{LogParams, PostParams};
use serde_json::{Value, json};
use spoor_testing::programs::skip;
use tokio::time::Instant;

use super::{
    lab::{Lab, STACK},
    pods, policies,
};
use crate::apiserver::eventually;

const IMAGE: &str = "SPOOR_SDK_IMAGE";
/// Time for a runtime to start and poll twice on a busy machine.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(90);

/// Services, which are policies' targets, and the programs' commands in the image.
const SERVICES: [(&str, &[&str]); 3] = [
    ("example-go", &["/sdks/go"]),
    (
        "example-java",
        &["java", "-cp", "/sdks/java:/sdks/java/*", "Service"],
    ),
    (
        "example-javascript",
        &["node", "/sdks/javascript/service.mjs"],
    ),
];
/// Rates of a policy for all of them, each with the accepted numbers of sampled traces out of 1000.
/// For 10 % the bounds are more than 5 standard deviations away.
const STEPS: [(&str, RangeInclusive<u64>); 3] =
    [("0%", 0..=0), ("10%", 50..=150), ("100%", 1000..=1000)];

#[tokio::test(flavor = "multi_thread")]
async fn sdks_follow_policies_with_otel_env_alone() {
    let Ok(image) = std::env::var(IMAGE) else {
        skip(
            "sdks_follow_policies_with_otel_env_alone",
            &format!("{IMAGE} is not set"),
        );
        return;
    };
    let Some(lab) = Lab::installed("SDKs").await else {
        return;
    };
    for (service, command) in SERVICES {
        let pod = serde_json::from_value(pod(service, &image, command)).unwrap();
        pods::api(&lab)
            .create(&PostParams::default(), &pod)
            .await
            .unwrap();
    }
    for (probability, sampled) in STEPS {
        let applied = Instant::now();
        policies::apply(&lab, "sdks", &head(probability)).await;
        for (service, _) in SERVICES {
            wait_until_followed(&lab, service, &sampled).await;
            lab.log(format_args!(
                "{service} samples at {probability} {:.1} s after kubectl was started",
                applied.elapsed().as_secs_f64()
            ));
        }
    }
    let all_poll = |policy: &Value| policy["status"]["clients"]["polling"] == SERVICES.len();
    let policy = policies::until(&lab, "sdks", "three clients that poll", all_poll).await;
    let clients = &policy["status"]["clients"];
    lab.log(clients);
    assert_eq!(clients["expected"], SERVICES.len(), "{clients}");
    for (service, _) in SERVICES {
        pods::delete_now(&lab, service).await;
    }
}

/// Waits until the number of sampled traces among a service's latest 1000 is in this range.
async fn wait_until_followed(lab: &Lab, service: &str, sampled: &RangeInclusive<u64>) {
    eventually(service, FOLLOWS_WITHIN, || async {
        let latest = LogParams {
            tail_lines: Some(3),
            ..LogParams::default()
        };
        let log = pods::api(lab).logs(service, &latest).await;
        let log = log.map_err(|error| error.to_string())?;
        let lines = log.lines().rev();
        let mut counts = lines.filter_map(|line| line.strip_suffix(" of 1000 traces sampled"));
        match counts.next().map(str::parse) {
            Some(Ok(count)) if sampled.contains(&count) => Ok(()),
            _ => Err(log),
        }
    })
    .await;
}

fn head(probability: &str) -> Value {
    let targets = SERVICES.map(|(service, _)| json!({"service": service}));
    json!({"targets": targets, "head": {"probability": probability}})
}

fn pod(service: &str, image: &str, command: &[&str]) -> Value {
    json!({
        "metadata": {
            "name": service,
            "labels": {pods::GENERATOR: "true", "spoor.dev/service": service},
        },
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": service,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": command,
                "envFrom": [{"configMapRef": {"name": format!("{STACK}-otel-env")}}],
                "env": [{"name": "OTEL_SERVICE_NAME", "value": service}],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}
