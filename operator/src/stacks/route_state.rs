//! Reads the present state of a stack, as far as its route depends on it.

use spoor_api::stack::{Collector, Route, SamplerEngine, Stack};

use super::{
    build::otlp_service::{self, OtlpTarget},
    children::Detail,
    reconcile::Reconciler,
    route::{RouteState, leaves_engine},
    sources::RelatedObjects,
    status::StackHealth,
};

impl Reconciler {
    /// The present state of a stack, as far as its route depends on it.
    pub(super) async fn route_state(
        &self,
        stack: &Stack,
        related: &RelatedObjects,
        health: &StackHealth,
    ) -> RouteState {
        let target = current_target(stack, related);
        let engine = stack.sampler.engine();
        // An existing Collector takes over immediately, so nothing of another engine is kept for it.
        let is_managed = matches!(stack.collector, Collector::Managed(_));
        let mut state = RouteState {
            target,
            jaeger_is_ready: health.jaeger.is_available,
            collector_is_ready: health.is_collector_complete(stack),
            collector_exists: health.has_engine(engine) || health.has_engine(engine.other()),
            former_engine_exists: is_managed && health.has_engine(engine.other()),
            former_engine_keeps_all: true,
        };
        if target.is_some_and(|target| leaves_engine(stack, target, &state)) {
            let keeps_all = self.former_engine_keeps_all(stack, related, health);
            state.former_engine_keeps_all = keeps_all.await;
        }
        state
    }
}

/// The present route of the OTLP Service, from its annotations.
fn current_target(stack: &Stack, related: &RelatedObjects) -> Option<OtlpTarget> {
    let name = otlp_service::name(stack);
    let mut children = related.children.iter();
    let annotations = children.find_map(|child| match &child.detail {
        Detail::Service(annotations) if child.key.name == name => Some(annotations),
        _ => None,
    })?;
    // From the annotation and not from the selector, which the Service of an existing Collector or
    // Jaeger does not have.
    let route = match annotations.get(otlp_service::ROUTE_ANNOTATION)?.as_str() {
        "Direct" => Route::Direct,
        _ => Route::Collector,
    };
    let engine = annotations.get(otlp_service::ENGINE_ANNOTATION);
    let engine = match engine.map(String::as_str) {
        Some("Spoor") => SamplerEngine::Spoor,
        _ => SamplerEngine::OpenTelemetry,
    };
    let since = annotations.get(otlp_service::ROUTE_SINCE_ANNOTATION);
    Some(OtlpTarget {
        route,
        engine,
        since: since.and_then(|since| since.parse().ok()),
    })
}
