//! Requests that are well-formed HTTP/1.1, with arbitrary content.

use proptest::{collection::vec, prelude::*, sample::select};

/// A request to one of these paths, to a similar one, or to any other.
pub fn request(paths: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let headers = vec(header(), 0..12);
    (method(), target(paths), headers, body()).prop_map(|(method, target, headers, body)| {
        let mut request = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        for (name, value) in headers {
            request.extend(name.as_bytes());
            request.extend(b": ");
            request.extend(value);
            request.extend(b"\r\n");
        }
        let length = body.len();
        request.extend(format!("connection: close\r\ncontent-length: {length}\r\n\r\n").bytes());
        request.extend(body);
        request
    })
}

fn method() -> impl Strategy<Value = String> {
    let known = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
    ];
    prop_oneof![
        9 => select(known.to_vec()).prop_map(str::to_owned),
        1 => "[A-Z!#$%&'*+.^_|~-]{1,40}".prop_filter("a tunnel", |method| method != "CONNECT"),
    ]
}

fn target(paths: &'static [&'static str]) -> impl Strategy<Value = String> {
    let known = select(paths).prop_map(str::to_owned);
    let segment = prop_oneof![
        "[a-zA-Z0-9._~-]{0,40}",
        "(%[0-9a-f]{2}){1,20}",
        Just("..".to_owned()),
        Just("%2e%2e%2f%2e%2e%2fetc%2fpasswd".to_owned()),
        Just("-1".to_owned()),
        Just("99999999999999999999999".to_owned()),
        Just("%00".to_owned()),
        Just("%f0%9f%a6%80".to_owned()),
        Just("a".repeat(4000)),
    ];
    let deeper = (known.clone(), segment.clone()).prop_map(|(path, segment)| {
        let path = path.split('?').next().unwrap_or_default();
        format!("{}/{segment}", path.trim_end_matches('/'))
    });
    let sibling = (known.clone(), segment.clone()).prop_map(|(path, segment)| {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        format!("{parent}/{segment}")
    });
    let anything = vec(segment, 0..8).prop_map(|all| format!("/{}", all.join("/")));
    let path = prop_oneof![4 => known, 3 => deeper, 3 => sibling, 1 => anything];
    (path, query()).prop_map(|(path, query)| match query {
        Some(query) if path.contains('?') => format!("{path}&{query}"),
        Some(query) => format!("{path}?{query}"),
        None => path,
    })
}

fn query() -> impl Strategy<Value = Option<String>> {
    let names = [
        "service",
        "limit",
        "lookback",
        "start",
        "end",
        "tags",
        "minDuration",
        "traceID",
        "state",
        "wait",
        "calc",
        "operation",
        "query.service_name",
        "query.start_time_min",
        "namespace",
    ];
    let value = prop_oneof![
        "[a-zA-Z0-9._~-]{0,30}",
        "(%[0-9a-f]{2}){1,10}",
        Just("-1".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("NaN".to_owned()),
        Just("1e400".to_owned()),
        Just("{%22a%22:".to_owned()),
        Just("x".repeat(3000)),
    ];
    let pair = (select(names.to_vec()), value).prop_map(|(name, value)| format!("{name}={value}"));
    proptest::option::of(vec(pair, 0..6).prop_map(|pairs| pairs.join("&")))
}

fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let known = [
        "accept",
        "accept-encoding",
        "authorization",
        "baggage",
        "content-encoding",
        "content-type",
        "cookie",
        "forwarded",
        "grpc-timeout",
        "host",
        "if-none-match",
        "last-event-id",
        "origin",
        "range",
        "te",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-forwarded-for",
        "x-request-id",
    ];
    let name = prop_oneof![
        9 => select(known.to_vec()).prop_map(str::to_owned),
        1 => "x-[a-z0-9-]{1,60}",
    ];
    let sensible = [
        "application/json",
        "application/x-protobuf",
        "application/yaml",
        "application/grpc",
        "application/x-www-form-urlencoded",
        "image/png",
        "multipart/form-data; boundary=x",
        "gzip",
        "text/event-stream",
        "bytes=0-18446744073709551615",
        "127.0.0.1",
        "null",
        "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-ff",
        "00-00000000000000000000000000000000-0000000000000000-01",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
    ];
    let value = prop_oneof![
        select(sensible.to_vec()).prop_map(|value| value.as_bytes().to_vec()),
        "[ -~]{0,200}".prop_map(String::into_bytes),
        vec(0x80_u8.., 0..60),
        Just(b"a=b,".repeat(500)),
    ];
    (name, value)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = [
        "",
        "null",
        "[]",
        "{}",
        "\"x\"",
        "{\"title\":1}",
        "{\"title\":{\"title\":[]}}",
        "{\"title\":\"\\ud800\"}",
        "{\"title\":\"x\",\"title\":\"y\"}",
        "{\"title\":\"x\",\"priority\":9,\"due\":\"never\"}",
        "{\"title\":\"x\",\"due\":\"+999999-01-01T00:00:00Z\"}",
        "{\"errorRate\":1e999}",
        "{\"resourceSpans\":[{\"scopeSpans\":7}]}",
        "1e400",
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":\"zz\"}]}]}]}",
    ];
    let yaml = "a: &a [x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nd: [*c,*c,*c]\n";
    prop_oneof![
        4 => select(json.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        2 => vec(any::<u8>(), 0..2000),
        1 => Just(b"[".repeat(60_000)),
        1 => Just(b"{\"a\":".repeat(20_000)),
        1 => Just(yaml.as_bytes().to_vec()),
        1 => Just(b"title=%ff%00&title=<script>".to_vec()),
        1 => vec(any::<u8>(), 0..300).prop_map(|rest| [&b"\x89PNG\r\n\x1a\n"[..], &rest].concat()),
        1 => vec(any::<u8>(), 0..300).prop_map(|rest| [&b"\x0a\xff\xff\xff\x07"[..], &rest].concat()),
        1 => vec(any::<u8>(), 0..300).prop_map(|rest| [&b"\x1f\x8b\x08\0\0\0\0\0\0\0"[..], &rest].concat()),
    ]
}
