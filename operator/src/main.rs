//! The operator's two roles, and the definitions of its resources.
fn main() {}
