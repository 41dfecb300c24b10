//! The reasons to refuse a client.

use http::StatusCode;
use spoor_policy::ServiceName;
use tonic::{Code, Status};

/// The reason why a client is refused. Messages name no one but the client itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It sent no token.
    #[error("token missing; send one as `authorization: Bearer`")]
    TokenMissing,
    /// Its token is forged, expired or damaged.
    #[error("invalid token")]
    TokenInvalid,
    /// Its token was made for another audience.
    #[error("token is for another audience")]
    WrongAudience,
    /// Its token does not belong to a pod.
    #[error("token is not bound to a pod")]
    NotAPod,
    /// It claims to be of another service.
    #[error("this pod belongs to service {actual}, not {claimed}")]
    OtherService {
        /// The service that it claims.
        claimed: ServiceName,
        /// Its service.
        actual: ServiceName,
    },
    /// It claims to be another instance.
    #[error("this is instance {actual}, not {claimed}")]
    OtherInstance {
        /// The instance that it claims.
        claimed: String,
        /// Its instance.
        actual: String,
    },
    /// Its pod has no service label.
    #[error("this pod has no service; add the label spoor.dev/service")]
    NoService,
    /// Its pod is not known here, or not yet.
    #[error("pod {0} is not known yet; try again")]
    UnknownPod(String),
    /// No known pod has its address.
    #[error("no pod with this address is known yet; try again")]
    UnknownPeer,
    /// It is a pod, but not a Collector of a stack.
    #[error("only the Collector of a TracingStack may send metrics")]
    NotACollector,
    /// It polls before the first publication.
    #[error("no policies are published yet; try again in a moment")]
    NotPublished,
    /// Its identity cannot be checked.
    #[error("cannot check the identity: {0}; try again")]
    Unavailable(String),
}

impl Denied {
    /// The metric label for this reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TokenMissing => "TokenMissing",
            Self::TokenInvalid => "TokenInvalid",
            Self::WrongAudience => "WrongAudience",
            Self::NotAPod => "NotAPod",
            Self::OtherService { .. } => "OtherService",
            Self::OtherInstance { .. } => "OtherInstance",
            Self::NoService => "NoService",
            Self::UnknownPod(_) => "UnknownPod",
            Self::UnknownPeer => "UnknownPeer",
            Self::NotACollector => "NotACollector",
            Self::NotPublished => "NotPublished",
            Self::Unavailable(_) => "Unavailable",
        }
    }

    /// The gRPC status code. Clients try again after `Unavailable`.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::TokenMissing | Self::TokenInvalid | Self::WrongAudience => Code::Unauthenticated,
            Self::NotAPod
            | Self::OtherService { .. }
            | Self::OtherInstance { .. }
            | Self::NoService
            | Self::NotACollector => Code::PermissionDenied,
            // The watch of pods may lag behind a new pod, which then succeeds a moment later.
            Self::UnknownPod(_) | Self::UnknownPeer => Code::Unavailable,
            Self::NotPublished | Self::Unavailable(_) => Code::Unavailable,
        }
    }

    /// The HTTP status code.
    pub(crate) fn status_code(&self) -> StatusCode {
        match self.code() {
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        Self::new(denied.code(), denied.to_string())
    }
}
