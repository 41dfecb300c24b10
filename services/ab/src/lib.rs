//! service-a calls service-b: a bottleneck to find, errors to see, a rate to change.
