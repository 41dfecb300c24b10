//! Compiles the `.proto` files without `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 10] = [
    "jaeger/api_v2/model.proto",
    "jaeger/api_v2/query.proto",
    "jaeger/api_v2/sampling.proto",
    "jaeger/api_v3/query.proto",
    "spoor/ab/v1/ab.proto",
    "spoor/control/v1/control.proto",
    "spoor/marketplace/v1/marketplace.proto",
    "spoor/offers/v1/offers.proto",
    "spoor/vision/v1/vision.proto",
    "spoor/wishlist/v1/wishlist.proto",
];

/// Responses that Jaeger's third query API also sends over HTTP, in protobuf's JSON.
const JSON_MESSAGES: [&str; 8] = [
    "GetServicesResponse",
    "GetOperationsResponse",
    "Operation",
    "FindTraceSummariesResponse",
    "TraceSummary",
    "ServiceSummary",
    "DependenciesResponse",
    "Dependency",
];

/// The 64-bit integers in these messages. Protobuf's JSON writes them as strings, since many
/// readers parse JSON numbers as doubles.
const JSON_LONG_FIELDS: [&str; 3] = [
    "TraceSummary.min_start_time_unix_nano",
    "TraceSummary.max_end_time_unix_nano",
    "Dependency.call_count",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    // With protox, so that the build needs no `protoc`.
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut config = tonic_prost_build::configure();
    for message in JSON_MESSAGES {
        let attribute = "#[derive(serde::Serialize)] #[serde(rename_all = \"camelCase\")]";
        config = config.message_attribute(format!(".jaeger.api_v3.{message}"), attribute);
    }
    for field in JSON_LONG_FIELDS {
        let attribute = "#[serde(serialize_with = \"crate::json::long\")]";
        config = config.field_attribute(format!(".jaeger.api_v3.{field}"), attribute);
    }
    for message in ["TraceSummary", "ServiceSummary"] {
        let attribute = "#[serde(skip_serializing_if = \"crate::json::is_default\")]";
        config = config.field_attribute(format!(".jaeger.api_v3.{message}"), attribute);
    }
    config
        // Large fields share the buffer that they were received in, instead of being copied.
        .bytes(".jaeger.api_v3.TracesData")
        .bytes(".spoor.vision.v1.Tensor")
        .compile_fds(descriptors)?;
    Ok(())
}
