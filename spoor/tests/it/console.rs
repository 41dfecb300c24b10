//! The console in a real browser, by keyboard only.

use serde_json::json;

use crate::{
    lab::{Lab, eventually},
    peer::has_programs,
    webdriver::Browser,
};

const POLICY: &str = "apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata: {name: by-keyboard}
spec: {targets: [{service: service-a}], head: {probability: 1%}}
";
const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
/// The most elements between the start of a page and any of its controls.
const MAX_TABS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn rate_is_changed_by_keyboard() {
    if !has_programs("the console in a browser", &["chromium", "chromedriver"]) {
        return;
    }
    let lab = Lab::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, POLICY).unwrap();
    lab.ok(&["apply", "-f", file.to_str().unwrap()]).await;
    let browser = Browser::start().await;

    browser
        .open(&format!("{}/policies", lab.url("traces")))
        .await;
    tab_to(&browser, "it.name === 'rate' && it.type === 'number'").await;
    browser.press("50").await;
    browser.press(ENTER).await;
    eventually(
        "a preview",
        || browser.run("return document.body.innerText.includes('Apply')"),
        |has_preview| *has_preview == json!(true),
    )
    .await;
    tab_to(&browser, "it.innerText.trim() === 'Apply'").await;
    browser.press(ENTER).await;
    eventually(
        "the policy's page with the new rate",
        || browser.text("main"),
        |text| text.contains("by-keyboard") && text.contains("50%"),
    )
    .await;
    assert_eq!(browser.errors().await, Vec::<String>::new());
    browser.quit().await;
}

/// Presses Tab until an element for which the expression is true has the focus.
async fn tab_to(browser: &Browser, expression: &str) {
    let script = format!("const it = document.activeElement; return {expression}");
    for _ in 0..MAX_TABS {
        if browser.run(&script).await == json!(true) {
            return;
        }
        browser.press(TAB).await;
    }
    panic!("no element with {expression}");
}
