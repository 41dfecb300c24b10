//! The wire formats: the mesh, the control plane, and Jaeger's sampling and query services.
//!
//! Everything here is generated from the `.proto` files beside it; their comments are the
//! documentation.
// Generated code does not pass these lints, and cannot be changed.
#![allow(missing_docs, clippy::all)]

/// The encoded descriptors of all files, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Spoor's own services.
pub mod spoor {
    pub mod ab {
        pub mod v1 {
            tonic::include_proto!("spoor.ab.v1");
        }
    }
    pub mod control {
        pub mod v1 {
            tonic::include_proto!("spoor.control.v1");
        }
    }
    pub mod marketplace {
        pub mod v1 {
            tonic::include_proto!("spoor.marketplace.v1");
        }
    }
    pub mod offers {
        pub mod v1 {
            tonic::include_proto!("spoor.offers.v1");
        }
    }
    pub mod vision {
        pub mod v1 {
            tonic::include_proto!("spoor.vision.v1");
        }
    }
    pub mod wishlist {
        pub mod v1 {
            tonic::include_proto!("spoor.wishlist.v1");
        }
    }
}

/// Serialization of values that protobuf's JSON writes differently than serde does by default.
mod json {
    pub fn long<S: serde::Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
        *value == T::default()
    }
}

/// Jaeger's services.
pub mod jaeger {
    pub mod api_v2 {
        tonic::include_proto!("jaeger.api_v2");
    }
    pub mod api_v3 {
        tonic::include_proto!("jaeger.api_v3");
    }
}
