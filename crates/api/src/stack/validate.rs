//! Validation of a `TracingStack`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Address, Collector, ExistingCollector, ExistingJaeger, ExporterName, Jaeger, ManagedCollector,
    ManagedJaeger, ObjectName, Stack, StackName,
};
use crate::{
    FieldError, FieldPath, TracingStack,
    duration::{format_days_or_duration, parse_days_or_duration},
    errors::{Checked, Errors},
    format_duration,
    formats::{self, Format},
    problem,
    tracing_stack::{self as written, CollectorSpec, JaegerSpec},
};

impl TracingStack {
    /// Checks all fields and returns the stack.
    ///
    /// # Errors
    /// The errors in all fields.
    pub fn validate(&self) -> Result<Stack, Vec<FieldError>> {
        let mut errors = Errors::default();
        let root = FieldPath::root();
        errors.kind(&self.api_version, &self.kind, Self::KIND);
        let at = root.field("metadata");
        let name = errors.check(at.field("name"), StackName::new(&self.metadata.name));
        let namespace = errors.namespace(&self.metadata, &at);
        let at = root.field("spec");
        let jaeger = errors.jaeger(&self.spec.jaeger, &at.field("jaeger"));
        let collector = errors.collector(&self.spec.collector, &at.field("collector"));
        let sampler = errors.sampler(&self.spec, &at);
        let (Ok(namespace), Ok(name), Ok(jaeger), Ok(collector), Ok(sampler), true) = (
            namespace,
            name,
            jaeger,
            collector,
            sampler,
            errors.is_empty(),
        ) else {
            return Err(errors.into_vec());
        };
        Ok(Stack {
            namespace,
            name,
            route: self.spec.route,
            jaeger,
            collector,
            sampler,
        })
    }
}

/// Checks of single fields.
impl Errors {
    pub(super) fn text(&mut self, format: &Format, text: &str, at: FieldPath) -> Checked<String> {
        self.check(at, format.check(text)).map(str::to_owned)
    }

    pub(super) fn optional_text(
        &mut self,
        format: &Format,
        text: &Option<String>,
        at: FieldPath,
    ) -> Checked<Option<String>> {
        let text = text.as_ref();
        text.map(|text| self.text(format, text, at)).transpose()
    }

    /// Checks a text with a default.
    pub(super) fn text_or(
        &mut self,
        format: &Format,
        text: &Option<String>,
        default: &str,
        at: FieldPath,
    ) -> Checked<String> {
        let text = self.optional_text(format, text, at)?;
        Ok(text.unwrap_or_else(|| default.to_owned()))
    }

    pub(super) fn object_name(
        &mut self,
        name: &Option<String>,
        at: FieldPath,
    ) -> Checked<Option<ObjectName>> {
        let name = name.as_ref();
        name.map(|name| self.check(at, ObjectName::new(name)))
            .transpose()
    }

    /// Checks a duration with a default, which may be in days if the format allows that.
    pub(super) fn duration(
        &mut self,
        format: &Format,
        text: &Option<String>,
        default: Duration,
        (min, max): (Duration, Duration),
        at: FieldPath,
    ) -> Checked<Duration> {
        let Some(text) = text else {
            return Ok(default);
        };
        self.text(format, text, at.clone())?;
        let duration = self.check(at.clone(), parse_days_or_duration(text))?;
        if (min..=max).contains(&duration) {
            return Ok(duration);
        }
        let (min, max) = (format_duration(min), format_days_or_duration(max));
        Err(self.report(at, format!("must be from {min} to {max}, not {text}")))
    }

    pub(super) fn count(
        &mut self,
        number: Option<i32>,
        default: u32,
        max: u32,
        at: FieldPath,
    ) -> Checked<u32> {
        let Some(number) = number else {
            return Ok(default);
        };
        let count = u32::try_from(number).ok();
        let count = count.filter(|count| (1..=max).contains(count));
        let problem = || format!("must be a whole number from 1 to {max}, not {number}");
        self.check(at, count.ok_or_else(problem))
    }

    pub(super) fn replicas(&mut self, number: Option<i32>, at: FieldPath) -> Checked<u16> {
        let max = u32::from(ManagedCollector::MAX_REPLICAS);
        let count = self.count(number, 1, max, at.clone())?;
        self.check(at, u16::try_from(count))
    }

    /// Checks a list of names of Secrets.
    pub(super) fn secrets(
        &mut self,
        names: &[String],
        max: usize,
        at: &FieldPath,
    ) -> Vec<ObjectName> {
        self.at_most(names.len(), max, at);
        self.distinct(names, |index| at.index(index));
        let indexed = names.iter().enumerate();
        indexed
            .flat_map(|(index, name)| self.check(at.index(index), ObjectName::new(name)))
            .collect()
    }
}

impl Errors {
    fn jaeger(&mut self, spec: &JaegerSpec, at: &FieldPath) -> Checked<Jaeger> {
        let Some(existing) = &spec.existing else {
            return self.managed_jaeger(spec, at);
        };
        let at = at.field("existing");
        // Compared as a whole, so that no field can be forgotten.
        let only_existing = JaegerSpec {
            existing: Some(existing.clone()),
            ..JaegerSpec::default()
        };
        if *spec != only_existing {
            self.add(at.clone(), problem::EXISTING_JAEGER);
        }
        let otlp = self.named_address(&existing.otlp, at.field("otlp"));
        let query = existing.query.as_ref();
        let query = query.map(|query| self.named_address(query, at.field("query")));
        Ok(Jaeger::Existing(ExistingJaeger {
            otlp: otlp?,
            query: query.transpose()?,
        }))
    }

    fn managed_jaeger(&mut self, spec: &JaegerSpec, at: &FieldPath) -> Checked<Jaeger> {
        let default = ManagedJaeger::DEFAULT_IMAGE;
        let image = self.text_or(&formats::IMAGE, &spec.image, default, at.field("image"));
        let replicas = self.replicas(spec.replicas, at.field("replicas"));
        let valid_replicas = *replicas.as_ref().unwrap_or(&1);
        let storage = self.storage(&spec.storage, valid_replicas, at);
        let clickhouse = spec.storage.as_ref().and_then(|it| it.clickhouse.as_ref());
        let has_clickhouse_tls = clickhouse.is_some_and(|it| it.tls.is_some());
        // A custom image may be newer than the default one, and only then supports this.
        if has_clickhouse_tls && spec.image.is_none() {
            let at = at.field("storage").field("clickhouse").field("tls");
            self.add(at, problem::CLICKHOUSE_TLS);
        }
        let path_at = at.field("basePath");
        let base_path = self.text_or(&formats::BASE_PATH, &spec.base_path, "/", path_at);
        let prometheus = spec.prometheus.as_ref().map(|prometheus| {
            let at = at.field("prometheus").field("url");
            self.text(&formats::PROMETHEUS_URL, &prometheus.url, at)
        });
        let pod = self.pod(&spec.resources, &spec.scheduling, &spec.pod, at);
        // The storage already has this number. This only ensures that it is valid.
        replicas?;
        Ok(Jaeger::Managed(Box::new(ManagedJaeger {
            image: image?,
            image_pull_policy: spec.image_pull_policy.unwrap_or_default(),
            storage: storage?,
            base_path: base_path?,
            prometheus: prometheus.transpose()?,
            pod: pod?,
        })))
    }

    fn collector(&mut self, spec: &CollectorSpec, at: &FieldPath) -> Checked<Collector> {
        let Some(existing) = &spec.existing else {
            return self.managed_collector(spec, at);
        };
        let at = at.field("existing");
        // Compared as a whole, so that no field can be forgotten.
        let only_existing = CollectorSpec {
            existing: Some(existing.clone()),
            ..CollectorSpec::default()
        };
        if *spec != only_existing {
            self.add(at.clone(), problem::EXISTING_COLLECTOR);
        }
        let otlp = self.named_address(&existing.otlp, at.field("otlp"));
        let (kept, kept_at) = (existing.kept.as_ref(), at.field("kept"));
        if kept == Some(&existing.otlp) {
            self.add(kept_at.clone(), problem::KEPT_IS_OTLP);
        }
        let kept = kept.map(|kept| self.named_address(kept, kept_at));
        Ok(Collector::Existing(ExistingCollector {
            otlp: otlp?,
            kept: kept.transpose()?,
        }))
    }

    fn managed_collector(&mut self, spec: &CollectorSpec, at: &FieldPath) -> Checked<Collector> {
        let default = ManagedCollector::DEFAULT_IMAGE;
        let image = self.text_or(&formats::IMAGE, &spec.image, default, at.field("image"));
        let replicas = self.replicas(spec.replicas, at.field("replicas"));
        let gather_wait = self.duration(
            &formats::DURATION,
            &spec.gather_wait,
            ManagedCollector::DEFAULT_GATHER_WAIT,
            ManagedCollector::GATHER_WAIT_LIMITS,
            at.field("gatherWait"),
        );
        let decision_wait = self.duration(
            &formats::DURATION,
            &spec.decision_wait,
            ManagedCollector::DEFAULT_DECISION_WAIT,
            ManagedCollector::DECISION_WAIT_LIMITS,
            at.field("decisionWait"),
        );
        if let (Ok(gather), Ok(decision)) = (&gather_wait, &decision_wait)
            && gather > decision
        {
            self.add(at.field("gatherWait"), problem::GATHER_WAIT);
        }
        let exporters = self.exporters(&spec.exporters, &at.field("exporters"));
        let secrets_at = at.field("envFromSecrets");
        let max_secrets = ManagedCollector::MAX_SECRETS;
        let secrets = self.secrets(&spec.env_from_secrets, max_secrets, &secrets_at);
        let pod = self.pod(&spec.resources, &spec.scheduling, &spec.pod, at);
        Ok(Collector::Managed(Box::new(ManagedCollector {
            image: image?,
            image_pull_policy: spec.image_pull_policy.unwrap_or_default(),
            replicas: replicas?,
            gather_wait: gather_wait?,
            decision_wait: decision_wait?,
            exporters,
            env_from_secrets: secrets,
            pod: pod?,
        })))
    }

    fn exporters(
        &mut self,
        exporters: &BTreeMap<String, written::FreeForm>,
        at: &FieldPath,
    ) -> BTreeMap<ExporterName, serde_json::Map<String, serde_json::Value>> {
        self.at_most(exporters.len(), ManagedCollector::MAX_EXPORTERS, at);
        let named = exporters.iter().flat_map(|(name, settings)| {
            let name = self.check(at.field(name), ExporterName::new(name));
            name.map(|name| (name, settings.0.clone()))
        });
        named.collect()
    }

    fn named_address(&mut self, text: &str, at: FieldPath) -> Checked<Address> {
        // `Address` also allows IP addresses, which a Service of type ExternalName cannot have.
        self.text(&formats::NAMED_ADDRESS, text, at.clone())?;
        self.check(at, Address::new(text))
    }
}
