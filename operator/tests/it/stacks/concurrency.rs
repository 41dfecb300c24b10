//! A stack whose calls to the API server hang or fail does not delay others.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http::{Request, Uri};
use kube::{Client, client::Body};
use serde_json::json;
use tower::{BoxError, service_fn};

use super::Stacks;
use crate::{
    apiserver::{self, eventually},
    role::{MAX_WAIT, chart},
};

/// The stack whose calls do not succeed. It sorts before the other, which a controller that takes
/// stacks in turn would therefore delay.
const BROKEN: &str = "a-broken";
const HEALTHY: &str = "b-healthy";

/// The outcome of calls about the broken stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Hang,
    Fail,
}

/// The facts about calls that the tests check.
#[derive(Debug, Default)]
struct Calls {
    hanging: AtomicUsize,
    /// True once a call about the healthy stack was made while one about the broken stack hung.
    overlapped: AtomicBool,
}

/// Counts a call as hanging until the operator cancels it.
struct Hanging(Arc<Calls>);

impl Hanging {
    fn new(calls: &Arc<Calls>) -> Self {
        calls.hanging.fetch_add(1, Ordering::SeqCst);
        Self(calls.clone())
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns true for the path of a stack or of one of its objects.
fn is_about(uri: &Uri, stack: &str) -> bool {
    uri.path().split('/').any(|part| part.starts_with(stack))
}

/// The client, with a fault injected into calls about the broken stack.
fn with_fault(client: Client, fault: Fault, calls: Arc<Calls>) -> Client {
    let service = service_fn(move |request: Request<Body>| {
        let (client, calls) = (client.clone(), calls.clone());
        async move {
            if is_about(request.uri(), BROKEN) {
                if fault == Fault::Fail {
                    return Err(BoxError::from("injected failure"));
                }
                let _hanging = Hanging::new(&calls);
                pending::<()>().await;
            }
            if is_about(request.uri(), HEALTHY) && calls.hanging.load(Ordering::SeqCst) > 0 {
                calls.overlapped.store(true, Ordering::SeqCst);
            }
            client.send(request).await.map_err(BoxError::from)
        }
    });
    Client::new(service, "default")
}

#[tokio::test]
async fn hanging_stack_calls_do_not_delay_others() {
    let test = "hanging_stack_calls_do_not_delay_others";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-hang").await;
    let calls = Arc::new(Calls::default());
    let client = chart::account(&namespace, "stacks").await;
    let client = with_fault(client, Fault::Hang, calls.clone());
    let role = Stacks::start_as(client, &namespace, |_| {}).await;
    role.apply(BROKEN, json!({})).await;
    role.apply(HEALTHY, json!({})).await;
    role.wait_for_status(HEALTHY, |status| !status["endpoints"].is_null())
        .await;
    // Asserts nothing about time, so that it holds on a busy machine, too.
    eventually("calls overlap", MAX_WAIT, async || {
        match calls.overlapped.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err("no call about one stack was made while another hung".to_owned()),
        }
    })
    .await;
    role.stop().await;
}

#[tokio::test]
async fn failing_stack_calls_do_not_delay_others() {
    let test = "failing_stack_calls_do_not_delay_others";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-fail").await;
    let client = chart::account(&namespace, "stacks").await;
    let client = with_fault(client, Fault::Fail, Arc::default());
    let role = Stacks::start_as(client, &namespace, |_| {}).await;
    role.apply(BROKEN, json!({})).await;
    role.apply(HEALTHY, json!({})).await;
    role.wait_for_status(HEALTHY, |status| !status["endpoints"].is_null())
        .await;
    role.stop().await;
}
