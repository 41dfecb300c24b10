//! Validation of a `TracingStack`.

use std::{collections::BTreeMap, time::Duration};

use spoor_policy::Namespace;

use super::{
    Address, BasePath, Collector, ExistingJaeger, ExporterName, Jaeger, ManagedCollector,
    ManagedJaeger, ObjectName, Stack, StackName,
};
use crate::{
    FieldError, FieldPath, TracingStack, TracingStackSpec,
    errors::Errors,
    form::{self, Form},
    format_duration, parse_duration, problem,
    tracing_stack::{self as written, CollectorSpec, JaegerSpec},
};

impl TracingStack {
    /// Checks all fields and returns the stack.
    ///
    /// # Errors
    /// All errors.
    pub fn validate(&self) -> Result<Stack, Vec<FieldError>> {
        let mut errors = Errors::default();
        let root = FieldPath::root();
        errors.kind(&self.api_version, &self.kind, Self::KIND);
        let at = root.field("metadata");
        let name = errors.check(at.field("name"), StackName::new(&self.metadata.name));
        let namespace = match &self.metadata.namespace {
            Some(namespace) => errors.check(at.field("namespace"), Namespace::new(namespace)),
            None => Some(Namespace::default()),
        };
        let parts = errors.stack(&self.spec, &root.field("spec"));
        match (namespace, name, parts) {
            (Some(namespace), Some(name), Some((jaeger, collector))) if errors.is_empty() => {
                Ok(Stack {
                    namespace,
                    name,
                    route: self.spec.route,
                    jaeger,
                    collector,
                })
            }
            _ => Err(errors.into_found()),
        }
    }
}

/// Checks of single fields.
impl Errors {
    pub(super) fn form(&mut self, form: &Form, text: &str, at: FieldPath) -> Option<String> {
        self.check(at, form.check(text)).map(str::to_owned)
    }

    /// Checks a text with a default.
    pub(super) fn form_or(
        &mut self,
        form: &Form,
        text: Option<&String>,
        default: &str,
        at: FieldPath,
    ) -> Option<String> {
        match text {
            Some(text) => self.form(form, text, at),
            None => Some(default.to_owned()),
        }
    }

    /// Returns `None` for an invalid name, and `Some(None)` for an absent one.
    #[allow(clippy::option_option)]
    pub(super) fn object_name(
        &mut self,
        name: Option<&String>,
        at: FieldPath,
    ) -> Option<Option<ObjectName>> {
        match name {
            Some(name) => self.check(at, ObjectName::new(name)).map(Some),
            None => Some(None),
        }
    }

    /// Checks a duration with a default.
    pub(super) fn duration(
        &mut self,
        text: Option<&String>,
        default: Duration,
        allowed: (Duration, Duration),
        at: FieldPath,
    ) -> Option<Duration> {
        let Some(text) = text else {
            return Some(default);
        };
        self.form(&form::DURATION, text, at.clone())?;
        let duration = self.check(at.clone(), parse_duration(text))?;
        let (least, most) = allowed;
        if duration < least || duration > most {
            let problem = format!(
                "must be from {} to {}, not {text}",
                format_duration(least),
                format_duration(most)
            );
            self.add(at, problem);
            return None;
        }
        Some(duration)
    }

    pub(super) fn count(
        &mut self,
        number: Option<i32>,
        default: u32,
        max: u32,
        at: FieldPath,
    ) -> Option<u32> {
        let Some(number) = number else {
            return Some(default);
        };
        let count = u32::try_from(number).ok();
        let count = count.filter(|count| (1..=max).contains(count));
        if count.is_none() {
            self.add(
                at,
                format!("must be a whole number from 1 to {max}, not {number}"),
            );
        }
        count
    }

    pub(super) fn replicas(&mut self, number: Option<i32>, at: FieldPath) -> Option<u16> {
        let max = u32::from(ManagedCollector::MAX_REPLICAS);
        let count = self.count(number, 1, max, at)?;
        u16::try_from(count).ok()
    }
}

impl Errors {
    fn stack(&mut self, spec: &TracingStackSpec, at: &FieldPath) -> Option<(Jaeger, Collector)> {
        let jaeger = self.jaeger(&spec.jaeger, &at.field("jaeger"));
        let collector = self.collector(&spec.collector, &at.field("collector"));
        Some((jaeger?, collector?))
    }

    fn jaeger(&mut self, spec: &JaegerSpec, at: &FieldPath) -> Option<Jaeger> {
        let Some(existing) = &spec.existing else {
            return self.managed_jaeger(spec, at);
        };
        let at = at.field("existing");
        // Compared as a whole, so that no field can be forgotten.
        let alone = JaegerSpec {
            existing: Some(existing.clone()),
            ..JaegerSpec::default()
        };
        if *spec != alone {
            self.add(at.clone(), problem::EXISTING_JAEGER);
        }
        let otlp = self.named_address(&existing.otlp, at.field("otlp"));
        let query = match &existing.query {
            Some(query) => self.named_address(query, at.field("query")).map(Some),
            None => Some(None),
        };
        Some(Jaeger::Existing(ExistingJaeger {
            otlp: otlp?,
            query: query?,
        }))
    }

    fn managed_jaeger(&mut self, spec: &JaegerSpec, at: &FieldPath) -> Option<Jaeger> {
        let default = ManagedJaeger::DEFAULT_IMAGE;
        let image = self.form_or(
            &form::IMAGE,
            spec.image.as_ref(),
            default,
            at.field("image"),
        );
        let replicas = self.replicas(spec.replicas, at.field("replicas"));
        let storage = self.storage(spec.storage.as_ref(), replicas.unwrap_or(1), at);
        let has_clickhouse_tls = spec
            .storage
            .as_ref()
            .and_then(|storage| storage.clickhouse.as_ref())
            .is_some_and(|clickhouse| clickhouse.tls.is_some());
        if has_clickhouse_tls && spec.image.is_none() {
            let at = at.field("storage").field("clickhouse").field("tls");
            self.add(at, problem::CLICKHOUSE_TLS);
        }
        let base_path = match &spec.base_path {
            Some(path) => self.check(at.field("basePath"), BasePath::new(path)),
            None => Some(BasePath::default()),
        };
        let prometheus = match &spec.prometheus {
            Some(prometheus) => {
                let at = at.field("prometheus").field("url");
                self.form(&form::PROMETHEUS_URL, &prometheus.url, at)
                    .map(Some)
            }
            None => Some(None),
        };
        let pod = self.pod(
            spec.resources.as_ref(),
            spec.scheduling.as_ref(),
            spec.pod.as_ref(),
            at,
        );
        replicas?;
        Some(Jaeger::Managed(Box::new(ManagedJaeger {
            image: image?,
            image_pull_policy: spec.image_pull_policy.unwrap_or_default(),
            storage: storage?,
            base_path: base_path?,
            prometheus: prometheus?,
            pod: pod?,
        })))
    }

    fn collector(&mut self, spec: &CollectorSpec, at: &FieldPath) -> Option<Collector> {
        let Some(existing) = &spec.existing else {
            return self.managed_collector(spec, at);
        };
        let at = at.field("existing");
        // Compared as a whole, so that no field can be forgotten.
        let alone = CollectorSpec {
            existing: Some(existing.clone()),
            ..CollectorSpec::default()
        };
        if *spec != alone {
            self.add(at.clone(), problem::EXISTING_COLLECTOR);
        }
        self.named_address(&existing.otlp, at.field("otlp"))
            .map(Collector::Existing)
    }

    fn managed_collector(&mut self, spec: &CollectorSpec, at: &FieldPath) -> Option<Collector> {
        let default = ManagedCollector::DEFAULT_IMAGE;
        let image = self.form_or(
            &form::IMAGE,
            spec.image.as_ref(),
            default,
            at.field("image"),
        );
        let replicas = self.replicas(spec.replicas, at.field("replicas"));
        let gather_wait = self.duration(
            spec.gather_wait.as_ref(),
            ManagedCollector::DEFAULT_GATHER_WAIT,
            ManagedCollector::GATHER_WAIT,
            at.field("gatherWait"),
        );
        let decision_wait = self.duration(
            spec.decision_wait.as_ref(),
            ManagedCollector::DEFAULT_DECISION_WAIT,
            ManagedCollector::DECISION_WAIT,
            at.field("decisionWait"),
        );
        if let (Some(gather), Some(decision)) = (gather_wait, decision_wait)
            && gather > decision
        {
            self.add(at.field("gatherWait"), problem::GATHER_WAIT);
        }
        let exporters = self.exporters(&spec.exporters, &at.field("exporters"));
        let secrets = self.secrets(&spec.env_from_secrets, &at.field("envFromSecrets"));
        let pod = self.pod(
            spec.resources.as_ref(),
            spec.scheduling.as_ref(),
            spec.pod.as_ref(),
            at,
        );
        Some(Collector::Managed(Box::new(ManagedCollector {
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
        let named = exporters.iter().filter_map(|(name, settings)| {
            let name = self.check(at.field(name), ExporterName::new(name))?;
            Some((name, settings.0.clone()))
        });
        named.collect()
    }

    fn secrets(&mut self, names: &[String], at: &FieldPath) -> Vec<ObjectName> {
        self.at_most(names.len(), ManagedCollector::MAX_SECRETS, at);
        self.distinct(names, |index| at.index(index));
        let indexed = names.iter().enumerate();
        indexed
            .filter_map(|(index, name)| self.check(at.index(index), ObjectName::new(name)))
            .collect()
    }

    fn named_address(&mut self, text: &str, at: FieldPath) -> Option<Address> {
        self.form(&form::NAMED_ADDRESS, text, at.clone())?;
        self.check(at, Address::new(text))
    }
}
