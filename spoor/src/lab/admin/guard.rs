//! Keeps web pages away from the lab: a browser sends `Origin` with what a foreign page asks,
//! and a rebound DNS name shows in `Host`.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{StatusCode, Uri, header};

use super::problem::Problem;

/// Refuses what does not come from a program on this machine.
pub(super) async fn local_programs_only(request: Request, next: Next) -> Response {
    match check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(request: &Request) -> Result<(), Problem> {
    if request.headers().contains_key(header::ORIGIN) {
        let detail = "a request with an `Origin` header comes from a web page: the lab's API is \
                      for programs on this machine";
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Origin refused",
            detail,
        ));
    }
    let header = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = header.or_else(|| {
        request
            .uri()
            .authority()
            .map(|authority| authority.as_str())
    });
    if host.is_some_and(is_loopback) {
        return Ok(());
    }
    let detail = format!(
        "host {:?} is not this machine's loopback: use http://127.0.0.1",
        host.unwrap_or_default()
    );
    Err(Problem::new(StatusCode::FORBIDDEN, "Host refused", detail))
}

fn is_loopback(host: &str) -> bool {
    let authority = format!("http://{host}/").parse::<Uri>();
    authority
        .ok()
        .and_then(|uri| uri.host().map(str::to_owned))
        .is_some_and(|name| {
            let address = name.trim_start_matches('[').trim_end_matches(']');
            name.eq_ignore_ascii_case("localhost")
                || address
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("127.0.0.1:16600", true)]
    #[case("localhost", true)]
    #[case("LOCALHOST:80", true)]
    #[case("[::1]:16600", true)]
    #[case("evil.example", false)]
    #[case("127.0.0.1.evil.example:16600", false)]
    #[case("192.168.0.1", false)]
    #[case("a b", false)]
    #[case("", false)]
    fn only_loopback_is_this_machine(#[case] host: &str, #[case] local: bool) {
        assert_eq!(is_loopback(host), local);
    }
}
