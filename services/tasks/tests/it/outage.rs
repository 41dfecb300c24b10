//! Redis stops, hangs or refuses logins: the responses during the outage, and the recovery.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Value, json};
use spoor_testing::RedisServer;
use tokio::time::Instant;

use crate::running::{CAPTURED, Tasks, read_json, telemetry};

const DEADLINE: Duration = Duration::from_secs(20);

async fn status(tasks: &Tasks) -> u16 {
    tasks.get("/tasks").await.status().as_u16()
}

async fn until(tasks: &Tasks, expected: u16) {
    let deadline = Instant::now() + DEADLINE;
    while status(tasks).await != expected {
        assert!(Instant::now() < deadline, "no {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recovers_from_a_killed_redis_under_load() {
    let test = "recovers_from_a_killed_redis_under_load";
    let Some(mut redis) = RedisServer::start(test).await else {
        return;
    };
    let flag = format!("--redis-url={}", redis.url());
    let tasks = Arc::new(Tasks::with(&[&flag, "--redis-deadline=500ms"], telemetry()).await);
    let kept = tasks.create("kept", "urgent", None).await;
    let (stop, unexpected) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let load: Vec<_> = (0..4)
        .map(|_| tokio::spawn(load(tasks.clone(), stop.clone(), unexpected.clone())))
        .collect();
    until(&tasks, 200).await;
    redis.kill();
    until(&tasks, 503).await;
    let (_, problem) = read_json(tasks.get("/tasks").await).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains(&redis.address()) && !detail.contains("only-for-tests"),
        "{detail}"
    );
    let (_, health) = read_json(tasks.get("/health").await).await;
    assert_eq!(health["status"], "degraded");
    let ready = reqwest::get(format!("http://{}/readyz", tasks.ops))
        .await
        .unwrap();
    assert_eq!(ready.status(), 200, "ready even without Redis");
    wait_for_store_up_metric(&tasks, "0").await;
    for unknown in ["spoor_tasks{", "spoor_tasks_overdue"] {
        assert!(tasks.measured(unknown).await.is_empty(), "{unknown}");
    }

    redis.restart().await;
    until(&tasks, 200).await;
    wait_for_store_up_metric(&tasks, "1").await;
    assert_eq!(
        read_json(tasks.get(&kept).await).await.0,
        200,
        "Redis kept it"
    );
    stop.store(true, SeqCst);
    for task in load {
        task.await.unwrap();
    }
    assert_eq!(
        unexpected.load(SeqCst),
        0,
        "responses other than 201, 204, 409 and 503"
    );
}

/// Creates and deletes tasks, and counts unexpected responses.
async fn load(tasks: Arc<Tasks>, stop: Arc<AtomicBool>, unexpected: Arc<AtomicUsize>) {
    while !stop.load(SeqCst) {
        let created = tasks.post("/tasks", &json!({"title": "load"})).await;
        let path = created.headers().get("location").cloned();
        let status = created.status().as_u16();
        let deleted = match path {
            Some(path) => tasks.delete(path.to_str().unwrap()).await,
            None => 503,
        };
        let expected = matches!(status, 201 | 409 | 503) && matches!(deleted, 204 | 503);
        unexpected.fetch_add(usize::from(!expected), SeqCst);
    }
}

async fn wait_for_store_up_metric(tasks: &Tasks, up: &str) {
    let line = format!("spoor_tasks_store_up{{store=\"redis\"}} {up}");
    let deadline = Instant::now() + DEADLINE;
    while tasks.measured("spoor_tasks_store_up").await != [line.clone()] {
        assert!(Instant::now() < deadline, "no {line}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_starts_later_is_used() {
    let Some(mut redis) = RedisServer::start("a_redis_that_starts_later_is_used").await else {
        return;
    };
    redis.kill();
    let flag = format!("--redis-url={}", redis.url());
    let tasks = Tasks::with(&[&flag], &CAPTURED.telemetry).await;
    assert_eq!(status(&tasks).await, 503);
    redis.restart().await;
    until(&tasks, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recovers_once_redis_accepts_the_password() {
    let test = "recovers_once_redis_accepts_the_password";
    let Some(redis) = RedisServer::start(test).await else {
        return;
    };
    let wrong = redis.url().replace("only-for-tests", "top-secret");
    let tasks = Tasks::with(&[&format!("--redis-url={wrong}")], &CAPTURED.telemetry).await;
    let (status, problem) = read_json(tasks.get("/tasks").await).await;
    assert_eq!(status, 503);
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("authentication failed") && !detail.contains("secret"),
        "{detail}"
    );
    redis.cli(&["config", "set", "requirepass", "top-secret"]);
    until(&tasks, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_a_hung_redis_end_at_the_deadline() {
    let test = "requests_to_a_hung_redis_end_at_the_deadline";
    let Some(redis) = RedisServer::start(test).await else {
        return;
    };
    let flag = format!("--redis-url={}", redis.url());
    let tasks = Tasks::with(&[&flag, "--redis-deadline=200ms"], &CAPTURED.telemetry).await;
    until(&tasks, 200).await;
    redis.cli(&["client", "pause", "4000"]);
    let started = Instant::now();
    let (status, problem) = read_json(tasks.get("/tasks").await).await;
    assert_eq!(status, 503);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("did not respond in time"),
        "{problem}"
    );
    assert!(
        started.elapsed() < Duration::from_millis(3500),
        "{:?}",
        started.elapsed()
    );
    until(&tasks, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_memory_is_reported() {
    let Some(redis) = RedisServer::start("a_redis_without_memory_is_reported").await else {
        return;
    };
    let flag = format!("--redis-url={}", redis.url());
    let tasks = Tasks::with(&[&flag], &CAPTURED.telemetry).await;
    until(&tasks, 200).await;
    redis.cli(&["config", "set", "maxmemory", "1"]);
    let (status, problem) = read_json(tasks.post("/tasks", &json!({"title": "x"})).await).await;
    assert_eq!(status, 503, "{problem}");
    redis.cli(&["config", "set", "maxmemory", "0"]);
    let (status, _): (u16, Value) =
        read_json(tasks.post("/tasks", &json!({"title": "x"})).await).await;
    assert_eq!(status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_beyond_the_budget_are_refused() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flag = format!("--redis-url=redis://{}", silent.local_addr().unwrap());
    let tasks = Tasks::with(
        &[&flag, "--redis-deadline=9s", "--deadline=2s"],
        telemetry(),
    )
    .await;
    // The budget is that of 16 lists, all of which wait for Redis.
    let lists = (0..17).map(|_| Box::pin(tasks.get("/tasks?limit=1000")));
    let (refused, _, waiting) = futures_util::future::select_all(lists).await;
    assert_eq!(waiting.len(), 16);
    assert_eq!(refused.headers()["retry-after"], "1");
    let (status, problem) = read_json(refused).await;
    assert_eq!(status, 503);
    assert_eq!(
        problem["detail"],
        "too many long lists at once; try again in a moment"
    );
    drop(waiting);
    let short = tasks.get("/tasks?limit=1").await;
    let (_, problem) = read_json(short).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("longer than 2s"), "{detail}");
}
