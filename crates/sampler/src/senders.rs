//! The senders of spans, whose end interrupts the input.

use spoor_runtime::{ClientsChange, GrpcClients};
use spoor_traces::Forwarder;

/// The method by which a Collector sends spans, over one connection for as long as it runs.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Follows the senders of a forwarder.
pub(crate) fn senders(forwarder: &Forwarder) -> GrpcClients {
    let forwarder = forwarder.clone();
    GrpcClients::new(EXPORT, move |change| match change {
        ClientsChange::Ended => {
            forwarder.interrupt_input();
            tracing::info!("the last sender has disconnected; decisions are postponed");
        }
        ClientsChange::Connected => {
            if let Some(interrupted) = forwarder.resume_input() {
                let seconds = interrupted.as_secs_f64();
                tracing::info!(seconds, "a sender has connected after an interruption");
            }
        }
    })
}
