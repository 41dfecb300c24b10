//! Health and reflection beside the lab's gRPC services.

use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_reflection::server::{Builder, Error};

/// Adds both for services, by their full names; `descriptors` is an encoded `FileDescriptorSet`
/// that has them, and may have more. They are healthy as long as the lab listens.
pub(super) async fn add(
    routes: Routes,
    services: &[&'static str],
    descriptors: &'static [u8],
) -> Result<Routes, Error> {
    let mut reflection = Builder::configure().register_encoded_file_descriptor_set(descriptors);
    let (reporter, health) = tonic_health::server::health_reporter();
    let serving = ServingStatus::Serving;
    reporter.set_service_status("", serving).await;
    for service in services {
        reflection = reflection.with_service_name(*service);
        reporter.set_service_status(*service, serving).await;
    }
    Ok(routes
        .add_service(health)
        .add_service(reflection.build_v1()?))
}
