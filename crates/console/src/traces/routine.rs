//! Requests for static files, and the checks of orchestrators and monitors: traces that are rarely
//! looked for and often in the majority.

use spoor_traces::tree::{Member, value};

/// Paths of health checks, of metrics, and of the icon that browsers request.
const PATHS: [&str; 5] = ["/healthz", "/readyz", "/livez", "/metrics", "/favicon.ico"];
/// The ends of paths of static files.
const EXTENSIONS: [&str; 6] = [".css", ".js", ".png", ".svg", ".ico", ".woff2"];
/// The start of the methods of gRPC's health service.
const HEALTH_SERVICE: &str = "grpc.health.v1.Health/";
/// Attributes with the path of a request, for spans that are named after their method only.
const PATH_ATTRIBUTES: [&str; 3] = ["url.path", "http.target", "http.route"];

/// Returns whether a root span is a request for a static file or a health check.
pub fn is_routine(root: &Member) -> bool {
    let mut attributes = PATH_ATTRIBUTES
        .iter()
        .filter_map(|key| value::string(&root.span.attributes, key));
    is_routine_operation(&root.span.name) || attributes.any(is_routine_path)
}

/// An operation such as `GET /healthz`, `/style.css` or `grpc.health.v1.Health/Check`.
fn is_routine_operation(name: &str) -> bool {
    let path = name.rsplit_once(' ').map_or(name, |(_, path)| path);
    let method = path.strip_prefix('/').unwrap_or(path);
    method.starts_with(HEALTH_SERVICE) || is_routine_path(path)
}

fn is_routine_path(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let is_file = || EXTENSIONS.iter().any(|extension| path.ends_with(extension));
    PATHS.contains(&path) || (path.starts_with('/') && is_file())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::is_routine_operation;

    #[rstest]
    #[case("GET /healthz", true)]
    #[case("/metrics", true)]
    #[case("GET /assets/main.js?v=3", true)]
    #[case("grpc.health.v1.Health/Check", true)]
    #[case("/grpc.health.v1.Health/Watch", true)]
    #[case("GET /", false)]
    #[case("GET /healthz/report", false)]
    #[case("render chart.js", false)]
    #[case("GET", false)]
    fn checks_and_static_files_are_routine(#[case] operation: &str, #[case] expected: bool) {
        assert_eq!(is_routine_operation(operation), expected);
    }
}
