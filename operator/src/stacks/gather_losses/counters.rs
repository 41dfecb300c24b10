//! The counters of a gathering pod, and the losses that they reveal.

use crate::stacks::collector::samples::MetricSample;

const ACCEPTED: &str = "otelcol_receiver_accepted_spans";
const RELEASED: &str = "otelcol_processor_groupbytrace_spans_released";

/// The counters of a gathering pod at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatherCounters {
    accepted: u64,
    released: u64,
}

impl GatherCounters {
    /// Reads metrics in Prometheus' text format. `receivers` are those that feed the gatherer.
    #[must_use]
    pub fn from_metrics(metrics: &str, receivers: &[&str]) -> Self {
        let mut reading = Self::default();
        for sample in MetricSample::all(metrics) {
            let mut receivers = receivers.iter();
            match sample.name {
                ACCEPTED if receivers.any(|it| sample.has("receiver", it)) => {
                    reading.accepted += sample.count();
                }
                RELEASED => reading.released += sample.count(),
                _ => {}
            }
        }
        reading
    }

    /// The minimum number of spans that were lost before `earlier`, which is so old that everything
    /// accepted until then has been released since. None if the pod has restarted in between.
    #[must_use]
    pub fn lost_since(&self, earlier: &Self) -> Option<u64> {
        // A counter that shrinks belongs to a new process, which may have lost spans unseen.
        let is_same_run = self.accepted >= earlier.accepted && self.released >= earlier.released;
        is_same_run.then(|| earlier.accepted.saturating_sub(self.released))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(accepted: u32, peers: u32, released: u32) -> String {
        format!(
            "# TYPE otelcol_receiver_accepted_spans_total counter\n\
             otelcol_receiver_accepted_spans_total{{receiver=\"otlp\",transport=\"grpc\"}} {accepted}\n\
             otelcol_receiver_accepted_spans_total{{receiver=\"otlp/spoor-peers\",transport=\"grpc\"}} {peers}\n\
             otelcol_processor_groupbytrace_spans_released_total{{otel_scope_name=\"x\"}} {released}\n"
        )
    }

    fn of(accepted: u32, peers: u32, released: u32) -> GatherCounters {
        let receivers = ["otlp", "otlp/spoor-peers"];
        GatherCounters::from_metrics(&reading(accepted, peers, released), &receivers)
    }

    #[test]
    fn unreleased_spans_are_lost() {
        let earlier = of(1_000, 20, 800);
        assert_eq!(of(1_500, 20, 964).lost_since(&earlier), Some(56));
        assert_eq!(of(1_500, 20, 1_400).lost_since(&earlier), Some(0));
    }

    #[test]
    fn counts_only_the_gatherers_receivers() {
        let peers = GatherCounters::from_metrics(&reading(7_000, 20, 20), &["otlp/spoor-peers"]);
        assert_eq!(peers.lost_since(&peers), Some(0));
    }

    #[test]
    fn restarted_pod_reveals_no_loss() {
        assert_eq!(of(5, 0, 0).lost_since(&of(1_000, 0, 900)), None);
    }
}
