//! A program of docs/sdks.md, running beside a lab.

use std::path::PathBuf;

use super::{
    page::{Language, settings},
    service::Service,
};
use crate::{
    lab::{Lab, eventually},
    lessons::script::with_ports_of,
};

pub struct Example {
    pub language: Language,
    pub lab: Lab,
    /// A copy of the parts of the repository that the page's commands use.
    folder: PathBuf,
}

impl Example {
    pub async fn new(language: Language) -> Self {
        Self {
            folder: language.checkout(),
            lab: Lab::start_with(&["--services", "service-b"]).await,
            language,
        }
    }

    /// Installs and starts the program as the page describes.
    pub fn start(&self) -> Service {
        let commands = format!("{}{}", settings(), self.language.commands());
        Service::start(&self.folder, &with_ports_of(&self.lab, &commands))
    }

    /// Starts the program, already installed, with other settings.
    pub fn start_with(&self, changed: &[(&str, &str)]) -> Service {
        let changed: String = changed
            .iter()
            .map(|(name, value)| format!("export {name}='{value}'\n"))
            .collect();
        let settings = with_ports_of(&self.lab, &settings());
        let commands = format!("{settings}{changed}{}", self.language.start());
        Service::start(&self.folder, &commands)
    }

    /// Applies a policy for the program's service.
    pub async fn apply_head(&self, head: &str) {
        let service = self.language.service();
        let policy = format!(
            "apiVersion: spoor.dev/v1alpha1\n\
             kind: SamplingPolicy\n\
             metadata:\n  name: {service}\n\
             spec:\n  targets:\n  - service: {service}\n  head:\n    {head}\n"
        );
        self.lab.ok_with_input(&policy, &["apply", "-f", "-"]).await;
    }

    /// Waits until the program counts as `polling`.
    pub async fn wait_until_polling(&self) {
        let service = self.language.service();
        let clients = || async {
            let get = ["get", "policies", &service, "-o", "json"];
            self.lab.json(&get).await["status"]["clients"].clone()
        };
        let clients = eventually("the program polls", clients, |clients| {
            clients["polling"] == 1
        })
        .await;
        assert_eq!(clients["current"], 0, "{clients:#}");
    }

    /// Waits until its traces arrive, with the name and attribute from its settings.
    pub async fn wait_for_traces(&self) {
        let (traces, service) = (self.lab.url("traces"), self.language.service());
        let url = format!("{traces}/api/traces?service={service}&limit=1");
        let tags = || async {
            let found: serde_json::Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
            found["data"][0]["processes"]["p1"]["tags"].to_string()
        };
        let attribute = r#""key":"deployment.environment.name","type":"string","value":"laptop""#;
        eventually("its traces", tags, |tags| tags.contains(attribute)).await;
    }

    /// The number of traces that the tail rules decided in this way.
    pub async fn decided(&self, decision: &str) -> f64 {
        let url = format!("{}/metrics", self.lab.url("admin"));
        let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
        let name = format!("spoor_traces_traces_decided_total{{decision=\"{decision}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
        let value = value.unwrap_or_else(|| panic!("no {name}"));
        value.parse().unwrap()
    }
}
