//! The settings of the `stacks` role.

use spoor_runtime::SettingsReader;

use super::{
    build::PoliciesService,
    certificates::CertificateLifetimes,
    objects::pod::{PodDefaults, UserIds},
    sampler::SamplerImage,
};
use crate::settings::{RoleArguments, RoleSettings, checked_name};

/// The role's settings.
#[derive(Clone, Debug)]
pub struct StacksSettings {
    /// The settings that both roles have.
    pub role: RoleSettings,
    /// The Service of the `policies` role, in the operator's namespace.
    pub policies_service: PoliciesService,
    /// The DNS domain of the cluster.
    pub cluster_domain: String,
    /// Defaults for the pods of every stack.
    pub pods: PodDefaults,
    /// The image of Spoor's sampler.
    pub sampler_image: SamplerImage,
    /// The lifetimes of certificates.
    pub lifetimes: CertificateLifetimes,
}

/// The role's settings as flags and environment variables.
#[derive(Clone, Debug, clap::Args)]
pub struct StacksArguments {
    #[command(flatten)]
    role: RoleArguments,
    /// Service of the policies role, in the operator's namespace
    #[arg(long, env = "SPOOR_POLICIES_SERVICE", default_value = "spoor-policies")]
    policies_service: String,
    /// DNS domain of the cluster
    #[arg(long, env = "SPOOR_CLUSTER_DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// Registry of the default images of Jaeger and the Collector. If empty, Docker Hub
    #[arg(long, env = "SPOOR_IMAGE_REGISTRY", default_value = "")]
    image_registry: String,
    /// User and group IDs of the pods of Jaeger and the Collector: "image" for those of the images,
    /// "assigned" for those that the platform assigns, as OpenShift does
    #[arg(long, env = "SPOOR_POD_USER_IDS", default_value = "image")]
    pod_user_ids: String,
    /// Image of Spoor's sampler, with its registry
    #[arg(
        long,
        env = "SPOOR_SAMPLER_IMAGE",
        default_value = concat!("spoor:", env!("CARGO_PKG_VERSION"))
    )]
    sampler_image: String,
    /// Pull policy of that image: "Always", "IfNotPresent" or "Never"
    #[arg(
        long,
        env = "SPOOR_SAMPLER_IMAGE_PULL_POLICY",
        default_value = "IfNotPresent"
    )]
    sampler_image_pull_policy: String,
}

impl StacksArguments {
    /// Checks the settings.
    pub fn read(&self, reader: &mut SettingsReader) -> Option<StacksSettings> {
        let role = self.role.read(reader, "spoor-stacks");
        let setting = "--policies-service (SPOOR_POLICIES_SERVICE)";
        let name = checked_name(reader, setting, &self.policies_service);
        let setting = "--cluster-domain (SPOOR_CLUSTER_DOMAIN)";
        let cluster_domain = checked_name(reader, setting, &self.cluster_domain);
        let (pods, sampler_image) = (self.pods(reader), self.sampler_image(reader));
        let role = role?;
        let namespace = role.namespace.clone();
        Some(StacksSettings {
            role,
            policies_service: PoliciesService { name, namespace },
            cluster_domain,
            pods: pods?,
            sampler_image: sampler_image?,
            lifetimes: CertificateLifetimes::default(),
        })
    }

    fn sampler_image(&self, reader: &mut SettingsReader) -> Option<SamplerImage> {
        let policy = self.sampler_image_pull_policy.as_str();
        if !["Always", "IfNotPresent", "Never"].contains(&policy) {
            let problem =
                format!("must be \"Always\", \"IfNotPresent\" or \"Never\", not {policy:?}");
            let setting = "--sampler-image-pull-policy (SPOOR_SAMPLER_IMAGE_PULL_POLICY)";
            reader.add_error(setting, problem);
            return None;
        }
        if self.sampler_image.is_empty() {
            let problem = "must be an image such as \"registry.example.com/spoor:1.0\"";
            reader.add_error("--sampler-image (SPOOR_SAMPLER_IMAGE)", problem);
            return None;
        }
        Some(SamplerImage {
            reference: self.sampler_image.clone(),
            pull_policy: policy.to_owned(),
        })
    }

    fn pods(&self, reader: &mut SettingsReader) -> Option<PodDefaults> {
        let registry = self.image_registry.trim_end_matches('/');
        let is_registry = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte);
        if !registry.bytes().all(is_registry) {
            let problem = format!(
                "must be a registry such as \"registry.example.com/mirror\", not {registry:?}"
            );
            reader.add_error("--image-registry (SPOOR_IMAGE_REGISTRY)", problem);
        }
        let user_ids = match self.pod_user_ids.as_str() {
            "image" => UserIds::Image,
            "assigned" => UserIds::Assigned,
            other => {
                let problem = format!("must be \"image\" or \"assigned\", not {other:?}");
                reader.add_error("--pod-user-ids (SPOOR_POD_USER_IDS)", problem);
                return None;
            }
        };
        Some(PodDefaults {
            image_registry: (!registry.is_empty()).then(|| registry.to_owned()),
            user_ids,
        })
    }
}
