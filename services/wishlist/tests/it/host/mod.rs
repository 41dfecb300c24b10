//! What else the gateway's host has: the traces at `/jaeger`, how it is built at `/docs`.

mod docs;
mod jaeger;
mod peer;
