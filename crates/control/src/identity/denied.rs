//! Why a caller is not let in.

use http::StatusCode;
use spoor_policy::ServiceName;
use tonic::{Code, Status};

/// Why a caller is not let in. What it is told names nobody but itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It brought none.
    #[error("no token came along: send one as `authorization: Bearer`")]
    TokenMissing,
    /// It is forged, expired or damaged.
    #[error("the token is not valid")]
    TokenInvalid,
    /// It was made for somebody else to check.
    #[error("the token is for another audience")]
    WrongAudience,
    /// It is somebody's, but no pod's.
    #[error("the token is of no pod")]
    NotAPod,
    /// Its service is another one.
    #[error("this pod is of service {actual}, not of {claimed}")]
    OtherService {
        /// What it said.
        claimed: ServiceName,
        /// What it is.
        actual: ServiceName,
    },
    /// Its instance is another one.
    #[error("this is instance {actual}, not {claimed}")]
    OtherInstance {
        /// What it said.
        claimed: String,
        /// What it is.
        actual: String,
    },
    /// It names no service.
    #[error("this pod names no service: give it the label spoor.dev/service")]
    NoService,
    /// It is not known here, or not yet.
    #[error("pod {0} is not known here yet")]
    UnknownPod(String),
    /// No pod has its address, or none has yet.
    #[error("no pod of this address is known here yet")]
    UnknownPeer,
    /// It is a pod, but no Collector of a stack.
    #[error("only the Collector of a TracingStack hands on metrics")]
    NotACollector,
    /// Who it is could not be found out.
    #[error("who you are could not be found out: {0}")]
    Unavailable(String),
}

impl Denied {
    /// In one word, as a label's value.
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
            Self::Unavailable(_) => "Unavailable",
        }
    }

    /// In gRPC's words. `Unavailable` asks for another try.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::TokenMissing | Self::TokenInvalid | Self::WrongAudience => Code::Unauthenticated,
            Self::NotAPod
            | Self::OtherService { .. }
            | Self::OtherInstance { .. }
            | Self::NoService
            | Self::NotACollector => Code::PermissionDenied,
            Self::UnknownPod(_) | Self::UnknownPeer | Self::Unavailable(_) => Code::Unavailable,
        }
    }

    /// In HTTP's words.
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
