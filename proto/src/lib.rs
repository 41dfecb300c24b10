//! The wire formats: the mesh, the control plane, the calls between samplers, and Jaeger's sampling
//! and query services.
//!
//! Everything public is generated from the `.proto` files in the parent folder; their comments are
//! the documentation.
// Generated code does not pass these lints, and cannot be changed.
#![allow(missing_docs, clippy::all)]

/// The encoded descriptors of all files, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

// The modules `jaeger` and `spoor`, nested like the packages.
include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// Serialization of values that protobuf's JSON writes differently than serde does by default.
mod json {
    use serde::Serializer;

    use crate::jaeger::api_v2::SamplingStrategyType;

    pub fn long<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub fn strategy_type<S: Serializer>(number: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        let strategy_type = SamplingStrategyType::try_from(*number).unwrap_or_default();
        serializer.serialize_str(strategy_type.as_str_name())
    }

    pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
        *value == T::default()
    }
}
