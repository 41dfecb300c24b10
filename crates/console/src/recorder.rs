//! The recorder: follows the backend's policies, for the history and for open pages.

use std::{collections::BTreeMap, future::pending, mem, time::Duration};

use http::Uri;
use jiff::Timestamp;
use spoor_api::SamplingPolicy;
use spoor_policy::PolicyKey;
use spoor_runtime::LogLimit;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    backend::BackendError, console::Console, events::Rows, history::key_of, layout::Site,
    policies::table, text,
};

/// The minimum interval between reads, and so between the events of a stream.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(200);
/// The minimum interval between reads while no page is open. The history does not need more.
const MIN_IDLE_INTERVAL: Duration = Duration::from_secs(2);
/// The minimum pause between reads, in multiples of the duration of the last one. With very many
/// policies they would otherwise keep a core busy.
const MIN_PAUSE_FACTOR: u32 = 4;
/// The interval of reads without a change: figures also change because time passes.
const RESYNC_INTERVAL: Duration = Duration::from_secs(5);
/// The longest time that a read may take.
const MAX_READ_TIME: Duration = Duration::from_secs(10);
/// The most characters of the reason why the policies cannot be read, which open pages show.
const MAX_REASON_CHARS: usize = 1_000;

/// Reads the policies whenever they may have changed. Never returns.
pub(crate) async fn follow(console: &Console) {
    let mut changes = console.backend().policy_changes();
    let mut revisions = Revisions::default();
    loop {
        // Before the read, so that a change during it leads to another one.
        changes.mark_unchanged();
        let began = Instant::now();
        read(console, &mut revisions).await;
        sleep(MIN_READ_INTERVAL.max(began.elapsed() * MIN_PAUSE_FACTOR)).await;
        wait(console, &mut changes).await;
    }
}

/// The policies of the last read, with the number of the read in which each has last changed.
#[derive(Default)]
struct Revisions {
    reads: u64,
    policies: BTreeMap<PolicyKey, (SamplingPolicy, u64)>,
}

impl Revisions {
    fn update(&mut self, policies: &[SamplingPolicy]) -> BTreeMap<PolicyKey, u64> {
        self.reads += 1;
        let before = mem::take(&mut self.policies);
        for policy in policies {
            let Some(key) = key_of(policy) else { continue };
            let revision = match before.get(&key) {
                Some((same, revision)) if same == policy => *revision,
                _ => self.reads,
            };
            self.policies.insert(key, (policy.clone(), revision));
        }
        let revisions = self.policies.iter();
        revisions
            .map(|(key, (_, revision))| (key.clone(), *revision))
            .collect()
    }
}

async fn read(console: &Console, revisions: &mut Revisions) {
    let policies = timeout(MAX_READ_TIME, console.backend().policies()).await;
    let policies = policies.unwrap_or_else(|_| {
        let seconds = MAX_READ_TIME.as_secs();
        let reason = format!("no response within {seconds} s; the console tries again");
        Err(BackendError::Reach(reason))
    });
    match policies {
        Ok(policies) => {
            console.history().record(&policies, Timestamp::now());
            let revisions = revisions.update(&policies);
            publish(console, policies, revisions).await;
        }
        Err(error) => {
            static WARNINGS: LogLimit = LogLimit::new();
            if let Some(suppressed) = WARNINGS.admit() {
                tracing::warn!(%error, suppressed, "cannot read the policies");
            }
            let reason = text::cut(&error.to_string(), MAX_REASON_CHARS);
            console.events().publish_problem(&reason);
        }
    }
}

/// Renders the rows for open pages.
async fn publish(
    console: &Console,
    policies: Vec<SamplingPolicy>,
    revisions: BTreeMap<PolicyKey, u64>,
) {
    if !console.events().has_readers() {
        return console.events().clear();
    }
    let console_of_render = console.clone();
    let render = move || {
        // The rows are part of that page, so their links are relative to it.
        let site = Site::of(&console_of_render, &Uri::from_static("/policies"));
        let rows = table::rows(&policies, console_of_render.history());
        let html = rows.iter();
        Rows {
            order: rows.iter().map(|row| row.id.clone()).collect(),
            html: html
                .map(|row| (row.id.clone(), table::row(&site, row).into_string()))
                .collect(),
            revisions,
        }
    };
    match tokio::task::spawn_blocking(render).await {
        Ok(rows) => console.events().publish(rows),
        Err(error) => {
            static WARNINGS: LogLimit = LogLimit::new();
            if let Some(suppressed) = WARNINGS.admit() {
                tracing::warn!(%error, suppressed, "cannot render the policies");
            }
        }
    }
}

/// Waits for a change or the next regular read, but while no page is open at least for the rest of
/// the idle interval.
async fn wait(console: &Console, changes: &mut watch::Receiver<u64>) {
    let next_change = async {
        if !console.events().has_readers() {
            sleep(MIN_IDLE_INTERVAL - MIN_READ_INTERVAL).await;
        }
        if changes.changed().await.is_err() {
            // The backend sends no more changes.
            pending::<()>().await;
        }
    };
    tokio::select! {
        () = next_change => {}
        () = console.events().reader_joined() => {}
        () = sleep(RESYNC_INTERVAL) => {}
    }
}

#[cfg(test)]
mod tests;
