//! A list of as many traces as fit into a response.

use serde::{Serialize, Serializer, ser::SerializeSeq};

use super::{
    envelope::{V1Error, V1Errors},
    json,
};
use crate::{
    TraceId,
    query::{
        api::ApiRequest,
        limits::{MAX_RESPONSE_BYTES, TraceQueryError},
    },
};

/// A list of traces, read and written one at a time.
#[derive(Debug)]
pub struct V1Traces {
    pub request: ApiRequest,
    /// The entries of `errors`: one for each trace that is missing or too large, and one if the
    /// list is truncated.
    pub errors: V1Errors,
    pub ids: Vec<TraceId>,
    pub raw: bool,
}

impl Serialize for V1Traces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for id in &self.ids {
            let buffer = &self.request.buffer;
            let trace = match self.request.reader.trace(*id) {
                Ok(Some(trace)) => json::trace(&trace, self.raw),
                Ok(None) => {
                    self.errors.push(V1Error::not_found(0, *id));
                    continue;
                }
                Err(error @ TraceQueryError::TraceTooLarge(_)) => {
                    self.errors
                        .push(V1Error::missing(error.to_string(), Some(*id)));
                    continue;
                }
                Err(error) => return Err(buffer.refuse(error)),
            };
            if !buffer.write_trace(|| list.serialize_element(&trace))? {
                // A search lists the newest traces first, so the oldest are left out.
                self.errors.push(self.truncated());
                break;
            }
        }
        list.end()
    }
}

impl V1Traces {
    fn truncated(&self) -> V1Error {
        let message = format!(
            "only {} of {} traces are returned, since a response is limited to {} MiB; \
             request fewer traces or a shorter period",
            self.request.buffer.traces(),
            self.ids.len(),
            MAX_RESPONSE_BYTES >> 20
        );
        V1Error::missing(message, None)
    }
}
