//! Compiles OTLP's descriptors, which gRPC reflection shows.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const ROOT: &str = "proto";
const SERVICE: &str = "opentelemetry/trace_service.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let descriptors = protox::compile([SERVICE], [ROOT])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    Ok(fs::write(out, descriptors.encode_to_vec())?)
}
