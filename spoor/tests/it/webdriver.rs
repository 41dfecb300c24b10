//! A browser, driven over WebDriver.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use crate::lab::{DEADLINE, command_of};

const FLAGS: [&str; 8] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser window.
pub struct Browser {
    session: String,
    http: reqwest::Client,
    _driver: Child,
    _profile: TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        let mut driver = command_of("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("a line with the port");
            if let Some(at) = line.find("successfully on port ") {
                let digits: String = line[at + 21..]
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect();
                break digits;
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let profile = tempfile::tempdir().unwrap();
        let data = format!("--user-data-dir={}", profile.path().display());
        let flags: Vec<&str> = FLAGS.iter().copied().chain([data.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let http = reqwest::Client::builder()
            .timeout(2 * DEADLINE)
            .build()
            .unwrap();
        let base = format!("http://127.0.0.1:{port}/session");
        let made: Value = http
            .post(&base)
            .json(&wanted)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let id = made["value"]["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("{made:#}"));
        Self {
            session: format!("{base}/{id}"),
            http,
            _driver: driver,
            _profile: profile,
        }
    }

    pub async fn open(&self, url: &str) {
        self.post("url", json!({ "url": url })).await;
    }

    /// Runs before the page's own scripts.
    pub async fn run_in_each_page(&self, script: &str) {
        let command = "Page.addScriptToEvaluateOnNewDocument";
        let body = json!({"cmd": command, "params": {"source": script}});
        self.post("goog/cdp/execute", body).await;
    }

    pub async fn run(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.post("execute/sync", body).await
    }

    pub async fn text(&self, selector: &str) -> String {
        let element = self.element(selector).await;
        let url = format!("{}/element/{element}/text", self.session);
        let response: Value = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        // An element that a navigation has just removed has no text.
        response["value"].as_str().unwrap_or_default().to_owned()
    }

    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.post(&format!("element/{element}/value"), json!({ "text": text }))
            .await;
    }

    /// Presses and releases each key, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let press = |key: char| {
            let event = |kind: &str| json!({"type": kind, "value": key.to_string()});
            [event("keyDown"), event("keyUp")]
        };
        let events: Vec<Value> = keys.chars().flat_map(press).collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": events});
        self.post("actions", json!({ "actions": [keyboard] })).await;
    }

    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("element/{element}/click"), json!({}))
            .await;
    }

    /// The errors that the pages caused in the browser: blocked scripts, missing files.
    pub async fn errors(&self) -> Vec<String> {
        let entries = self.post("se/log", json!({"type": "browser"})).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    pub async fn quit(self) {
        self.http.delete(&self.session).send().await.unwrap();
    }

    async fn element(&self, selector: &str) -> String {
        let wanted = json!({"using": "css selector", "value": selector});
        let deadline = Instant::now() + DEADLINE;
        loop {
            let response = self.send("element", &wanted).await;
            let found = response["value"]
                .as_object()
                .and_then(|value| value.values().next());
            match found.and_then(Value::as_str) {
                Some(id) if response["value"]["error"].is_null() => return id.to_owned(),
                _ => assert!(Instant::now() < deadline, "{selector}: {response:#}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let response = self.send(path, &body).await;
        assert!(response["value"]["error"].is_null(), "{path}: {response:#}");
        response["value"].clone()
    }

    /// The driver's response, which may be an error.
    async fn send(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/{path}", self.session);
        let sent = self.http.post(url).json(body).send().await;
        sent.unwrap().json().await.unwrap()
    }
}
