//! Headers that make browsers restrict a page.

use axum::http::{HeaderName, HeaderValue, header};

/// The headers of a page with this content security policy and referrer policy, which no other page
/// may embed.
#[must_use]
pub fn page_headers(
    content_security_policy: &'static str,
    referrer_policy: &'static str,
) -> [(HeaderName, HeaderValue); 4] {
    [
        (header::CONTENT_SECURITY_POLICY, content_security_policy),
        (header::REFERRER_POLICY, referrer_policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // For browsers that do not know the `frame-ancestors` of a content security policy.
        (header::X_FRAME_OPTIONS, "DENY"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}
