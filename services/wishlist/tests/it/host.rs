//! The gateway's other paths: the traces at `/jaeger`, and the architecture at `/docs`.

mod docs;
mod jaeger;
mod peer;
