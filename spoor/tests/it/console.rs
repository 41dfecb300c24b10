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
/// True if a button "Apply" is visible.
const HAS_APPLY: &str = "return [...document.querySelectorAll('button')]
    .some((it) => it.textContent.trim() === 'Apply' && it.getClientRects().length > 0)";
/// The most elements between the start of a page and any of its controls.
const MAX_TABS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn rate_is_changed_by_keyboard() {
    if !has_programs("the console in a browser", &["chromium", "chromedriver"]) {
        return;
    }
    let lab = Lab::start().await;
    lab.ok_with_input(POLICY, &["apply", "-f", "-"]).await;
    let browser = Browser::start().await;

    browser
        .open(&format!("{}/policies", lab.url("traces")))
        .await;
    tab_to(&browser, "it.name === 'rate' && it.type === 'number'").await;
    browser.press("50").await;
    browser.press(ENTER).await;
    eventually(
        "a preview",
        || browser.run(HAS_APPLY),
        |has_preview| *has_preview == json!(true),
    )
    .await;
    tab_to(&browser, "it.textContent.trim() === 'Apply'").await;
    browser.press(ENTER).await;
    // The preview has the rate too, and leaving it could cancel its request.
    eventually(
        "the policy's own page",
        || browser.run("return location.pathname"),
        |path| *path == json!("/policies/default/by-keyboard"),
    )
    .await;
    eventually(
        "the policy's page with the new rate",
        || browser.text("main"),
        |text| text.contains("by-keyboard") && text.contains("50%"),
    )
    .await;
    browser
        .open(&format!("{}/policies", lab.url("traces")))
        .await;
    let table = browser.text("main").await;
    assert!(table.contains("50%"), "{table}");
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
