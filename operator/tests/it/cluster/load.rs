//! Load, sent from inside the cluster by pods with the image `spoor`.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    command::{borrowed, logs_until_end},
    lab::{Lab, STACK, image_tag},
    pods,
};
use crate::apiserver::eventually;

/// Duration for senders that the test stops: longer than any test.
pub const UNTIL_STOPPED: Duration = Duration::from_secs(900);
/// The time for a sender's telemetry to drain.
const DRAIN_SECONDS: u32 = 150;

/// A pod that sends load.
pub struct Sender<'lab> {
    lab: &'lab Lab,
    name: String,
    printed: JoinHandle<String>,
}

/// Summary that `spoor load` prints.
#[derive(Clone, Debug, Deserialize)]
pub struct Requests {
    pub requests: u64,
    pub failed: u64,
    pub unsent: u64,
    #[serde(rename = "latencyMilliseconds")]
    pub latency: Value,
}

/// Summary that `spoor generate` prints.
#[derive(Clone, Debug, Deserialize)]
pub struct Generated {
    pub traces: u64,
    pub spans: u64,
    pub exported: u64,
    pub dropped: BTreeMap<String, u64>,
    pub services: BTreeMap<String, Started>,
    /// The IDs of traces that [`identified_traces`] sends.
    #[serde(default, rename = "traceIds")]
    pub ids: TraceIds,
}

/// The IDs of generated traces.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceIds {
    pub with_error: Vec<String>,
    pub without_error: Vec<String>,
}

/// The generated traces that start at one service.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Started {
    pub traces: u64,
    pub errors: u64,
}

/// Sends requests to service-a that neither wait nor compute, at this rate and for this long.
pub async fn requests(lab: &Lab, rate: u32, lasts: Duration) -> Sender<'_> {
    let (rate, duration) = (rate.to_string(), format!("{}s", lasts.as_secs()));
    let load = ["load", "--url", "http://service-a:8080"];
    let path = ["--path", "/?wait=0ms&calc=0", "--connections", "64"];
    let pace = ["--rate", &rate, "--duration", &duration];
    start(lab, "load", &[&load[..], &path, &pace].concat(), &[]).await
}

/// Sends this many pictures to preprocessing, one after the other.
pub async fn images(lab: &Lab, pictures: u32) -> Sender<'_> {
    let pictures = pictures.to_string();
    let load = ["load", "images", "--url", "http://preprocessing:8084"];
    let pace = ["--requests", &pictures, "--connections", "1"];
    start(lab, "images", &[&load[..], &pace].concat(), &[]).await
}

/// Sends traces that start at each of these services in turn, one in twenty with an error.
pub async fn traces<'lab>(
    lab: &'lab Lab,
    services: &[&str],
    rate: u32,
    lasts: Duration,
    spread: Duration,
) -> Sender<'lab> {
    let arguments = generate_arguments(services, rate, lasts, spread);
    start(lab, "generate", &borrowed(&arguments), &[]).await
}

/// Sends traces like [`traces`] and lists their IDs, in requests of at most
/// [`IDENTIFIED_BATCH_SPANS`]. At no more than 150 traces per second and two services, the queues
/// have room for the two minutes after which the sender would drop spans.
pub async fn identified_traces<'lab>(
    lab: &'lab Lab,
    services: &[&str],
    rate: u32,
    lasts: Duration,
    shape: Shape,
) -> Sender<'lab> {
    let mut arguments = generate_arguments(services, rate, lasts, shape.spread);
    arguments.extend(["--trace-ids", "--error-in", shape.error_in].map(str::to_owned));
    let batch = IDENTIFIED_BATCH_SPANS.to_string();
    let environment = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch)];
    start(lab, "generate", &borrowed(&arguments), &environment).await
}

/// The shape of identified traces.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The time over which the spans of a trace end.
    pub spread: Duration,
    /// The span that has the error of a trace, as `spoor generate --error-in` names it.
    pub error_in: &'static str,
}

/// The most spans in a request with identified traces.
pub const IDENTIFIED_BATCH_SPANS: usize = 128;
/// The most requests that a sender has in flight for each service.
pub const REQUESTS_IN_FLIGHT: usize = 4;

/// The arguments of `spoor generate`.
fn generate_arguments(
    services: &[&str],
    rate: u32,
    lasts: Duration,
    spread: Duration,
) -> Vec<String> {
    let (duration, spread) = (lasts.as_secs(), spread.as_millis());
    let (duration, spread) = (format!("{duration}s"), format!("{spread}ms"));
    let (rate, spans) = (rate.to_string(), SPANS.to_string());
    let shape = ["--errors", "5%", "--spans", &spans, "--spread", &spread];
    let pace = ["--rate", &rate, "--duration", &duration];
    let services = services.iter().flat_map(|service| ["--service", *service]);
    let arguments = ["generate"].into_iter().chain(shape).chain(pace);
    arguments.chain(services).map(str::to_owned).collect()
}

/// Spans in each generated trace.
pub const SPANS: usize = 6;

impl Sender<'_> {
    /// Stops the sender gracefully: it starts no new request and completes those in flight.
    pub async fn stop(self) -> Self {
        let gracefully = DeleteParams::default().grace_period(DRAIN_SECONDS);
        let pods = pods::api(self.lab);
        pods.delete(&self.name, &gracefully).await.unwrap();
        self
    }

    /// Waits for the end of the load. Every request must have got a response.
    pub async fn answered(self) -> Requests {
        let sent: Requests = serde_json::from_str(&self.summary().await).unwrap();
        assert_eq!((sent.failed, sent.unsent), (0, 0), "{sent:?}");
        sent
    }

    /// Waits until all spans are exported. The sender must not have dropped any.
    pub async fn exported(self) -> Generated {
        let sent: Generated = serde_json::from_str(&self.summary().await).unwrap();
        // Without the IDs, of which there may be many.
        assert!(sent.dropped.is_empty(), "{:?}", sent.dropped);
        assert_eq!(sent.exported, sent.spans, "of {} traces", sent.traces);
        sent
    }

    /// Waits for the summary that the sender prints when it ends.
    async fn summary(self) -> String {
        let printed = self.printed.await.unwrap();
        pods::delete_now(self.lab, &self.name).await;
        let json = printed.lines().find(|line| line.starts_with('{'));
        json.unwrap_or_else(|| panic!("{} printed {printed:?}", self.name))
            .to_owned()
    }
}

/// Starts a pod and waits until it sends.
async fn start<'lab>(
    lab: &'lab Lab,
    what: &str,
    arguments: &[&str],
    environment: &[(&str, String)],
) -> Sender<'lab> {
    let pod = pod(lab.namespace, what, arguments, environment);
    let created = pods::api(lab)
        .create(&PostParams::default(), &pod)
        .await
        .unwrap();
    let name = created.metadata.name.unwrap();
    eventually("the sender's start", Duration::from_secs(60), || async {
        let pod = pods::api(lab).get(&name).await.map_err(|e| e.to_string())?;
        match pod.status.and_then(|status| status.phase).as_deref() {
            Some("Running" | "Succeeded") => Ok(()),
            phase => Err(format!("{phase:?}")),
        }
    })
    .await;
    let printed = tokio::spawn(logs_until_end(lab.namespace, name.clone()));
    Sender { lab, name, printed }
}

fn pod(namespace: &str, what: &str, arguments: &[&str], environment: &[(&str, String)]) -> Pod {
    let image = format!("spoor:{}", image_tag());
    let arguments = [arguments, &["--output", "json"]].concat();
    let resource = format!("service.namespace={namespace}");
    let mut env = vec![json!({"name": "OTEL_RESOURCE_ATTRIBUTES", "value": resource})];
    let variables = environment.iter();
    env.extend(variables.map(|(name, value)| json!({"name": name, "value": value})));
    let pod = json!({
        "metadata": {
            "generateName": format!("test-{what}-"),
            "labels": {pods::GENERATOR: "true"},
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": DRAIN_SECONDS,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": what,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "args": arguments,
                "envFrom": [{"configMapRef": {"name": format!("{STACK}-otel-env")}}],
                "env": env,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    });
    serde_json::from_value(pod).unwrap()
}
