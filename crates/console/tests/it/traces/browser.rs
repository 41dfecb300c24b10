//! The page in a real browser, which must work under its content security policy. The test needs
//! Chromium, on the `PATH` or named by `CHROMIUM`, and is skipped without it.

use std::{env, path::PathBuf, process::Output, time::Duration};

use spoor_testing::programs::skip;
use spoor_traces::TraceStore;
use tokio::{process::Command, time::timeout};

use super::{
    serve::Server,
    spans::{a_to_b, insert},
};

fn chromium() -> Option<PathBuf> {
    let from_variable = env::var_os("CHROMIUM").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = || {
        env::split_paths(&path)
            .flat_map(|folder| {
                ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name))
            })
            .find(|file| file.is_file())
    };
    from_variable.or_else(on_path)
}

async fn visit(browser: &PathBuf, url: &str) -> Output {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args(["--disable-sync", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .kill_on_drop(true);
    let limit = Duration::from_secs(60);
    timeout(limit, command.output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn browser_shows_a_trace_without_errors() {
    let Some(browser) = chromium() else {
        skip("the page in a browser", "chromium not installed");
        return;
    };
    let store = TraceStore::new(1 << 20);
    insert(&store, a_to_b(1, 1_700_000_000_000, 100, true));
    let server = Server::start(&store).await;
    let trace = "/trace/5b8efff7980381030000000000000001";
    for (path, expected) in [(trace, "heavy_calc"), ("/", "1 trace")] {
        let output = visit(&browser, &server.url(path)).await;
        let page = String::from_utf8_lossy(&output.stdout);
        assert!(page.contains(expected), "{path}: {page}");
        let log = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("CONSOLE"))
            .collect();
        assert!(errors.is_empty(), "{path}: {errors:?}");
    }
}
