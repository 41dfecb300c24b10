//! Every port of the lab, and what it knows how to answer.

use std::{collections::BTreeMap, net::SocketAddr};

/// A port.
pub struct Door {
    /// As the lab calls it.
    pub name: &'static str,
    /// That it knows, a good GET first; of gRPC, its methods.
    pub paths: &'static [&'static str],
}

const fn door(name: &'static str, paths: &'static [&'static str]) -> Door {
    Door { name, paths }
}

const OPS: &[&str] = &["/metrics", "/healthz", "/readyz"];

pub const HTTP: &[Door] = &[
    door("service-a", &["/?wait=0ms&calc=0", "/"]),
    door(
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
    door(
        "bands",
        &[
            "/bands",
            "/health",
            "/bands/3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d",
        ],
    ),
    door(
        "reviews",
        &["/health", "/reviews/3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d"],
    ),
    door(
        "tasks",
        &["/tasks", "/health", "/tasks/1", "/tasks/1/complete"],
    ),
    door("preprocessing", &["/", "/classify", "/page.js"]),
    door(
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
    door("otlp-http", &["/v1/traces", "/v1/metrics", "/v1/logs"]),
    door("sampling-http", &["/sampling?service=service-a", "/"]),
    door(
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
    door("service-a-ops", OPS),
    door("service-b-ops", OPS),
    door("gateway-ops", OPS),
    door("wishlist-ops", OPS),
    door("offers-ops", OPS),
    door("marketplace-attic-ops", OPS),
    door("marketplace-bazaar-ops", OPS),
    door("marketplace-corner-ops", OPS),
    door("bands-ops", OPS),
    door("reviews-ops", OPS),
    door("tasks-ops", OPS),
    door("preprocessing-ops", OPS),
    door("ensemble-ops", OPS),
    door("efficientnetb0-ops", OPS),
    door("mobilenetv2-ops", OPS),
];

const MARKETPLACE: &[&str] = &["/spoor.marketplace.v1.Marketplace/Search"];
const MODEL: &[&str] = &[
    "/spoor.vision.v1.Model/Describe",
    "/spoor.vision.v1.Model/Classify",
];

pub const GRPC: &[Door] = &[
    door("service-b", &["/spoor.ab.v1.ServiceB/Work"]),
    door(
        "wishlist",
        &[
            "/spoor.wishlist.v1.Wishlist/List",
            "/spoor.wishlist.v1.Wishlist/Add",
            "/spoor.wishlist.v1.Wishlist/Delete",
        ],
    ),
    door(
        "offers",
        &[
            "/spoor.offers.v1.Offers/List",
            "/spoor.offers.v1.Offers/LookFor",
            "/spoor.offers.v1.Offers/Forget",
        ],
    ),
    door("marketplace-attic", MARKETPLACE),
    door("marketplace-bazaar", MARKETPLACE),
    door("marketplace-corner", MARKETPLACE),
    door(
        "ensemble",
        &[
            "/spoor.vision.v1.Ensemble/Describe",
            "/spoor.vision.v1.Ensemble/Vote",
        ],
    ),
    door("efficientnetb0", MODEL),
    door("mobilenetv2", MODEL),
    door(
        "otlp-grpc",
        &["/opentelemetry.proto.collector.trace.v1.TraceService/Export"],
    ),
    door(
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
    door(
        "sampling-grpc",
        &[
            "/jaeger.api_v2.SamplingManager/GetSamplingStrategy",
            "/spoor.control.v1.PolicyStream/Subscribe",
        ],
    ),
];

/// So that none is forgotten that comes later.
pub fn assert_all_are_known(urls: &BTreeMap<String, String>) {
    for name in urls.keys() {
        let mut doors = HTTP.iter().chain(GRPC);
        assert!(doors.any(|door| door.name == name), "{name} is not tried");
    }
}

pub fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}
