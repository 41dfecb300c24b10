//! The API, on either store.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use spoor_testing::RedisServer;

use crate::running::{CAPTURED, Tasks, read_json, telemetry};

/// The service on a store, or `None` without Redis. Dropping it stops the server.
async fn on(store: &str, test: &str) -> Option<(Tasks, Option<RedisServer>)> {
    if store == "in-process" {
        return Some((Tasks::in_process().await, None));
    }
    let server = RedisServer::start(test).await?;
    let flag = format!("--redis-url={}", server.url());
    let tasks = Tasks::with(&[&flag], &CAPTURED.telemetry).await;
    Some((tasks, Some(server)))
}

#[rstest]
#[case("in-process")]
#[case("redis")]
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_created_completed_and_deleted(#[case] store: &str) {
    let Some((tasks, _redis)) = on(store, "a_task_is_created_completed_and_deleted").await else {
        return;
    };
    let body =
        json!({"title": " wash up ", "priority": "high", "due": "2030-01-31T13:00:00+01:00"});
    let response = tasks.post("/tasks", &body).await;
    let path = response.headers()["location"].to_str().unwrap().to_owned();
    let (status, made) = read_json(response).await;
    assert_eq!(status, 201);
    assert_eq!(made["title"], "wash up");
    assert_eq!(made["due"], "2030-01-31T12:00:00Z");
    assert_eq!(path, format!("/tasks/{}", made["id"].as_str().unwrap()));

    assert_eq!(read_json(tasks.get(&path).await).await, (200, made.clone()));
    let complete = format!("{path}/complete");
    let (status, done) = read_json(tasks.post(&complete, &Value::Null).await).await;
    assert_eq!(status, 200);
    assert!(done["completed"].is_string() && done["overdue"] == false);
    let again = read_json(tasks.post(&complete, &Value::Null).await).await;
    assert_eq!(
        again,
        (200, done.clone()),
        "the second time changes nothing"
    );
    assert_eq!(read_json(tasks.get(&path).await).await, (200, done));

    assert_eq!(tasks.delete(&path).await, 204);
    assert_eq!(tasks.delete(&path).await, 404);
    assert_eq!(read_json(tasks.get(&path).await).await.0, 404);
    assert_eq!(
        read_json(tasks.post(&complete, &Value::Null).await).await.0,
        404
    );
}

#[rstest]
#[case("in-process")]
#[case("redis")]
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_ordered_by_rank(#[case] store: &str) {
    let Some((tasks, _redis)) = on(store, "lists_are_ordered_by_rank").await else {
        return;
    };
    let (soon, later) = (Some("2030-01-01T00:00:00Z"), Some("2031-01-01T00:00:00Z"));
    for (title, priority, due) in [
        ("d", "normal", None),
        ("e", "low", Some("2020-01-01T00:00:00Z")),
        ("c", "normal", later),
        ("a", "urgent", None),
        ("b", "normal", soon),
    ] {
        tasks.create(title, priority, due).await;
    }
    assert_eq!(tasks.titles("").await, ["a", "b", "c", "d", "e"]);
    assert_eq!(tasks.titles("?limit=2").await, ["a", "b"]);
    let (_, all) = read_json(tasks.get("/tasks?state=all").await).await;
    let complete = |index: usize| {
        format!(
            "/tasks/{}/complete",
            all["tasks"][index]["id"].as_str().unwrap()
        )
    };
    for index in [1, 3] {
        assert_eq!(
            read_json(tasks.post(&complete(index), &Value::Null).await)
                .await
                .0,
            200
        );
        // So that the next one is completed in a later millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(tasks.titles("?state=open").await, ["a", "c", "e"]);
    assert_eq!(tasks.titles("?state=completed").await, ["d", "b"]);
    assert_eq!(tasks.titles("?state=all").await, ["a", "c", "e", "d", "b"]);
    assert_eq!(
        tasks.titles("?state=all&limit=4").await,
        ["a", "c", "e", "d"]
    );
    assert_eq!(tasks.titles("?state=completed&limit=1").await, ["d"]);
}

#[rstest]
#[case("in-process")]
#[case("redis")]
#[tokio::test(flavor = "multi_thread")]
async fn open_tasks_are_bounded(#[case] store: &str) {
    let Some((tasks, _redis)) = on(store, "open_tasks_are_bounded").await else {
        return;
    };
    let mut first = None;
    for number in 0..1000 {
        let path = tasks.create(&number.to_string(), "low", None).await;
        first.get_or_insert(path);
    }
    let (status, problem) = read_json(tasks.post("/tasks", &json!({"title": "x"})).await).await;
    assert_eq!(status, 409);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("1000 open tasks"),
        "{problem}"
    );
    assert_eq!(tasks.titles("?limit=1000").await.len(), 1000);
    assert_eq!(tasks.delete(&first.unwrap()).await, 204);
    tasks.create("now there is room", "urgent", None).await;
}

#[rstest]
#[case(json!({}), "missing field `title`")]
#[case(json!({"title": ""}), "title: must not be empty")]
#[case(json!({"title": "a\nb"}), "title: must be on one line")]
#[case(json!({"title": "x".repeat(201)}), "title: must be at most 200 characters, not 201")]
#[case(json!({"title": 7}), "title: must be a string, not 7; send")]
#[case(json!({"title": "x", "priority": "soon"}), "priority: must be \"low\"")]
#[case(json!({"title": "x", "due": "tomorrow"}), "due: must be a time")]
#[case(json!({"title": "x", "due": 12}), "due: must be a string, not 12; send")]
#[case(json!({"title": "x", "colour": "red"}), "unknown field `colour`, expected one of `title`")]
#[case(json!([]), "must be an object, not a list; send a JSON object such as {\"title\": \"wash up\"")]
#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_field(#[case] body: Value, #[case] part: &str) {
    let tasks = Tasks::in_process().await;
    let (status, problem) = read_json(tasks.post("/tasks", &body).await).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(status == 422 && detail.contains(part), "{status} {detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_errors_are_reported_at_once() {
    let tasks = Tasks::in_process().await;
    let body = json!({"title": " ", "priority": "", "due": ""});
    let (_, problem) = read_json(tasks.post("/tasks", &body).await).await;
    let detail = problem["detail"].as_str().unwrap();
    for field in ["title: ", "priority: ", "due: "] {
        assert!(detail.contains(field), "{detail}");
    }
}

#[rstest]
#[case(
    "/tasks?state=done",
    422,
    "state: must be \"open\", \"completed\" or \"all\", not \"done\""
)]
#[case(
    "/tasks?limit=0",
    422,
    "limit: must be a number from 1 to 1000, not \"0\""
)]
#[case("/tasks?limit=-1", 422, "limit: must be")]
#[case("/tasks?size=1", 400, "size")]
#[case("/tasks/7", 422, "id: must be a UUID")]
#[case("/tasks/%80", 422, "id: must be a UUID")]
#[case("/tasks/00000000-0000-0000-0000-000000000000", 404, "no task")]
#[case("/nothing", 404, "no resource at this path")]
#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_and_queries_are_explained(
    #[case] path: &str,
    #[case] status: u16,
    #[case] part: &str,
) {
    let tasks = Tasks::in_process().await;
    let (got, problem) = read_json(tasks.get(path).await).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(got == status && detail.contains(part), "{got} {detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_names_the_in_process_store() {
    let tasks = Tasks::with(&[], telemetry()).await;
    let health = read_json(tasks.get("/health").await).await;
    assert_eq!(
        health,
        (200, json!({"status": "ok", "store": "in-process"}))
    );
    spoor_testing::infrastructure::metrics(tasks.ops).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_counted() {
    let tasks = Tasks::with(&[], telemetry()).await;
    let late = tasks
        .create("late", "urgent", Some("2020-01-01T00:00:00Z"))
        .await;
    tasks
        .create("early", "low", Some("2199-01-01T00:00:00Z"))
        .await;
    let done = read_json(tasks.post(&format!("{late}/complete"), &Value::Null).await).await;
    assert_eq!(done.0, 200);
    tasks
        .create("late too", "low", Some("2020-01-01T00:00:00Z"))
        .await;
    let expected = [
        r#"spoor_tasks_created_total{priority="urgent"} 1"#,
        r#"spoor_tasks_created_total{priority="low"} 2"#,
        r#"spoor_tasks_completed_total{priority="urgent",in_time="no"} 1"#,
        "spoor_tasks_open_duration_seconds_count 1",
        r#"spoor_tasks{state="open"} 2"#,
        r#"spoor_tasks{state="completed"} 1"#,
        r#"spoor_tasks_overdue{store="in-process"} 1"#,
        r#"spoor_tasks_store_up{store="in-process"} 1"#,
    ];
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let measured = tasks.measured("spoor_tasks").await;
        let missing = expected
            .iter()
            .find(|line| !measured.iter().any(|it| it == *line));
        let Some(missing) = missing else { break };
        assert!(
            tokio::time::Instant::now() < deadline,
            "no {missing} in {measured:#?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
