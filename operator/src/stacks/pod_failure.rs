//! The reason why a pod does not run, from what the kubelet and the scheduler report.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus,
};
use spoor_policy::message::shortened;

/// The reasons for which a container waits after a failure.
const FAILURES: [&str; 7] = [
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
];
/// The reasons for which a container waits before it is created; the second one in a pod with init
/// containers.
const CREATING: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// The time for which a pod has to be ready after its last crash to count as recovered. In this
/// time the liveness probes, 6 at intervals of 10 s, end a program that hangs.
const MIN_READY_TIME: SignedDuration = SignedDuration::from_secs(60);
/// The age at which a crash is no longer reported. The kubelet resets its back-off by then.
const MAX_CRASH_AGE: SignedDuration = SignedDuration::from_mins(10);
/// The prefixes of the error with which the Collector and Jaeger, which is built on it, exit.
const ERROR_PREFIXES: [&str; 2] = ["finished with error: ", "Error: "];
/// The most log lines that are reported for a program that ends without such an error.
const MAX_LAST_LINES: usize = 3;
/// The longest error that a message contains, in characters.
const MAX_ERROR_CHARS: usize = 1_000;

/// The pods that are not being deleted.
pub fn not_terminating(pods: &[Pod]) -> impl Iterator<Item = &Pod> {
    pods.iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
}

/// The reason why a pod fails. None while it runs or may still start. A crash is reported until the
/// pod has recovered, including the seconds for which its program runs between two crashes.
#[must_use]
pub fn failure(pod: &Pod, now: Timestamp) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    let problem = present_problem(status).or_else(|| recent_crash(pod, now))?;
    Some(format!("pod {name}: {problem}"))
}

/// The time until a pod that is ready counts as recovered from a crash that is still reported.
#[must_use]
pub fn recovers_in(pod: &Pod, now: Timestamp) -> Option<Duration> {
    recent_crash(pod, now)?;
    let since = ready_since(pod)?;
    Duration::try_from(MIN_READY_TIME - now.duration_since(since)).ok()
}

/// The condition `Ready` of a pod.
#[must_use]
pub fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == "Ready")
}

/// Returns true if a pod has failed at least once and has not been ready since, or cannot be
/// scheduled. [`failure`] reports a pod later, since it ignores a first crash.
#[must_use]
pub fn has_failed(pod: &Pod) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let has_ended = |container: &ContainerStatus| {
        let states = [&container.state, &container.last_state];
        let mut ended = states.into_iter().flatten();
        !container.ready && ended.any(|state| state.terminated.is_some())
    };
    containers(status).any(has_ended) || present_problem(status).is_some()
}

/// Returns true if the kubelet has not yet created a container of a pod: it prepares the volumes,
/// or waits for objects that these need.
#[must_use]
pub fn is_being_created(pod: &Pod) -> bool {
    let is_waiting = |container: &ContainerStatus| {
        let state = container.state.as_ref();
        let waiting = state.and_then(|state| state.waiting.as_ref());
        let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
        reason.is_some_and(|reason| CREATING.contains(&reason))
    };
    let status = pod.status.as_ref();
    status.is_some_and(|status| containers(status).any(is_waiting))
}

fn present_problem(status: &PodStatus) -> Option<String> {
    containers(status)
        .find_map(waiting_failure)
        .or_else(|| unscheduled(status))
}

/// The error of the last crash of a pod that crashes repeatedly and has not recovered.
fn recent_crash(pod: &Pod, now: Timestamp) -> Option<String> {
    if ready_since(pod).is_some_and(|since| now.duration_since(since) >= MIN_READY_TIME) {
        return None;
    }
    containers(pod.status.as_ref()?).find_map(|container| {
        let ended = last_termination(container)?;
        let age = now.duration_since(ended.finished_at.as_ref()?.0);
        // The kubelet restarts a program immediately after its first crash, and backs off from the
        // second on.
        let is_repeated = container.restart_count > 1 && age < MAX_CRASH_AGE;
        let error = last_error(ended).map_or_else(String::new, |error| format!(": {error}"));
        is_repeated.then(|| format!("CrashLoopBackOff{error}"))
    })
}

/// The time at which a pod became ready, if it is.
fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = ready_condition(pod).filter(|condition| condition.status == "True")?;
    Some(ready.last_transition_time.as_ref()?.0)
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.container_statuses.iter().flatten()
}

fn waiting_failure(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if !FAILURES.contains(&reason) {
        return None;
    }
    // The kubelet's own message only names the delay of the back-off.
    let error = last_termination(container).and_then(last_error);
    let detail = error.or_else(|| waiting.message.clone());
    Some(detail.map_or_else(|| reason.to_owned(), |it| format!("{reason}: {it}")))
}

fn last_termination(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    container.last_state.as_ref()?.terminated.as_ref()
}

/// The error at the end of the container's log, or else its last lines. The kubelet keeps the end
/// of the log when a program ends with an error.
fn last_error(ended: &ContainerStateTerminated) -> Option<String> {
    let lines = ended.message.as_ref()?.lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let error = ERROR_PREFIXES.iter().find_map(|begin| {
        let mut numbered = lines.iter().enumerate();
        let (index, line) = numbered.rfind(|(_, line)| line.contains(begin))?;
        let (_, first) = line.split_once(begin)?;
        let rest = lines.get(index + 1..).unwrap_or_default();
        Some([&[first], rest].concat())
    });
    let tail = lines.len().saturating_sub(MAX_LAST_LINES);
    let error = error.unwrap_or_else(|| lines.get(tail..).unwrap_or_default().to_vec());
    let error = error.join(" ");
    (!error.is_empty()).then(|| shortened(&error, MAX_ERROR_CHARS).into_owned())
}

fn unscheduled(status: &PodStatus) -> Option<String> {
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    let message = condition.message.as_deref();
    Some(message.unwrap_or("the pod cannot be scheduled").to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:02:00Z".parse().unwrap()
    }

    fn pod(state: Value, last_message: Option<&str>) -> Pod {
        let last = last_message.map(|message| {
            json!({"terminated": {
                "exitCode": 1, "reason": "Error", "message": message,
                "finishedAt": "2026-01-01T00:00:00Z",
            }})
        });
        serde_json::from_value(json!({
            "metadata": {"name": "tracing-decide-1"},
            "status": {"containerStatuses": [{
                "name": "collector", "image": "", "imageID": "", "ready": false,
                "restartCount": 2, "state": state, "lastState": last.unwrap_or_default(),
            }]},
        }))
        .unwrap()
    }

    /// A pod that runs between two crashes, and has been ready since this time of day, if one is
    /// given.
    fn running(ready_since: Option<&str>) -> Pod {
        let mut pod = pod(json!({"running": {}}), Some("Error: no such exporter"));
        let status = pod.status.as_mut().unwrap();
        status.conditions = ready_since.map(|since| {
            let since = format!("2026-01-01T{since}Z");
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
            vec![serde_json::from_value(ready).unwrap()]
        });
        pod
    }

    fn crashing(log: &str) -> String {
        let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        failure(&pod(state, Some(log)), now()).unwrap()
    }

    #[test]
    fn crash_is_reported_until_the_pod_recovers() {
        let expected = Some("pod tracing-decide-1: CrashLoopBackOff: no such exporter");
        for ready_since in [None, Some("00:01:01")] {
            let pod = running(ready_since);
            assert_eq!(failure(&pod, now()).as_deref(), expected);
        }
        let left = recovers_in(&running(Some("00:01:01")), now());
        assert_eq!(left, Some(Duration::from_secs(1)));
        let recovered = running(Some("00:01:00"));
        assert_eq!(failure(&recovered, now()), None);
        assert_eq!(recovers_in(&recovered, now()), None);
    }

    #[test]
    fn old_or_single_crash_is_not_reported() {
        let old = now() + SignedDuration::from_mins(10);
        assert_eq!(failure(&running(None), old), None);
        let mut once = running(None);
        let status = once.status.as_mut().unwrap();
        status.container_statuses.as_mut().unwrap()[0].restart_count = 1;
        assert_eq!(failure(&once, now()), None);
    }

    #[test]
    fn crash_reports_the_collectors_error() {
        let log = "Error: failed to get config: cannot unmarshal the configuration: decoding failed \
                   due to the following error(s):\n\n'exporters' unknown type: \"kafkaa\"\n\
                   2026/01/01 00:00:00 collector server run finished with error: failed to get \
                   config: cannot unmarshal the configuration: decoding failed due to the following \
                   error(s):\n\n'exporters' unknown type: \"kafkaa\" for id: \"kafkaa\" (valid values: [debug])\n";
        assert_eq!(
            crashing(log),
            "pod tracing-decide-1: CrashLoopBackOff: failed to get config: cannot unmarshal the \
             configuration: decoding failed due to the following error(s): 'exporters' unknown type: \
             \"kafkaa\" for id: \"kafkaa\" (valid values: [debug])"
        );
    }

    #[test]
    fn crash_without_error_reports_the_last_lines() {
        let message = crashing("one\ntwo\n\nthree\nfour\n");
        assert_eq!(
            message,
            "pod tracing-decide-1: CrashLoopBackOff: two three four"
        );
        assert!(crashing(&"é".repeat(5_000)).chars().count() < 1_100);
    }

    #[test]
    fn crash_without_log_has_the_kubelets_message() {
        let state = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        assert_eq!(
            failure(&pod(state, None), now()).unwrap(),
            "pod tracing-decide-1: ErrImagePull: no such image"
        );
    }

    #[test]
    fn first_crash_counts_as_failed() {
        let starts = pod(json!({"waiting": {"reason": "ContainerCreating"}}), None);
        assert!(!has_failed(&starts) && failure(&starts, now()).is_none());
        let ended = pod(json!({"terminated": {"exitCode": 1}}), None);
        assert!(has_failed(&ended) && failure(&ended, now()).is_none());
        assert!(has_failed(&pod(json!({"running": {}}), Some("Error: no"))));
    }
}
