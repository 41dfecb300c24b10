//! Runs scripts that were written for a lab on the default ports in a lab on other ports.

use std::path::Path;

use crate::lab::{Ended, Lab, command_of, run as run_command};

/// The default ports of a lab's own listeners.
const DEFAULT_PORTS: [(&str, &str); 6] = [
    ("otlp-grpc", "4317"),
    ("otlp-http", "4318"),
    ("traces", "16686"),
    ("sampling-http", "5778"),
    ("sampling-grpc", "5779"),
    ("admin", "16600"),
];
/// The services that lessons call, or whose metrics they read.
const SERVICE_PORTS: [(&str, &str); 7] = [
    ("service-a", "8080"),
    ("gateway", "8081"),
    ("bands", "8082"),
    ("tasks", "8083"),
    ("tasks-ops", "9474"),
    ("preprocessing", "8084"),
    ("reviews", "9007"),
];
const HOST: &str = "127.0.0.1:";

/// Runs a script with `spoor` on its path, in the repository's folder, with only the ports changed.
pub async fn run(lab: &Lab, script: &str, arguments: &[&str]) -> Ended {
    let program = Path::new(env!("CARGO_BIN_EXE_spoor")).parent().unwrap();
    let path = format!(
        "{}:{}",
        program.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut bash = command_of("bash");
    bash.arg("-s")
        .arg("--")
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .env("PATH", path)
        .env("RUST_LOG", "error")
        .env("NO_COLOR", "1")
        // For the progress.
        .env("XDG_STATE_HOME", lab.folder())
        .env("SPOOR_LAB", lab.url("admin"))
        .env("SPOOR_TRACES_URL", lab.url("traces"));
    run_command(&mut bash, &with_ports_of(lab, script)).await
}

/// A script with the default ports replaced by those of a lab.
pub fn with_ports_of(lab: &Lab, script: &str) -> String {
    let mut replaced = String::new();
    let mut parts = script.split(HOST);
    replaced += parts.next().unwrap_or_default();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (port, rest) = part.split_at(digits);
        let known = DEFAULT_PORTS
            .iter()
            .chain(&SERVICE_PORTS)
            .find(|(_, default)| *default == port);
        let (name, _) = known.unwrap_or_else(|| panic!("no lab listens at {HOST}{port}"));
        replaced += lab.url(name).trim_start_matches("http://");
        replaced += rest;
    }
    replaced
}

/// The commands of a text: its blocks marked `sh`, in order, as in one terminal.
pub fn shell_commands(text: &str) -> String {
    blocks(text, "sh")
}

/// The lines of a text's blocks that are marked with a language, such as `go`.
pub fn blocks(text: &str, language: &str) -> String {
    let start = format!("```{language}");
    let mut lines = String::new();
    let mut in_block = false;
    for line in text.lines() {
        match line {
            line if line == start => in_block = true,
            "```" => in_block = false,
            line if in_block => lines += &format!("{line}\n"),
            _ => {}
        }
    }
    lines
}
