//! The reason why a pod does not run, from what the kubelet and the scheduler report.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

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
/// The prefixes of the error with which the Collector and Jaeger, which is built on it, exit.
const ERROR_PREFIXES: [&str; 2] = ["finished with error: ", "Error: "];
/// The number of lines that are reported of a program without such an error.
const MAX_LAST_LINES: usize = 3;
/// The longest error that a message contains, in characters.
const MAX_ERROR_CHARS: usize = 1_000;

/// The reason why a pod fails. None while it runs or may still start.
#[must_use]
pub fn failure(pod: &Pod) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    let problem = containers(status)
        .find_map(waits_for)
        .or_else(|| unscheduled(status))?;
    Some(format!("pod {name}: {problem}"))
}

/// Returns true if a pod has failed at least once and is not ready since, or cannot be scheduled.
/// This is earlier than [`failure`], which leaves a first crash to the kubelet.
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
    containers(status).any(has_ended) || failure(pod).is_some()
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.container_statuses.iter().flatten()
}

fn waits_for(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if !FAILURES.contains(&reason) {
        return None;
    }
    // The kubelet's own message only counts the back-off.
    if let Some(words) = last_error(container) {
        return Some(format!("{reason}: {words}"));
    }
    let message = waiting.message.as_deref().unwrap_or_default();
    Some(format!("{reason} {message}").trim_end().to_owned())
}

/// The last lines of the container's log, which the kubelet keeps when a program ends with an
/// error.
fn last_error(container: &ContainerStatus) -> Option<String> {
    let ended = container.last_state.as_ref()?.terminated.as_ref()?;
    let lines: Vec<&str> = ended
        .message
        .as_ref()?
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let words = ERROR_PREFIXES.iter().find_map(|begin| {
        let (index, line) = lines
            .iter()
            .enumerate()
            .rfind(|(_, line)| line.contains(begin))?;
        let (_, first) = line.split_once(begin)?;
        let rest = lines.get(index + 1..).unwrap_or_default();
        Some([&[first], rest].concat())
    });
    let tail = lines.len().saturating_sub(MAX_LAST_LINES);
    let words = words.unwrap_or_else(|| lines.get(tail..).unwrap_or_default().to_vec());
    let words = words.join(" ");
    match words.char_indices().nth(MAX_ERROR_CHARS) {
        Some((end, _)) => Some(format!("{}…", words.get(..end)?)),
        None => (!words.is_empty()).then_some(words),
    }
}

fn unscheduled(status: &PodStatus) -> Option<String> {
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    let message = condition.message.as_deref();
    Some(message.unwrap_or("it cannot be scheduled").to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn pod(state: Value, last_message: Option<&str>) -> Pod {
        let last = last_message.map(
            |message| json!({"terminated": {"exitCode": 1, "reason": "Error", "message": message}}),
        );
        serde_json::from_value(json!({
            "metadata": {"name": "tracing-decide-1"},
            "status": {"containerStatuses": [{
                "name": "collector", "image": "", "imageID": "", "ready": false,
                "restartCount": 1, "state": state, "lastState": last.unwrap_or_default(),
            }]},
        }))
        .unwrap()
    }

    fn crashing(log: &str) -> String {
        let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        failure(&pod(state, Some(log))).unwrap()
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
        let said = crashing("one\ntwo\n\nthree\nfour\n");
        assert_eq!(
            said,
            "pod tracing-decide-1: CrashLoopBackOff: two three four"
        );
        assert!(crashing(&"é".repeat(5_000)).chars().count() < 1_100);
    }

    #[test]
    fn crash_without_log_has_the_kubelets_message() {
        let state = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        assert_eq!(
            failure(&pod(state, None)).unwrap(),
            "pod tracing-decide-1: ErrImagePull no such image"
        );
    }

    #[test]
    fn first_crash_counts_as_failed() {
        let starts = pod(json!({"waiting": {"reason": "ContainerCreating"}}), None);
        assert!(!has_failed(&starts) && failure(&starts).is_none());
        let ended = pod(json!({"terminated": {"exitCode": 1}}), None);
        assert!(has_failed(&ended) && failure(&ended).is_none());
        assert!(has_failed(&pod(json!({"running": {}}), Some("Error: no"))));
    }
}
