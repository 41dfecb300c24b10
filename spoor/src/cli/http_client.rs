//! HTTP clients that connect directly to this machine, and read bounded responses.

use std::net::IpAddr;

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

/// The size at which reading a response stops: twice the longest that a lab sends.
const MAX_RESPONSE_BYTES: usize = spoor_traces::client::MAX_RESPONSE_BYTES;

/// A client for a base URL. A proxy set in the environment does not apply to this machine's own
/// addresses, which it could not reach.
pub(crate) fn http_client(url: &str) -> Client {
    let builder = match Url::parse(url).is_ok_and(|url| is_loopback(&url)) {
        true => Client::builder().no_proxy(),
        false => Client::builder(),
    };
    // Without TLS, building it cannot fail.
    builder.build().unwrap_or_default()
}

/// Sends a request, and returns the status and the body of the response as [`read_body`] does.
pub(crate) async fn exchange(request: RequestBuilder) -> reqwest::Result<(StatusCode, Vec<u8>)> {
    let response = request.send().await?;
    Ok((response.status(), read_body(response).await?))
}

/// Reads the body of a response, up to the first piece that reaches the limit. JSON that was cut off
/// is invalid.
pub(crate) async fn read_body(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut body = vec![];
    while body.len() < MAX_RESPONSE_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    // An IPv6 address in a URL is in brackets.
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn endless_responses_are_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            let mut piece: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
            while stream.write_all(piece).await.is_ok() {
                piece = &[b' '; 1 << 16];
            }
        });
        let response = http_client(&url).get(&url).send().await.unwrap();
        let body = read_body(response).await.unwrap();
        assert!(body.len() >= MAX_RESPONSE_BYTES);
    }

    #[rstest::rstest]
    #[case("http://127.0.0.1:16686", true)]
    #[case("http://127.1.2.3", true)]
    #[case("http://LOCALHOST:8080/", true)]
    #[case("http://[::1]:8080", true)]
    #[case("http://192.0.2.1", false)]
    #[case("http://tracing-query:16686", false)]
    #[case("http://127.0.0.1.example.org", false)]
    fn loopback_is_recognized(#[case] url: &str, #[case] expected: bool) {
        assert_eq!(is_loopback(&url.parse().unwrap()), expected);
    }
}
