//! What every service links: providers, the live sampler, propagation, layers and fault injection.

pub mod control_stream;
pub mod edge;
pub mod propagation;
pub mod sampler;
pub mod batch;
pub mod export;
pub mod faults;
pub mod settings;
