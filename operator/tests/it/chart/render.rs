//! The chart as Helm renders it.

use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::Value;
use spoor_testing::programs::skip;

use crate::role::chart::helm;

pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../helm/spoor");

/// Returns true if Helm is available. Without it the test passes with a message; with
/// `SPOOR_REQUIRE_ALL=1` it fails.
pub fn has_helm(test: &str) -> bool {
    if helm().is_some() {
        return true;
    }
    skip(test, "no helm on the PATH, and none in HELM");
    false
}

/// A release of the chart.
#[derive(Clone, Copy)]
pub struct Release {
    pub name: &'static str,
    pub namespace: &'static str,
}

const RELEASE: Release = Release {
    name: "spoor",
    namespace: "lab",
};

impl Release {
    /// Its objects, with these values.
    pub fn objects(self, values: &[&str]) -> Vec<Value> {
        self.objects_with_kinds(values, &[])
    }

    /// Its objects on a cluster that also has these kinds, `GROUP/VERSION/KIND`.
    fn objects_with_kinds(self, values: &[&str], kinds: &[&str]) -> Vec<Value> {
        let mut command = self.command("template", values);
        for kind in kinds {
            command.args(["--api-versions", kind]);
        }
        let rendered = succeeded(&command.output().unwrap());
        let documents = serde_yaml::Deserializer::from_str(&rendered);
        let objects = documents.map(|document| Value::deserialize(document).unwrap());
        objects.filter(|object| !object.is_null()).collect()
    }

    fn run(self, verb: &str, values: &[&str]) -> Output {
        self.command(verb, values).output().unwrap()
    }

    fn command(self, verb: &str, values: &[&str]) -> Command {
        let mut command = Command::new(helm().unwrap());
        command.args([verb, self.name, CHART, "--namespace", self.namespace]);
        if verb == "install" {
            command.arg("--dry-run=client");
        }
        for value in values {
            command.args(["--set", value]);
        }
        command
    }
}

/// The objects of a release `spoor` in the namespace `lab`, with these values.
pub fn objects(values: &[&str]) -> Vec<Value> {
    RELEASE.objects(values)
}

/// The objects on a cluster that also has these kinds, `GROUP/VERSION/KIND`.
pub fn objects_with_kinds(values: &[&str], kinds: &[&str]) -> Vec<Value> {
    RELEASE.objects_with_kinds(values, kinds)
}

/// Helm's message about values that it refuses.
pub fn refusal(values: &[&str]) -> String {
    let output = RELEASE.run("template", values);
    assert!(!output.status.success(), "{values:?} are accepted");
    String::from_utf8(output.stderr).unwrap()
}

/// The notes that Helm prints after an installation.
pub fn notes(values: &[&str]) -> String {
    let printed = succeeded(&RELEASE.run("install", values));
    let (_, notes) = printed.split_once("NOTES:").unwrap();
    notes.to_owned()
}

fn succeeded(output: &Output) -> String {
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm: {problem}");
    String::from_utf8(output.stdout.clone()).unwrap()
}
