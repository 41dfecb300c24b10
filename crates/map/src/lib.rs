//! The map of services: which service calls which, as SVG and as a table.
//!
//! Pure functions from services and calls to HTML, which the page's style sheet colours by class:
//! `mesh`, `service`, `call`, `failed`, `arrow` and `arrow-failed`. Names are not trusted: they are
//! escaped, and invisible characters are made visible.

mod diagram;
mod layout;
mod service_map;
mod table;
mod visible;

pub use diagram::{linked_svg, svg};
pub use service_map::{Call, MAX_SERVICES, ServiceMap};
pub use table::table;
