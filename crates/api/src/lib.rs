//! The resources as people write them, read from YAML with errors that name line and field.
