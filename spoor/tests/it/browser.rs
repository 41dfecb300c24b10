//! The pages in a real browser, driven over WebDriver.

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

use crate::{
    lab::{DEADLINE, Lab, command_of, eventually, send},
    peer::has_programs,
};

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

#[tokio::test(flavor = "multi_thread")]
async fn wish_and_its_trace_are_shown() {
    if !has_programs("the pages in a browser", &["chromium", "chromedriver"]) {
        return;
    }
    let lab = Lab::start().await;
    let browser = Browser::start().await;

    browser.open(lab.url("gateway")).await;
    browser
        .type_into("input[name=name]", "a <b>bold</b> kettle")
        .await;
    browser.click("form[action] button[type=submit]").await;
    eventually(
        "the wish on the page",
        || browser.text("main"),
        |text| text.contains("a <b>bold</b> kettle"),
    )
    .await;

    assert!(lab.request().await);
    let traces = || async { lab.traces(&["traces", "--service", "service-b"]).await };
    let found = eventually("a trace of A and B", traces, |found| {
        found[0]["spans"].as_u64() >= Some(3)
    })
    .await;
    let id = found[0]["traceId"].as_str().unwrap();
    browser
        .open(&format!("{}/search?service=service-a", lab.url("traces")))
        .await;
    let results = browser.text("body").await;
    assert!(results.contains("GET /"), "{results}");
    browser
        .open(&format!("{}/trace/{id}", lab.url("traces")))
        .await;
    let waterfall = browser.text("body").await;
    for expected in ["service-a", "service-b", "ServiceB", "/Work", "GET /"] {
        assert!(waterfall.contains(expected), "{expected}: {waterfall}");
    }
    assert_eq!(browser.errors().await, Vec::<String>::new());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_page_shows_new_offers() {
    if !has_programs("the pages in a browser", &["chromium", "chromedriver"]) {
        return;
    }
    // Not bazaar, which fails so often by design that a whole round may find nothing there.
    let marketplaces = ["marketplace-attic", "marketplace-corner"];
    let services = format!("gateway,wishlist,offers,{}", marketplaces.join(","));
    let lab = Lab::start_with(&["--services", &services]).await;
    for marketplace in marketplaces {
        lab.ok(&["fault", marketplace, "--errors", "100%"]).await;
    }
    let browser = Browser::start().await;
    browser.open(lab.url("gateway")).await;
    browser.type_into("input[name=name]", "a lantern").await;
    browser.click("form[action] button[type=submit]").await;
    eventually(
        "all marketplaces are listed as unavailable",
        || browser.text("main"),
        |text| {
            text.contains("Unavailable marketplaces: attic")
                && text.contains("corner (")
                && text.contains("No offers yet.")
        },
    )
    .await;

    lab.ok(&["fault", "--clear"]).await;
    // After a restart, `offers` begins a round within seconds. Otherwise the next could be 30 s away.
    let offers = lab.service("offers").await;
    send(
        "-KILL",
        u32::try_from(offers["pid"].as_u64().unwrap()).unwrap(),
    );
    eventually(
        "offers of both on the page without a reload",
        || browser.text("ul.offers"),
        |text| {
            ["attic", "corner"]
                .iter()
                .all(|name| text.contains(&format!(" on {name}")))
        },
    )
    .await;
    let main = browser.text("main").await;
    assert!(
        main.contains("a lantern, ") && main.contains(" EUR"),
        "{main}"
    );
    // While `offers` was not running, the browser may report a failure of /api/offers.
    let errors = browser.errors().await;
    assert!(
        errors.iter().all(|error| error.contains("/api/offers")),
        "{errors:?}"
    );
    browser.quit().await;
}

/// Delays each list of offers by some seconds, so that events are newer than the list.
const LATE_LISTINGS: &str = r#"
    const originalFetch = window.fetch;
    window.requested = 0;
    window.responded = 0;
    window.fetch = async (...parameters) => {
        window.requested += 1;
        const response = await originalFetch(...parameters);
        const body = await response.text();
        await new Promise((then) => setTimeout(then, 6000));
        setTimeout(() => { window.responded += 1; });
        return new Response(body, response);
    };
"#;

#[tokio::test(flavor = "multi_thread")]
async fn late_listing_keeps_newer_events() {
    if !has_programs("the pages in a browser", &["chromium", "chromedriver"]) {
        return;
    }
    let lab = Lab::start_with(&["--services", "gateway,wishlist,offers,marketplace-attic"]).await;
    lab.ok(&[
        "fault",
        "marketplace-attic",
        "--errors",
        "100%",
        "--delay",
        "500ms",
    ])
    .await;
    let browser = Browser::start().await;
    browser.run_in_each_page(LATE_LISTINGS).await;
    browser.open(lab.url("gateway")).await;
    browser.type_into("input[name=name]", "a lantern").await;
    browser.click("form[action] button[type=submit]").await;
    eventually(
        "all listings have arrived",
        || browser.run("return window.requested > 0 && window.responded === window.requested"),
        |all| *all == json!(true),
    )
    .await;
    let main = browser.text("main").await;
    assert!(main.contains("Unavailable marketplaces: attic"), "{main}");
    browser.quit().await;
}

/// A browser window.
struct Browser {
    session: String,
    http: reqwest::Client,
    _driver: Child,
    _profile: TempDir,
}

impl Browser {
    async fn start() -> Self {
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

    async fn open(&self, url: &str) {
        self.post("url", json!({ "url": url })).await;
    }

    /// Runs before the page's own scripts.
    async fn run_in_each_page(&self, script: &str) {
        let command = "Page.addScriptToEvaluateOnNewDocument";
        let body = json!({"cmd": command, "params": {"source": script}});
        self.post("goog/cdp/execute", body).await;
    }

    async fn run(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.post("execute/sync", body).await
    }

    async fn text(&self, selector: &str) -> String {
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

    async fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.post(&format!("element/{element}/value"), json!({ "text": text }))
            .await;
    }

    async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("element/{element}/click"), json!({}))
            .await;
    }

    /// The errors that the pages caused in the browser: blocked scripts, missing files.
    async fn errors(&self) -> Vec<String> {
        let entries = self.post("se/log", json!({"type": "browser"})).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    async fn quit(self) {
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
