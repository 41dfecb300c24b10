//! The stream of tail rules from the control plane.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use spoor_proto::spoor::{
    control::v1::{
        Acknowledgement, ControlMessage, Refusal, SamplerHello, SamplerMessage, TailCount,
        TailReport, TailRules, control_message, sampler_message::Message,
        tail_rule_stream_client::TailRuleStreamClient,
    },
    sampler::v1::Rings,
};
use spoor_runtime::LogLimit;
use spoor_telemetry::control_stream::{
    Connection, Credentials, Exchange, Intervals, Link, SessionError, Sessions, in_parts,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::{
    in_force::{RulesInForce, to_wire},
    peers::Peers,
};

/// The longest message with rules. A rule may take 16 KiB.
pub(crate) const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// The most bytes of counts in one report. The control plane accepts messages of 4 MiB with 262,144
/// counts of policies and rules, of which each takes at least seven bytes.
const MAX_COUNTS_BYTES: usize = 1 << 20;

/// Limits warnings: rings that cannot be adopted are tried again with each report.
static REFUSED_RINGS: LogLimit = LogLimit::new();

/// The sessions in which the sampler receives its rules.
#[derive(Debug)]
pub(crate) struct RuleSessions {
    pub(crate) endpoint: Endpoint,
    pub(crate) credentials: Credentials,
    pub(crate) intervals: Intervals,
    pub(crate) stack: String,
    pub(crate) instance: String,
    /// The ID of this process, which is one run of the instance.
    pub(crate) start: String,
    pub(crate) rules: Arc<RulesInForce>,
    /// The state that receives the rings, if there are peers.
    pub(crate) peers: Option<Arc<Peers>>,
}

type RuleExchange = Exchange<SamplerMessage, ControlMessage>;

impl Sessions for RuleSessions {
    const HELD: &'static str = "tail rules";

    async fn run(
        &mut self,
        link: &mut Link,
        shutdown: &CancellationToken,
    ) -> Result<(), SessionError> {
        let Some(exchange) = shutdown.run_until_cancelled(self.open()).await else {
            return Ok(());
        };
        let mut session = Session {
            sessions: self,
            exchange: exchange?,
            link,
            opened: Instant::now(),
            last: None,
            rings: None,
        };
        let ended = session.serve(shutdown).await;
        self.rules.set_connected(false);
        ended
    }
}

impl RuleSessions {
    async fn open(&self) -> Result<RuleExchange, SessionError> {
        let connection =
            Connection::open(&self.endpoint, &self.credentials, self.intervals).await?;
        let (request, outgoing) = connection.request(message(self.hello()))?;
        let mut client = TailRuleStreamClient::new(connection.channel())
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        connection
            .exchange(outgoing, client.subscribe(request))
            .await
    }

    fn hello(&self) -> Message {
        let held = self.rules.held();
        let digest = held.map(|held| held.digest.0.to_be_bytes().to_vec());
        Message::Hello(SamplerHello {
            stack: self.stack.clone(),
            instance: self.instance.clone(),
            held: held.map(|held| to_wire(held.version)),
            held_digest: digest.unwrap_or_default(),
            start: self.start.clone(),
        })
    }
}

struct Session<'a> {
    sessions: &'a RuleSessions,
    exchange: RuleExchange,
    link: &'a mut Link,
    opened: Instant,
    /// All counts that were reported in this session, and the time of the last report.
    last: Option<(Vec<TailCount>, Instant)>,
    /// The rings that could not be adopted yet. The control plane does not send them again.
    rings: Option<Rings>,
}

impl Session<'_> {
    async fn serve(&mut self, shutdown: &CancellationToken) -> Result<(), SessionError> {
        let period = self.sessions.intervals.report;
        let mut reports = interval(period.max(Duration::from_millis(1)));
        // Counts are cumulative, so one report replaces all that were missed.
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Shutdown has priority over rules, and rules over reports, which repeat.
                biased;
                () = shutdown.cancelled() => {
                    self.shutdown_notice().await;
                    return Ok(());
                }
                received = self.exchange.receive() => self.handle(received?).await?,
                _ = reports.tick() => {
                    if let Some(rings) = self.rings.take() {
                        self.adopt(rings).await;
                    }
                    self.report().await?;
                }
            }
        }
    }

    async fn handle(&mut self, received: ControlMessage) -> Result<(), SessionError> {
        self.set_accepted();
        match received.message {
            Some(control_message::Message::Rules(rules)) => self.install(rules).await,
            Some(control_message::Message::Rings(rings)) => {
                self.adopt(rings).await;
                Ok(())
            }
            // A later version of the protocol added the message.
            None => Ok(()),
        }
    }

    /// Puts rings in force, or keeps them for another attempt.
    async fn adopt(&mut self, rings: Rings) {
        let Some(peers) = &self.sessions.peers else {
            return;
        };
        self.rings = match peers.adopt(&rings).await {
            Ok(()) => None,
            Err(error) => {
                if let Some(suppressed) = REFUSED_RINGS.admit() {
                    tracing::warn!(%error, suppressed, "cannot adopt the control plane's rings");
                }
                Some(rings)
            }
        };
    }

    async fn install(&mut self, received: TailRules) -> Result<(), SessionError> {
        let response = match self.sessions.rules.install(&received).await {
            Ok(version) => Message::Acknowledgement(Acknowledgement {
                version: Some(to_wire(version)),
            }),
            Err(reason) => {
                tracing::warn!(%reason, "tail rules refused; keeping the previous ones");
                Message::Refusal(Refusal {
                    version: received.version,
                    reason: reason.to_string(),
                })
            }
        };
        self.exchange.send(message(response)).await
    }

    fn set_accepted(&mut self) {
        self.link.accepted_by(&self.sessions.endpoint);
        self.sessions.rules.set_connected(true);
    }

    /// Sends the counts that have changed. Without changes, sends an empty report if the last one is
    /// old.
    async fn report(&mut self) -> Result<(), SessionError> {
        let counts = self.sessions.rules.counts();
        let intervals = self.sessions.intervals;
        // No rules are sent if the sampler holds the current ones, and a denial comes sooner.
        if self.opened.elapsed() >= intervals.deadline {
            self.set_accepted();
        }
        let changed = self.changed(&counts);
        // One interval early, since the next tick would be too late.
        let is_due = !changed.is_empty()
            || self
                .last
                .as_ref()
                .is_none_or(|(_, at)| at.elapsed() + intervals.report > intervals.heartbeat);
        if !is_due {
            return Ok(());
        }
        self.last = Some((counts, Instant::now()));
        for report in reports(changed) {
            self.exchange.send(report).await?;
        }
        Ok(())
    }

    /// The counts that this session has not reported yet.
    fn changed(&self, counts: &[TailCount]) -> Vec<TailCount> {
        // Only decisions by the latest rules are added, and their counts come last.
        let unchanged = self.last.as_ref().map_or(0, |(last, _)| {
            let pairs = last.iter().zip(counts);
            pairs.take_while(|(last, count)| last == count).count()
        });
        counts.get(unchanged..).unwrap_or_default().to_vec()
    }

    /// Sends the final report, which has little time and so only the counts that have changed.
    async fn shutdown_notice(&mut self) {
        let last = reports(self.changed(&self.sessions.rules.counts()));
        let deadline = self.sessions.intervals.shutdown_notice;
        self.exchange.finish(last, deadline).await;
    }
}

/// Divides counts into messages that the control plane accepts. There is at least one, since a report
/// without counts shows that the stream is in use.
fn reports(counts: Vec<TailCount>) -> Vec<SamplerMessage> {
    let unix_millis = Timestamp::now().as_millisecond();
    let parts = in_parts(counts, MAX_COUNTS_BYTES).into_iter();
    let reports = parts.map(|counts| {
        message(Message::Report(TailReport {
            counts,
            unix_millis,
        }))
    });
    reports.collect()
}

fn message(message: Message) -> SamplerMessage {
    SamplerMessage {
        message: Some(message),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use spoor_proto::spoor::control::v1::{RuleCount, Version};

    use super::*;

    #[test]
    fn long_reports_are_divided() {
        let count = TailCount {
            version: Some(Version {
                epoch: u64::MAX,
                sequence: 1,
            }),
            policy: "x".repeat(63),
            rules: vec![RuleCount::default(); 4],
            ..TailCount::default()
        };
        let reports = reports(vec![count; 50_000]);
        assert!(reports.len() > 1);
        let mut counts = 0;
        for report in &reports {
            assert!(report.encoded_len() < 4 << 20);
            if let Some(Message::Report(report)) = &report.message {
                counts += report.counts.len();
            }
        }
        assert_eq!(counts, 50_000);
    }
}
