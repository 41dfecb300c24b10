//! The pages in a real browser, driven over WebDriver.

use serde_json::json;

use crate::{
    lab::{Lab, eventually, send},
    peer::has_programs,
    webdriver::Browser,
};

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
