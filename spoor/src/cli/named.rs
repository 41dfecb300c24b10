//! Options whose values are names from a fixed list.

use std::fmt::Display;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// A parser of the names of `values`, which `--help` lists with their descriptions. The types
/// belong to libraries that do not depend on clap, so they cannot be `ValueEnum`s.
pub fn one_of<T: Copy + Display + Send + Sync + 'static>(
    values: &'static [T],
    description: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let possible = values
        .iter()
        .map(|value| PossibleValue::new(value.to_string()).help(description(*value)));
    PossibleValuesParser::new(possible).try_map(move |chosen| {
        let mut values = values.iter().copied();
        let value = values.find(|value| value.to_string() == chosen);
        value.ok_or_else(|| format!("unknown name {chosen:?}"))
    })
}
