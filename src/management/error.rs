//! What goes wrong with a request, and how it is told: RabbitMQ's status codes and bodies.

use axum::http::StatusCode;
use serde_json::json;

use crate::protocol::reply::{AmqpError, ReplyCode};

/// Why a request is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// Nobody is known by these credentials, or there are none.
    #[error("Not_Authorized")]
    Unknown,
    /// The visitor is known and may not do this. RabbitMQ answers 401, never 403.
    #[error("{0}")]
    Refused(String),
    /// There is no such path.
    #[error("Not Found")]
    NoPath,
    /// There is no such thing; the text is its kind, such as `queue_not_found`.
    #[error("{0}")]
    NotFound(&'static str),
    /// There is no such thing, in words.
    #[error("{0}")]
    Missing(String),
    /// The request is wrong, or what it asks for is refused.
    #[error("{0}")]
    Bad(String),
    /// It is wrong in a way that has its own name.
    #[error("{1}")]
    Named(&'static str, String),
    /// Something keeps it from being done until that is changed.
    #[error("{0}")]
    Precondition(String),
    /// It is there already.
    #[error("{0}")]
    Conflict(String),
    /// The broker cannot do it now.
    #[error("{0}")]
    Unavailable(String),
}

impl ApiError {
    /// The visitor may not do this.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// The request is wrong.
    pub(crate) fn bad(why: impl Into<String>) -> Self {
        Self::Bad(why.into())
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unknown | Self::Refused(_) => StatusCode::UNAUTHORIZED,
            Self::NoPath | Self::NotFound(_) | Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Bad(_) | Self::Named(..) => StatusCode::BAD_REQUEST,
            Self::Precondition(_) => StatusCode::PRECONDITION_FAILED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> serde_json::Value {
        let error = match self {
            // RabbitMQ spells the two differently, and there are clients that look.
            Self::Unknown => "not_authorized",
            Self::Refused(_) => "not_authorised",
            Self::NoPath => "Object Not Found",
            Self::NotFound(_) | Self::Missing(_) => "not_found",
            Self::Bad(_) => "bad_request",
            Self::Named(name, _) => name,
            Self::Precondition(_) => "precondition_failed",
            Self::Conflict(_) => "conflict",
            Self::Unavailable(_) => "unavailable",
        };
        json!({ "error": error, "reason": self.to_string() })
    }
}

impl From<AmqpError> for ApiError {
    /// As RabbitMQ translates what AMQP answers.
    fn from(error: AmqpError) -> Self {
        match error.code {
            ReplyCode::NotFound => Self::Missing(error.text.to_string()),
            ReplyCode::AccessRefused | ReplyCode::NotAllowed => Self::refused("Access refused."),
            _ => Self::Bad(error.text.to_string()),
        }
    }
}
