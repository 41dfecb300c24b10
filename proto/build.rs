//! Compiles the `.proto` files without `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 11] = [
    "jaeger/api_v2/model.proto",
    "jaeger/api_v2/query.proto",
    "jaeger/api_v2/sampling.proto",
    "jaeger/api_v3/query.proto",
    "spoor/ab/v1/ab.proto",
    "spoor/control/v1/control.proto",
    "spoor/marketplace/v1/marketplace.proto",
    "spoor/offers/v1/offers.proto",
    "spoor/sampler/v1/peers.proto",
    "spoor/vision/v1/vision.proto",
    "spoor/wishlist/v1/wishlist.proto",
];

/// Messages that are also sent over HTTP, in protobuf's JSON: the responses of Jaeger's remote
/// sampling and of version 3 of its query API, and the opinions in a vote. `DependencyLink` is sent in
/// the JSON of version 1 of that API, which has integers as numbers.
const JSON_MESSAGES: [&str; 16] = [
    "jaeger.api_v2.DependencyLink",
    "jaeger.api_v2.ProbabilisticSamplingStrategy",
    "jaeger.api_v2.RateLimitingSamplingStrategy",
    "jaeger.api_v2.OperationSamplingStrategy",
    "jaeger.api_v2.PerOperationSamplingStrategies",
    "jaeger.api_v2.SamplingStrategyResponse",
    "jaeger.api_v3.GetServicesResponse",
    "jaeger.api_v3.GetOperationsResponse",
    "jaeger.api_v3.Operation",
    "jaeger.api_v3.FindTraceSummariesResponse",
    "jaeger.api_v3.TraceSummary",
    "jaeger.api_v3.ServiceSummary",
    "jaeger.api_v3.DependenciesResponse",
    "jaeger.api_v3.Dependency",
    "spoor.vision.v1.Opinion",
    "spoor.vision.v1.Score",
];

/// The 64-bit integers that are written as strings, as protobuf's JSON requires: many readers parse
/// JSON numbers as doubles.
const JSON_LONG_FIELDS: [&str; 3] = [
    "jaeger.api_v3.TraceSummary.min_start_time_unix_nano",
    "jaeger.api_v3.TraceSummary.max_end_time_unix_nano",
    "jaeger.api_v3.Dependency.call_count",
];

/// The fields that are left out at their default. A message stands for all of its fields.
///
/// Protobuf's JSON leaves out all such fields. But clients of remote sampling differ in which numbers
/// they require, so all numbers of a strategy are present.
const JSON_OPTIONAL_FIELDS: [&str; 6] = [
    "jaeger.api_v2.DependencyLink.source",
    "jaeger.api_v2.SamplingStrategyResponse.probabilisticSampling",
    "jaeger.api_v2.SamplingStrategyResponse.rateLimitingSampling",
    "jaeger.api_v2.SamplingStrategyResponse.operationSampling",
    "jaeger.api_v3.TraceSummary",
    "jaeger.api_v3.ServiceSummary",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut config = tonic_prost_build::configure();
    for message in JSON_MESSAGES {
        let attribute = "#[derive(serde::Serialize)] #[serde(rename_all = \"camelCase\")]";
        config = config.message_attribute(format!(".{message}"), attribute);
    }
    for field in JSON_LONG_FIELDS {
        let attribute = "#[serde(serialize_with = \"crate::json::long\")]";
        config = config.field_attribute(format!(".{field}"), attribute);
    }
    for field in JSON_OPTIONAL_FIELDS {
        let attribute = "#[serde(skip_serializing_if = \"crate::json::is_default\")]";
        config = config.field_attribute(format!(".{field}"), attribute);
    }
    // Protobuf's JSON writes an enum as its name.
    let strategy_type = ".jaeger.api_v2.SamplingStrategyResponse.strategyType";
    let attribute = "#[serde(serialize_with = \"crate::json::strategy_type\")]";
    config = config.field_attribute(strategy_type, attribute);
    config
        .include_file("modules.rs")
        // Large fields share the buffer that they were received in, instead of being copied.
        .bytes(".jaeger.api_v3.TracesData")
        .bytes(".spoor.sampler.v1")
        .bytes(".spoor.vision.v1.Tensor")
        .compile_fds(descriptors)?;
    Ok(())
}
