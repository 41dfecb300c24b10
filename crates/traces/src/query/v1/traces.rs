//! Traces that are read and written one at a time, as many as fit into a response.

use serde::{Serialize, Serializer, ser::SerializeSeq};

use super::{
    envelope::{Fault, Faults},
    json,
};
use crate::{
    TraceId,
    query::{
        limits::{MAX_RESPONSE_BYTES, Reader},
        response::Buffer,
    },
};

/// A list of traces, read and written one at a time.
#[derive(Debug)]
pub struct Traces {
    pub reader: Reader,
    pub buffer: Buffer,
    /// Receives an entry for each trace that the list lacks.
    pub faults: Faults,
    pub ids: Vec<TraceId>,
    pub raw: bool,
}

impl Serialize for Traces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for id in &self.ids {
            let trace = match self.reader.trace(*id) {
                Ok(Some(trace)) => json::trace(&trace, self.raw),
                Ok(None) => {
                    self.faults.push(Fault::not_found(None, id.to_string()));
                    continue;
                }
                Err(refusal) => {
                    let fault = Fault::missing(refusal.to_string(), Some(id.to_string()));
                    self.faults.push(fault);
                    continue;
                }
            };
            if !self.buffer.write_trace(|| list.serialize_element(&trace))? {
                // A search lists the newest traces first, so the oldest are left out.
                self.faults.push(self.cut());
                break;
            }
        }
        list.end()
    }
}

impl Traces {
    fn cut(&self) -> Fault {
        let message = format!(
            "only {} of {} traces are returned, since a response is limited to {} MiB; \
             ask for fewer traces or a shorter time",
            self.buffer.traces(),
            self.ids.len(),
            MAX_RESPONSE_BYTES >> 20
        );
        Fault::missing(message, None)
    }
}
