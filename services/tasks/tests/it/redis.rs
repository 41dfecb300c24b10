//! Inspecting and changing the data with `redis-cli`.

use serde_json::{Value, json};
use spoor_testing::RedisServer;

use crate::running::{CAPTURED, Tasks, read_json};

async fn on(server: &RedisServer) -> Tasks {
    let flag = format!("--redis-url={}", server.url());
    Tasks::with(&[&flag], &CAPTURED.telemetry).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_readable_with_redis_cli() {
    let Some(redis) = RedisServer::start("tasks_are_readable_with_redis_cli").await else {
        return;
    };
    let tasks = on(&redis).await;
    let due = Some("2030-01-31T12:00:00Z");
    let path = tasks.create("wash up", "high", due).await;
    let id = path.strip_prefix("/tasks/").unwrap();
    let key = format!("task:{id}");
    assert_eq!(redis.cli(&["hget", &key, "title"]), "wash up");
    assert_eq!(redis.cli(&["hget", &key, "priority"]), "high");
    assert_eq!(redis.cli(&["hget", &key, "due"]), "2030-01-31T12:00:00Z");
    assert_eq!(redis.cli(&["zrange", "tasks:open", "0", "-1"]), id);
    let millis = "1896091200000";
    assert_eq!(redis.cli(&["zscore", "tasks:due", id]), millis);

    let done = read_json(tasks.post(&format!("{path}/complete"), &Value::Null).await).await;
    assert_eq!(done.0, 200);
    assert_eq!(redis.cli(&["exists", "tasks:open", "tasks:due"]), "0");
    assert_eq!(redis.cli(&["zrange", "tasks:completed", "0", "-1"]), id);
    assert_eq!(tasks.delete(&path).await, 204);
    assert_eq!(redis.cli(&["dbsize"]), "0", "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_other_programs_are_tolerated() {
    let Some(redis) = RedisServer::start("changes_by_other_programs_are_tolerated").await else {
        return;
    };
    let tasks = on(&redis).await;
    let gone = tasks.create("gone", "urgent", None).await;
    let broken = tasks.create("broken", "high", None).await;
    tasks.create("whole", "low", None).await;
    let key = |path: &str| path.replacen("/tasks/", "task:", 1);
    redis.cli(&["del", &key(&gone)]);
    redis.cli(&["hset", &key(&broken), "priority", "very"]);
    assert_eq!(tasks.titles("").await, ["whole"]);
    assert_eq!(
        redis.cli(&["zcard", "tasks:open"]),
        "2",
        "the ID of the deleted task is removed"
    );
    assert_eq!(read_json(tasks.get(&gone).await).await.0, 404);
    let (status, problem) = read_json(tasks.get(&broken).await).await;
    assert_eq!(status, 500);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("priority must be"),
        "{problem}"
    );
    assert_eq!(tasks.delete(&broken).await, 204);

    redis.cli(&["flushall"]);
    redis.cli(&["script", "flush"]);
    assert!(tasks.titles("?state=all").await.is_empty());
    tasks.create("after all that", "low", None).await;
    redis.cli(&["set", "tasks:open", "a string"]);
    let (status, _) = read_json(tasks.get("/tasks").await).await;
    assert_eq!(status, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_completed_tasks_are_kept() {
    let Some(redis) = RedisServer::start("only_the_newest_completed_tasks_are_kept").await else {
        return;
    };
    let tasks = on(&redis).await;
    let path = tasks.create("the newest", "low", None).await;
    let old = "for n = 0, 999 do redis.call('HSET', KEYS[1] .. n, 'title', 'old') \
               redis.call('ZADD', KEYS[2], n, n) end";
    redis.cli(&["eval", old, "2", "task:", "tasks:completed"]);
    let done = read_json(tasks.post(&format!("{path}/complete"), &Value::Null).await).await;
    assert_eq!(done.0, 200);
    assert_eq!(redis.cli(&["zcard", "tasks:completed"]), "1000");
    assert_eq!(
        redis.cli(&["exists", "task:0", "task:1"]),
        "1",
        "the oldest is gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_names_redis() {
    let Some(redis) = RedisServer::start("health_names_redis").await else {
        return;
    };
    let tasks = on(&redis).await;
    let health = read_json(tasks.get("/health").await).await;
    assert_eq!(health, (200, json!({"status": "ok", "store": "redis"})));
}
