//! The reasons to refuse a client.

use http::StatusCode;
use spoor_policy::ServiceName;
use tonic::{Code, Status};

/// The reason why a client is refused. Messages reveal nothing about other clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The client sent no token.
    #[error("token missing; send one as `authorization: Bearer`")]
    TokenMissing,
    /// The token is forged, expired or damaged.
    #[error("invalid token; send a current ServiceAccount token")]
    TokenInvalid,
    /// The token is for another audience.
    #[error("token is for another audience; request one for this control plane")]
    WrongAudience,
    /// The token is not bound to a pod.
    #[error("token is not bound to a pod; mount a projected ServiceAccount token")]
    NotAPod,
    /// The client claims another service.
    #[error("this pod belongs to service {actual}, not {claimed}")]
    OtherService {
        /// The claimed service.
        claimed: ServiceName,
        /// The client's service.
        actual: ServiceName,
    },
    /// The client claims to be another instance.
    #[error("this is instance {actual}, not {claimed}")]
    OtherInstance {
        /// The claimed instance.
        claimed: String,
        /// The client's instance.
        actual: String,
    },
    /// The client's pod has no service label.
    #[error("this pod has no service; add the label spoor.dev/service")]
    NoService,
    /// The client's pod is not known, or not yet.
    #[error("pod {0} is not known yet; try again")]
    UnknownPod(String),
    /// No known pod has the client's address.
    #[error("no pod with this address is known yet; try again")]
    UnknownPeer,
    /// The client is a pod, but not a Collector of a stack.
    #[error("only the Collector of a TracingStack may send metrics")]
    NotACollector,
    /// The client is not a sampler of a stack.
    #[error("only the sampler of a TracingStack may subscribe to tail rules")]
    NotASampler,
    /// The sampler's pod names a stack that does not exist in its namespace.
    #[error("this pod belongs to TracingStack {0:?}, which does not exist in its namespace")]
    NoStack(String),
    /// The sampler is not on the control plane's own machine.
    #[error("only a sampler on this machine may subscribe to tail rules")]
    NotOnLoopback,
    /// The client polls before the first publication.
    #[error("no policies are published yet; try again in a moment")]
    NotPublished,
    /// The response could not be computed, because the work failed or the process is ending.
    #[error("the control plane is busy; try again")]
    Busy,
    /// The client's identity cannot be checked.
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
            Self::NotASampler => "NotASampler",
            Self::NoStack(_) => "NoStack",
            Self::NotOnLoopback => "NotOnLoopback",
            Self::NotPublished => "NotPublished",
            Self::Busy => "Busy",
            Self::Unavailable(_) => "Unavailable",
        }
    }

    /// The gRPC status code. Spoor's clients try again sooner after `Unavailable`.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::TokenMissing | Self::TokenInvalid | Self::WrongAudience => Code::Unauthenticated,
            Self::NotAPod
            | Self::OtherService { .. }
            | Self::OtherInstance { .. }
            | Self::NoService
            | Self::NotACollector
            | Self::NotASampler
            | Self::NoStack(_)
            | Self::NotOnLoopback => Code::PermissionDenied,
            // The watch of pods may lag behind a new pod, which then succeeds a moment later.
            Self::UnknownPod(_) | Self::UnknownPeer => Code::Unavailable,
            Self::NotPublished | Self::Busy | Self::Unavailable(_) => Code::Unavailable,
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
