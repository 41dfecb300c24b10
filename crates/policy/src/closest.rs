//! Suggestions for misspelled names.

use crate::ServiceName;

/// The letters of a name for each typing error that it may contain.
const LETTERS_PER_ERROR: usize = 3;

/// The longest name that is compared, in bytes.
const MAX_COMPARED_BYTES: usize = 64;

/// The most names that one is compared with. Clients choose the names of services, and each
/// comparison takes time proportional to the product of both lengths.
const MAX_COMPARED_NAMES: usize = 1_000;

/// The known service with the name closest to a misspelled one, if any is close. Of several equally
/// close ones, the first in alphabetical order.
pub fn closest_service<'a>(
    name: &ServiceName,
    known: impl IntoIterator<Item = &'a ServiceName>,
) -> Option<&'a ServiceName> {
    let written = name.as_str().to_lowercase();
    let max_distance = (written.len() / LETTERS_PER_ERROR).max(1);
    // Names of very different lengths cannot be close, and need no comparison.
    let is_comparable = |known: &&ServiceName| {
        let len = known.as_str().len();
        *known != name && len <= MAX_COMPARED_BYTES && len.abs_diff(written.len()) <= max_distance
    };
    let others = known.into_iter().filter(is_comparable);
    // Swapped letters count as one typing error.
    let distance =
        |known: &ServiceName| strsim::osa_distance(&written, &known.as_str().to_lowercase());
    let near = others.take(MAX_COMPARED_NAMES);
    let near = near.map(|known| (distance(known), known));
    let nearest = near.filter(|(distance, _)| *distance <= max_distance).min();
    nearest.map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("servce-a", Some("service-a"))]
    #[case("service-c", Some("service-a"))]
    #[case("Service-B", Some("service-b"))]
    #[case("sevrice_b", Some("service-b"))]
    #[case("taks", Some("tasks"))]
    #[case("service-a", Some("service-b"))]
    #[case("billing", None)]
    #[case("x", None)]
    fn finds_the_closest_name(#[case] written: &str, #[case] meant: Option<&str>) {
        let known = ["tasks", "service-b", "service-a", "gateway"].map(|it| it.parse().unwrap());
        let suggestion = closest_service(&written.parse().unwrap(), &known);
        assert_eq!(suggestion.map(ServiceName::as_str), meant);
    }
}
