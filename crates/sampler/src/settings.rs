//! The settings of the sampler, from its options and environment variables.

mod peers;

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use http::Uri;
use spoor_policy::PolicyName;
use spoor_runtime::{InvalidSettings, SettingsReader};
use spoor_telemetry::{TelemetrySettings, control_stream::Credentials, settings::OtlpSettings};
use spoor_traces::{ForwarderSettings, JournalSettings, ReceiveSettings, TailSettings};

use crate::{SamplerArgs, output::leads_to};

pub use peers::PeersSettings;

/// A shorter wait would decide before the spans of a trace have arrived, and a longer one is
/// certainly a mistake.
const DECISION_WAITS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(600);
/// Traces take no longer than the longest duration in a tail rule.
const MAX_TRACE_DURATION: Duration = Duration::from_secs(3600);
/// One request may take 16 MiB.
const MIN_MEMORY_BYTES: usize = 32 << 20;
/// The spans of the traces that wait, and the batches to send, have to fit.
const MIN_JOURNAL_BYTES: usize = 128 << 20;
/// Late spans follow decisions for ten minutes at 5,000 traces per second. The memory for gathering
/// is a second bound.
const MAX_REMEMBERED_DECISIONS: usize = 3_000_000;
const OTHER_SIGNALS_ADVICE: &str = "a sampler decides on traces; send metrics, logs and profiles \
                                    past it, for example in a pipeline of the Collector without it";

/// The settings of a sampler.
#[derive(Clone, Debug)]
pub struct SamplerSettings {
    /// The address on which to receive spans.
    pub listen: SocketAddr,
    /// The address of metrics and health.
    pub ops_listen: SocketAddr,
    /// The settings of gathering and deciding, without the rules.
    pub forwarder: ForwarderSettings,
    /// The receiver of the spans that are kept.
    pub output: OtlpSettings,
    /// The source of the tail rules. Without it, those that were saved stay in force.
    pub control: Option<ControlSettings>,
    /// The other samplers of the stack. Without them, the sampler decides on every trace. They
    /// require a journal.
    pub peers: Option<PeersSettings>,
    /// The TracingStack that the sampler belongs to. Empty for a sampler outside a cluster.
    pub stack: String,
    /// OpenTelemetry's `service.instance.id`.
    pub instance: String,
    /// The settings of the log. The sampler has no traces or metrics of its own to export.
    pub log: TelemetrySettings,
}

/// The source of the tail rules.
#[derive(Clone, Debug)]
pub struct ControlSettings {
    /// The control plane's address.
    pub endpoint: Uri,
    /// The files that secure the stream.
    pub credentials: Credentials,
}

impl SamplerArgs {
    /// Completes the options with environment variables, which `variable` looks up by name.
    ///
    /// # Errors
    /// All invalid settings, each with its name and valid values.
    pub fn settings(
        self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<SamplerSettings, InvalidSettings> {
        let mut reader = SettingsReader::default();
        let environment = TelemetrySettings::read(variable)
            .map_err(|InvalidSettings(errors)| {
                for error in errors {
                    reader.add_error(error.setting, error.problem);
                }
            })
            .ok();
        self.check(&mut reader);
        // Also without a valid environment, so that errors of both are reported together.
        let instance = environment.as_ref().map(|it| it.instance.as_str());
        let peers = self.peers(instance, &mut reader);
        let settings =
            environment.and_then(|environment| self.complete(environment, peers, &mut reader));
        reader.finish(settings)
    }

    fn check(&self, reader: &mut SettingsReader) {
        if !DECISION_WAITS.contains(&self.decision_wait) {
            let problem = format!("must be from 100ms to 10m, not {:?}", self.decision_wait);
            reader.add_error("--decision-wait (SPOOR_DECISION_WAIT)", problem);
        }
        let max_trace_duration = self.max_trace_duration;
        if !(self.decision_wait..=MAX_TRACE_DURATION).contains(&max_trace_duration) {
            let problem = format!("must be from --decision-wait to 1h, not {max_trace_duration:?}");
            reader.add_error("--max-trace-duration (SPOOR_MAX_TRACE_DURATION)", problem);
        }
        if self.memory < MIN_MEMORY_BYTES {
            let problem = format!("must be at least 32MiB, not {} bytes", self.memory);
            reader.add_error("--memory (SPOOR_MEMORY)", problem);
        }
        if self.journal_size < MIN_JOURNAL_BYTES {
            let problem = format!("must be at least 128MiB, not {} bytes", self.journal_size);
            reader.add_error("--journal-size (SPOOR_JOURNAL_SIZE)", problem);
        }
        // A TracingStack has a name of the same form as a policy.
        if !self.stack.is_empty() {
            reader.check("--stack (SPOOR_STACK)", PolicyName::new(&self.stack));
        }
    }

    fn complete(
        self,
        mut environment: TelemetrySettings,
        peers: Option<PeersSettings>,
        reader: &mut SettingsReader,
    ) -> Option<SamplerSettings> {
        let Some(output) = environment.otlp.take() else {
            let problem = "must be \"otlp\", since a sampler forwards traces";
            reader.add_error("OTEL_TRACES_EXPORTER", problem);
            return None;
        };
        if leads_to(&output.endpoint, self.listen) {
            let problem = format!(
                "must be another receiver, not the sampler's own address {}",
                self.listen
            );
            reader.add_error("OTEL_EXPORTER_OTLP_ENDPOINT", problem);
        }
        let endpoint = environment.control_endpoint.take();
        let control = endpoint.map(|endpoint| ControlSettings {
            endpoint,
            credentials: environment.credentials.clone(),
        });
        // Only the log is left: spans of the sampler's own work would lead to more work.
        environment.is_disabled = true;
        Some(SamplerSettings {
            listen: self.listen,
            ops_listen: self.ops_listen,
            forwarder: self.forwarder(),
            output,
            control,
            peers,
            instance: environment.instance.clone(),
            stack: self.stack,
            log: environment,
        })
    }

    fn forwarder(&self) -> ForwarderSettings {
        let journal = |folder: &PathBuf| JournalSettings {
            folder: folder.clone(),
            max_bytes: self.journal_size as u64,
        };
        ForwarderSettings {
            tail: TailSettings {
                decision_wait: self.decision_wait,
                max_trace_duration: self.max_trace_duration,
                max_bytes: self.memory,
                max_remembered_decisions: MAX_REMEMBERED_DECISIONS,
                namespace: self.namespace.clone(),
            },
            receive: ReceiveSettings {
                other_signals_advice: OTHER_SIGNALS_ADVICE,
                ..ReceiveSettings::default()
            },
            journal: self.journal.as_ref().map(journal),
            decides_at_shutdown: self.decide_at_shutdown,
            ..ForwarderSettings::default()
        }
    }
}

#[cfg(test)]
mod tests;
