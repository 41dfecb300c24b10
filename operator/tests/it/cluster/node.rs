//! Faults that need the node: signals to its processes, and connections that it rejects.
//!
//! Scripts run as root in a shell of the node. By default that is this machine, as for the cluster
//! of `.ci/run`; `SPOOR_NODE_SHELL` names another one, such as `docker exec kind-control-plane sh`.

use std::{path::Path, process::Stdio, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use spoor_testing::programs::skip;
use tokio::process::Command;

use super::{command::succeed, lab::Lab, pods};

/// The API server's port, as on clusters of kubeadm and kind. API servers of other tests on the
/// same machine have other ports.
const API_SERVER_PORT: u16 = 6443;

/// Returns true if the shell sees the node's kubelet. Otherwise reports the test as skipped.
pub async fn has_shell(test: &str) -> bool {
    let (program, arguments) = shell();
    let find_kubelet = ["-c", "grep -qsx kubelet /proc/[0-9]*/comm"];
    let found = Command::new(&program)
        .args(arguments.iter().map(String::as_str).chain(find_kubelet))
        .stdin(Stdio::null())
        .output();
    let has_kubelet = found.await.is_ok_and(|output| output.status.success());
    if !has_kubelet {
        skip(test, "SPOOR_NODE_SHELL names no root shell of the node");
    }
    has_kubelet
}

/// Sends SIGKILL to the containers of the pods with these labels, as the kernel does if memory runs
/// out, and returns the number of pods. The kubelet starts the containers again in the same pods.
pub async fn kill_containers(lab: &Lab, labels: &str) -> usize {
    let pods = pods::list(lab, labels).await;
    for pod in &pods {
        for id in container_ids(pod) {
            // The ID is a part of the path of a container's control group.
            run(&format!(
                "killed=
                for group in /proc/[0-9]*/cgroup; do
                    grep -qs {id} $group || continue
                    process=${{group#/proc/}}
                    kill -KILL ${{process%/cgroup}} && killed=1
                done
                [ -n \"$killed\" ] || {{ echo no process of container {id} >&2; exit 1; }}"
            ))
            .await;
        }
    }
    pods.len()
}

/// Rejects connections to a port of the pods with these labels for some time. The pods continue,
/// and their probes, which come from the node itself, succeed.
pub async fn reject_connections(lab: &Lab, labels: &str, port: u16, lasts: Duration) {
    let pods = pods::list(lab, labels).await;
    let addresses = pods.iter().map(|pod| {
        let status = pod.status.as_ref().unwrap();
        status.pod_ip.clone().unwrap()
    });
    let addresses: Vec<String> = addresses.collect();
    run(&format!(
        "set -e
        rule='--protocol tcp --destination {} --destination-port {port} --jump REJECT --reject-with tcp-reset'
        iptables --wait --insert FORWARD $rule
        trap 'iptables --wait --delete FORWARD $rule' EXIT
        sleep {}",
        addresses.join(","),
        lasts.as_secs()
    ))
    .await;
}

/// Stops the API server's process, and lets it continue after some time, even if the test ends
/// before that.
pub async fn pause_api_server(lasts: Duration) {
    let script = format!(
        "paused=
        for process in /proc/[0-9]*; do
            [ \"$(cat $process/comm 2>/dev/null)\" = kube-apiserver ] || continue
            tr '\\0' '\\n' <$process/cmdline | grep -qx -e --secure-port={API_SERVER_PORT} || continue
            paused=\"$paused ${{process#/proc/}}\"
        done
        [ -n \"$paused\" ] || {{ echo no API server on port {API_SERVER_PORT} >&2; exit 1; }}
        trap \"kill -CONT $paused\" EXIT
        kill -STOP $paused
        sleep {}",
        lasts.as_secs()
    );
    let (program, arguments) = shell();
    // Without `kill_on_drop`: nothing else would let the process continue.
    let output = Command::new(&program)
        .args(arguments.iter().map(String::as_str).chain(["-c", &script]))
        .stdin(Stdio::null())
        .output();
    let output = output.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
}

async fn run(script: &str) {
    let (program, arguments) = shell();
    let arguments = arguments.iter().map(String::as_str).chain(["-c", script]);
    succeed(Path::new(&program), &arguments.collect::<Vec<_>>(), "").await;
}

/// The shell of the node, and the arguments before those of the shell itself.
fn shell() -> (String, Vec<String>) {
    let shell = std::env::var("SPOOR_NODE_SHELL").unwrap_or_else(|_| "sh".to_owned());
    let mut words = shell.split_whitespace().map(str::to_owned);
    let program = words.next().expect("SPOOR_NODE_SHELL names a program");
    (program, words.collect())
}

/// The IDs of a pod's running containers, without their runtime.
fn container_ids(pod: &Pod) -> Vec<String> {
    let status = pod.status.iter();
    let containers = status.flat_map(|status| status.container_statuses.iter().flatten());
    let ids = containers.filter_map(|container| {
        let (_runtime, id) = container.container_id.as_ref()?.split_once("://")?;
        Some(id.to_owned())
    });
    ids.collect()
}
