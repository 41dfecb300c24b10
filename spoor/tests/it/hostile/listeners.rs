//! Every port of the lab, with requests that it accepts.

use std::{collections::BTreeMap, net::SocketAddr};

/// A port.
pub struct Listener {
    /// The name that the lab uses.
    pub name: &'static str,
    /// Known paths, a valid GET first; for gRPC, the methods.
    pub paths: &'static [&'static str],
}

const fn listener(name: &'static str, paths: &'static [&'static str]) -> Listener {
    Listener { name, paths }
}

const OPS: &[&str] = &["/metrics", "/healthz", "/readyz"];

pub const HTTP: &[Listener] = &[
    listener("service-a", &["/?wait=0ms&calc=0", "/"]),
    listener(
        "gateway",
        &[
            "/",
            "/api/wishes",
            "/api/wishes/1",
            "/api/offers",
            "/docs",
            "/docs/architecture",
            "/jaeger/",
            "/jaeger/api/traces",
            "/offers.js",
            "/wishes",
            "/wishes/1/delete",
        ],
    ),
    listener(
        "bands",
        &[
            "/bands",
            "/health",
            "/bands/3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d",
        ],
    ),
    listener(
        "reviews",
        &["/health", "/reviews/3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d"],
    ),
    listener(
        "tasks",
        &["/tasks", "/health", "/tasks/1", "/tasks/1/complete"],
    ),
    listener("preprocessing", &["/", "/classify", "/page.js"]),
    listener(
        "traces",
        &[
            "/api/services",
            "/",
            "/api/dependencies",
            "/api/operations",
            "/api/traces",
            "/api/traces/0123456789abcdef0123456789abcdef",
            "/api/v3/dependencies",
            "/api/v3/operations",
            "/api/v3/services",
            "/api/v3/trace-summaries",
            "/api/v3/traces",
            "/api/v3/traces/0123456789abcdef0123456789abcdef",
            "/search",
            "/trace",
            "/trace/0123456789abcdef0123456789abcdef",
        ],
    ),
    listener("otlp-http", &["/v1/traces", "/v1/metrics", "/v1/logs"]),
    listener("sampling-http", &["/sampling?service=service-a", "/"]),
    listener(
        "admin",
        &[
            "/v1/status",
            "/v1/converged",
            "/v1/diff",
            "/v1/faults",
            "/v1/faults/service-a",
            "/v1/policies",
            "/v1/policies/default",
            "/v1/policies/default/x",
            "/v1/scrape-targets",
        ],
    ),
    listener("service-a-ops", OPS),
    listener("service-b-ops", OPS),
    listener("gateway-ops", OPS),
    listener("wishlist-ops", OPS),
    listener("offers-ops", OPS),
    listener("marketplace-attic-ops", OPS),
    listener("marketplace-bazaar-ops", OPS),
    listener("marketplace-corner-ops", OPS),
    listener("bands-ops", OPS),
    listener("reviews-ops", OPS),
    listener("tasks-ops", OPS),
    listener("preprocessing-ops", OPS),
    listener("ensemble-ops", OPS),
    listener("efficientnetb0-ops", OPS),
    listener("mobilenetv2-ops", OPS),
];

const MARKETPLACE: &[&str] = &["/spoor.marketplace.v1.Marketplace/Search"];
const MODEL: &[&str] = &[
    "/spoor.vision.v1.Model/Describe",
    "/spoor.vision.v1.Model/Classify",
];

pub const GRPC: &[Listener] = &[
    listener("service-b", &["/spoor.ab.v1.ServiceB/Work"]),
    listener(
        "wishlist",
        &[
            "/spoor.wishlist.v1.Wishlist/List",
            "/spoor.wishlist.v1.Wishlist/Add",
            "/spoor.wishlist.v1.Wishlist/Delete",
        ],
    ),
    listener(
        "offers",
        &[
            "/spoor.offers.v1.Offers/List",
            "/spoor.offers.v1.Offers/StartSearch",
            "/spoor.offers.v1.Offers/Forget",
        ],
    ),
    listener("marketplace-attic", MARKETPLACE),
    listener("marketplace-bazaar", MARKETPLACE),
    listener("marketplace-corner", MARKETPLACE),
    listener(
        "ensemble",
        &[
            "/spoor.vision.v1.Ensemble/Describe",
            "/spoor.vision.v1.Ensemble/Vote",
        ],
    ),
    listener("efficientnetb0", MODEL),
    listener("mobilenetv2", MODEL),
    listener(
        "otlp-grpc",
        &["/opentelemetry.proto.collector.trace.v1.TraceService/Export"],
    ),
    listener(
        "query-grpc",
        &[
            "/jaeger.api_v2.QueryService/ArchiveTrace",
            "/jaeger.api_v2.QueryService/FindTraces",
            "/jaeger.api_v2.QueryService/GetDependencies",
            "/jaeger.api_v2.QueryService/GetOperations",
            "/jaeger.api_v2.QueryService/GetServices",
            "/jaeger.api_v2.QueryService/GetTrace",
            "/jaeger.api_v3.QueryService/GetServices",
            "/jaeger.api_v3.QueryService/GetOperations",
            "/jaeger.api_v3.QueryService/GetTrace",
            "/jaeger.api_v3.QueryService/FindTraces",
            "/jaeger.api_v3.QueryService/FindTraceSummaries",
            "/jaeger.api_v3.QueryService/GetDependencies",
        ],
    ),
    listener(
        "sampling-grpc",
        &[
            "/jaeger.api_v2.SamplingManager/GetSamplingStrategy",
            "/spoor.control.v1.PolicyStream/Subscribe",
            "/spoor.control.v1.TailRuleStream/Subscribe",
        ],
    ),
];

/// Checks that this table has every listener of the lab.
pub fn assert_all_are_known(urls: &BTreeMap<String, String>) {
    for name in urls.keys() {
        let mut listeners = HTTP.iter().chain(GRPC);
        assert!(
            listeners.any(|listener| listener.name == name),
            "{name} is missing from this table"
        );
    }
}

pub fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}
