//! Validation of a stack's sampler.

use super::{ManagedSampler, Sampler, SamplerClaim, SamplerStorage};
use crate::{
    FieldPath,
    errors::{Checked, Errors},
    formats, problem,
    tracing_stack::{
        CollectorSpec, Quantity, SamplerEngine, SamplerSpec, SamplerStorageSpec, TracingStackSpec,
    },
};

/// The millionths, the unit of [`Quantity::millionths`], in one byte.
const MILLIONTHS_PER_BYTE: u128 = 1_000_000;

impl Errors {
    /// Checks the sampler, and the fields of the Collector that depend on its engine.
    pub(super) fn sampler(&mut self, spec: &TracingStackSpec, at: &FieldPath) -> Checked<Sampler> {
        let sampler_at = at.field("sampler");
        let (sampler, collector) = (&spec.sampler, &spec.collector);
        let engine = sampler.engine.unwrap_or_default();
        if let Some(existing) = &collector.existing {
            if existing.kept.is_none() {
                if *sampler != SamplerSpec::default() {
                    return Err(self.report(sampler_at, problem::SAMPLER_OF_EXISTING));
                }
                return Ok(Sampler::OpenTelemetry);
            }
            if engine == SamplerEngine::OpenTelemetry {
                let at = sampler_at.field("engine");
                return Err(self.report(at, problem::ENGINE_OF_EXISTING));
            }
        }
        match engine {
            SamplerEngine::OpenTelemetry => {
                // Compared as a whole, so that no field can be forgotten.
                let only_engine = SamplerSpec {
                    engine: sampler.engine,
                    ..SamplerSpec::default()
                };
                if *sampler != only_engine {
                    self.add(sampler_at.field("engine"), problem::SAMPLER_ENGINE);
                }
                Ok(Sampler::OpenTelemetry)
            }
            SamplerEngine::Spoor => {
                self.moved_fields(collector, &at.field("collector"));
                self.managed_sampler(sampler, &sampler_at)
            }
        }
    }

    /// Refuses the fields of the Collector that only its own tail sampler uses.
    fn moved_fields(&mut self, collector: &CollectorSpec, at: &FieldPath) {
        if collector.gather_wait.is_some() {
            self.add(at.field("gatherWait"), problem::MOVED_GATHER_WAIT);
        }
        if collector.decision_wait.is_some() {
            self.add(at.field("decisionWait"), problem::MOVED_DECISION_WAIT);
        }
    }

    fn managed_sampler(&mut self, spec: &SamplerSpec, at: &FieldPath) -> Checked<Sampler> {
        let replicas = self.replicas(spec.replicas, at.field("replicas"));
        let decision_wait = self.duration(
            &formats::DURATION,
            &spec.decision_wait,
            ManagedSampler::DEFAULT_DECISION_WAIT,
            ManagedSampler::DECISION_WAIT_LIMITS,
            at.field("decisionWait"),
        );
        let max_trace_duration = self.duration(
            &formats::DURATION,
            &spec.max_trace_duration,
            ManagedSampler::DEFAULT_MAX_TRACE_DURATION,
            ManagedSampler::MAX_TRACE_DURATION_LIMITS,
            at.field("maxTraceDuration"),
        );
        if let (Ok(wait), Ok(duration)) = (&decision_wait, &max_trace_duration)
            && wait > duration
        {
            self.add(at.field("decisionWait"), problem::SAMPLER_DECISION_WAIT);
        }
        let memory = self.bytes_within(
            &spec.memory,
            ManagedSampler::DEFAULT_MEMORY,
            ManagedSampler::MEMORY_LIMITS,
            at.field("memory"),
        );
        let storage = self.sampler_storage(&spec.storage, &at.field("storage"));
        let pod = self.pod(&spec.resources, &spec.scheduling, &spec.pod, at);
        Ok(Sampler::Spoor(Box::new(ManagedSampler {
            replicas: replicas?,
            decision_wait: decision_wait?,
            max_trace_duration: max_trace_duration?,
            memory: memory?,
            storage: storage?,
            pod: pod?,
        })))
    }

    fn sampler_storage(
        &mut self,
        spec: &Option<SamplerStorageSpec>,
        at: &FieldPath,
    ) -> Checked<SamplerStorage> {
        let spec = spec.clone().unwrap_or_default();
        let size = self.bytes_within(
            &spec.size,
            SamplerStorage::DEFAULT_SIZE,
            SamplerStorage::SIZE_LIMITS,
            at.field("size"),
        );
        let class_at = at.field("claim").field("storageClassName");
        let claim = spec.claim.map(|claim| {
            let class = self.object_name(&claim.storage_class_name, class_at);
            class.map(|storage_class_name| SamplerClaim { storage_class_name })
        });
        Ok(SamplerStorage {
            size: size?,
            claim: claim.transpose()?,
        })
    }

    /// Checks an amount of memory or storage with a default, and returns it in bytes.
    fn bytes_within(
        &mut self,
        amount: &Option<Quantity>,
        default: &str,
        [min, max]: [&str; 2],
        at: FieldPath,
    ) -> Checked<u64> {
        let default = Quantity(default.to_owned());
        let millionths = amount.as_ref().unwrap_or(&default).millionths();
        let millionths = self.check(at.clone(), millionths)?;
        // The limits are constants, so they are quantities.
        let limit = |text: &str| Quantity(text.to_owned()).millionths().unwrap_or_default();
        if !(limit(min)..=limit(max)).contains(&millionths) {
            return Err(self.report(at, problem::quantity_range([min, max])));
        }
        self.check(at, u64::try_from(millionths / MILLIONTHS_PER_BYTE))
    }
}
