//! A lesson in the lab's console.

use crate::lab::Lab;

use super::{files::Lesson, script::run};

#[tokio::test]
async fn console_checks_an_exercise() {
    let state = tempfile::tempdir().unwrap();
    let variables = [("XDG_STATE_HOME", state.path().to_str().unwrap())];
    let lab = Lab::start_in_environment(&variables, &["--services", "service-b"]).await;
    let list = format!("{}/lessons", lab.url("traces"));
    assert!(get(&list).await.contains("0 of 10 passed"));

    let lesson = format!("{list}/1");
    let page = get(&lesson).await;
    let (_, rest) = page.split_once("name=\"token\" value=\"").unwrap();
    let token = rest.split('"').next().unwrap();
    let check = format!("{lesson}/check");
    let page = post(&check, token).await;
    assert!(page.contains("Not done yet."), "{page}");

    let ended = run(&lab, &Lesson::of(1).solution().text, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let page = post(&check, token).await;
    assert!(page.contains("Passed: A first trace, by hand."), "{page}");
    assert!(get(&list).await.contains("1 of 10 passed"));
}

async fn get(url: &str) -> String {
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

/// Sends a form as the console's own page does.
async fn post(url: &str, token: &str) -> String {
    let request = reqwest::Client::new()
        .post(url)
        .header("sec-fetch-site", "same-origin")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}"));
    request.send().await.unwrap().text().await.unwrap()
}
