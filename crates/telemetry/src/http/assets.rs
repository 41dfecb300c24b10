//! Files that are built into the program.

use axum::{Router, routing::get};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

/// Routes to files, each given by its path, type and content.
pub fn assets<S: Clone + Send + Sync + 'static, const N: usize>(
    files: [(&str, &'static str, &'static str); N],
) -> Router<S> {
    // Not longer, since the URLs stay the same when the content changes.
    let cache = (CACHE_CONTROL, "max-age=300");
    files
        .into_iter()
        .fold(Router::new(), |router, (path, kind, content)| {
            let headers = [(CONTENT_TYPE, kind), cache.clone()];
            router.route(path, get(async move || (headers, content)))
        })
}
