//! A running service.

use std::{ops::Deref, sync::LazyLock};

use reqwest::{Client, Response};
use serde_json::{Value, json};
use spoor_tasks::tasks::{TasksArgs, TasksError};
use spoor_telemetry::{Telemetry, serve::ServiceArgs};
use spoor_testing::{Running, Spans, args};

pub use spoor_testing::json as read_json;

/// The telemetry that most tests share, since a process has one subscriber, and the spans exported
/// through it.
pub struct Captured {
    pub telemetry: Telemetry,
    pub spans: Spans,
}

pub static CAPTURED: LazyLock<Captured> = LazyLock::new(|| {
    let spans = Spans::default();
    let telemetry = spans.telemetry("tasks");
    tracing::subscriber::set_global_default(telemetry.subscriber().unwrap()).unwrap();
    Captured { telemetry, spans }
});

/// tasks on free ports, and a client.
pub struct Tasks {
    running: Running<TasksError>,
    pub client: Client,
}

impl Deref for Tasks {
    type Target = Running<TasksError>;

    fn deref(&self) -> &Self::Target {
        &self.running
    }
}

impl Tasks {
    /// Starts the service without Redis.
    pub async fn in_process() -> Self {
        Self::with(&[], &CAPTURED.telemetry).await
    }

    pub async fn with(flags: &[&str], telemetry: &'static Telemetry) -> Self {
        let args: ServiceArgs<TasksArgs> = args(flags);
        Self {
            running: Running::start(args, telemetry).await,
            client: Client::new(),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        let request = self.client.post(self.url(path));
        let request = request.header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    }

    pub async fn delete(&self, path: &str) -> u16 {
        let response = self.client.delete(self.url(path)).send().await.unwrap();
        response.status().as_u16()
    }

    /// Creates a task and returns its path.
    pub async fn create(&self, title: &str, priority: &str, due: Option<&str>) -> String {
        let mut body = json!({"title": title, "priority": priority});
        if let Some(due) = due {
            body["due"] = due.into();
        }
        let response = self.post("/tasks", &body).await;
        let path = response.headers()["location"].to_str().unwrap().to_owned();
        let (status, task) = read_json(response).await;
        assert_eq!((status, &task["title"]), (201, &title.into()));
        path
    }

    /// The titles in a list.
    pub async fn titles(&self, query: &str) -> Vec<String> {
        let (status, list) = read_json(self.get(&format!("/tasks{query}")).await).await;
        assert_eq!(status, 200, "{list}");
        let tasks = list["tasks"].as_array().unwrap();
        let title = |task: &Value| task["title"].as_str().unwrap().to_owned();
        tasks.iter().map(title).collect()
    }

    /// All lines of a metric at the ops port.
    pub async fn measured(&self, metric: &str) -> Vec<String> {
        let url = format!("http://{}/metrics", self.ops);
        let text = self.client.get(url).send().await.unwrap().text().await;
        let text = text.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(metric));
        lines.map(str::to_owned).collect()
    }
}

/// Creates telemetry with its own metrics.
pub fn telemetry() -> &'static Telemetry {
    Box::leak(Box::new(Spans::default().telemetry("tasks")))
}
