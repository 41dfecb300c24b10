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

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    // In Rust, so that a build needs no `protoc` of a certain version.
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Large fields share the buffer that they arrived in instead of being copied.
        .bytes(".jaeger.api_v3.TracesData")
        .bytes(".spoor.vision.v1.Tensor")
        .compile_fds(descriptors)?;
    Ok(())
}
