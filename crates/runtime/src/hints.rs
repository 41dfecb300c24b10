//! Hints for requests with a well-known HTTP path that arrive at the port of another API.

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::IntoResponse,
};
use http::StatusCode;

use crate::Problem;

/// The API that a well-known path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Spans over OTLP.
    OtlpTraces,
    /// Metrics over OTLP.
    OtlpMetrics,
    /// Logs and profiles over OTLP.
    OtlpOthers,
    /// Jaeger's query API, of any version.
    JaegerQuery,
    /// Jaeger's remote sampling.
    JaegerSampling,
    /// Spans in Zipkin's formats.
    Zipkin,
}

impl Api {
    fn of_path(path: &str) -> Option<Self> {
        match path {
            "/v1/traces" => Some(Self::OtlpTraces),
            "/v1/metrics" => Some(Self::OtlpMetrics),
            "/v1/logs" | "/v1development/profiles" => Some(Self::OtlpOthers),
            "/sampling" | "/api/sampling" => Some(Self::JaegerSampling),
            "/api/v1/spans" | "/api/v2/spans" => Some(Self::Zipkin),
            _ => match path.strip_prefix("/api/")?.split('/').next()? {
                "traces" | "services" | "operations" | "dependencies" | "metrics" | "v3" => {
                    Some(Self::JaegerQuery)
                }
                _ => None,
            },
        }
    }
}

/// Responds to well-known paths with `hint`, which names the right port or returns `None` for the
/// port's own paths. Without hints, clients with a wrong port in their settings get a bare 404.
pub fn with_hints<H>(router: Router, hint: H) -> Router
where
    H: Fn(Api) -> Option<String> + Clone + Send + Sync + 'static,
{
    router.layer(from_fn(move |request: Request, next: Next| {
        let path = request.uri().path();
        let hint = Api::of_path(path)
            .and_then(&hint)
            .map(|hint| format!("{path} is not served on this port; {hint}"));
        async move {
            match hint {
                Some(detail) => Problem::new(StatusCode::NOT_FOUND, detail).into_response(),
                None => next.run(request).await,
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("/v1/traces", Some(Api::OtlpTraces))]
    #[case("/v1/metrics", Some(Api::OtlpMetrics))]
    #[case("/v1/logs", Some(Api::OtlpOthers))]
    #[case("/sampling", Some(Api::JaegerSampling))]
    #[case("/api/sampling", Some(Api::JaegerSampling))]
    #[case("/api/traces", Some(Api::JaegerQuery))]
    #[case("/api/traces/0123", Some(Api::JaegerQuery))]
    #[case("/api/v3/trace-summaries", Some(Api::JaegerQuery))]
    #[case("/api/v2/spans", Some(Api::Zipkin))]
    #[case("/v1/status", None)]
    #[case("/api/tracesque", None)]
    #[case("/", None)]
    fn well_known_paths_have_an_api(#[case] path: &str, #[case] expected: Option<Api>) {
        assert_eq!(Api::of_path(path), expected);
    }
}
