//! The programs that users run: kubectl and helm.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command};

/// Time for a command that waits on the cluster by itself, such as `helm test`.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);

/// Runs kubectl, which must succeed, and returns its output.
pub async fn kubectl(arguments: &[&str]) -> String {
    succeed(&program("KUBECTL", "kubectl"), arguments, "").await
}

/// Borrows arguments, as [`kubectl`] and [`helm`] take them.
pub fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Runs kubectl with this standard input.
pub async fn kubectl_given(input: &str, arguments: &[&str]) -> String {
    succeed(&program("KUBECTL", "kubectl"), arguments, input).await
}

/// Returns a pod's output once its container has ended, however long that takes. Starts again if
/// the API server is unavailable, unless the pod no longer exists.
pub async fn logs_until_end(namespace: &str, pod: String) -> String {
    const RETRY_DELAY: Duration = Duration::from_secs(1);
    loop {
        let mut logs = Command::new(program("KUBECTL", "kubectl"));
        let output = logs
            .args(["logs", "--follow", &pod, "--namespace", namespace])
            .kill_on_drop(true)
            .output();
        let output = output.await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        if output.status.success() || errors.contains("(NotFound)") {
            return format!("{}{errors}", String::from_utf8_lossy(&output.stdout));
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Runs Helm, which must succeed, and returns its output.
pub async fn helm(arguments: &[&str]) -> String {
    succeed(&program("HELM", "helm"), arguments, "").await
}

/// Runs Helm, which must fail, and returns its output.
pub async fn helm_fails(arguments: &[&str]) -> String {
    let process = Command::new(program("HELM", "helm"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(COMMAND_TIMEOUT, process).await;
    let output = output.expect("helm is still running").unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(!output.status.success(), "helm {arguments:?}: {printed}");
    printed
}

/// Runs a program without async, as `Drop` needs. Returns its output, or the reason why it failed.
pub fn run_blocking(variable: &str, name: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program(variable, name))
        .args(arguments)
        .output();
    match output {
        Ok(output) => format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => format!("{name}: {error}\n"),
    }
}

/// The first requirement of the tests that is missing, if any.
pub fn missing() -> Option<String> {
    let Some(kubeconfig) = std::env::var_os("KUBECONFIG") else {
        return Some("KUBECONFIG is not set".to_owned());
    };
    if !Path::new(&kubeconfig).is_file() {
        return Some(format!(
            "KUBECONFIG names no file: {}",
            kubeconfig.display()
        ));
    }
    [("KUBECTL", "kubectl"), ("HELM", "helm")]
        .into_iter()
        .find(|(variable, name)| !exists(&program(variable, name)))
        .map(|(variable, name)| format!("no {name} on the PATH, and none in {variable}"))
}

/// A file of the repository.
pub fn in_repository(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join(path).to_str().unwrap().to_owned()
}

/// The program that a variable names, else the one on the `PATH`.
pub fn program(variable: &str, name: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(name), PathBuf::from)
}

fn exists(program: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    program.is_file() || std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs a program with this standard input, which must succeed, and returns its output.
pub async fn succeed(program: &Path, arguments: &[&str], input: &str) -> String {
    let mut process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    // A program that does not read its input may have ended already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(COMMAND_TIMEOUT, process.wait_with_output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("{} {arguments:?}: still running", program.display()))
        .unwrap();
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}\n{}{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
