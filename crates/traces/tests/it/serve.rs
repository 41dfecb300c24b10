//! A server of the query API on a port of its own.

use reqwest::{Response, StatusCode};
use serde_json::Value;
use spoor_traces::{TraceStore, query};
use tokio::task::JoinHandle;

/// A running server, which stops when dropped.
pub struct Server {
    url: String,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(store: &TraceStore) -> Self {
        let queries = query::Queries::new(store.clone());
        let app = query::http(&queries);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub async fn get(&self, path: &str) -> Response {
        reqwest::get(self.url(path)).await.unwrap()
    }

    /// A request with parameters, which are encoded here.
    pub async fn query(&self, path: &str, parameters: &[(&str, &str)]) -> (StatusCode, Value) {
        let request = reqwest::Client::new().get(self.url(path)).query(parameters);
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    pub async fn text(&self, path: &str) -> (StatusCode, String) {
        let response = self.get(path).await;
        (response.status(), response.text().await.unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
