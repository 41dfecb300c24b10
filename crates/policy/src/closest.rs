//! Suggestions for misspelled names.

use crate::ServiceName;

/// The letters of a name for each typing error that it may contain.
const LETTERS_PER_ERROR: usize = 3;

/// The known service with the name closest to a misspelled one, if any is close. Of several equally
/// close ones, the first in alphabetical order.
pub fn closest<'a>(
    name: &ServiceName,
    known: impl IntoIterator<Item = &'a ServiceName>,
) -> Option<&'a ServiceName> {
    let written = name.as_str().to_lowercase();
    let max_distance = (written.chars().count() / LETTERS_PER_ERROR).max(1);
    // Damerau–Levenshtein, since swapped letters are one typing error.
    let distance =
        |known: &ServiceName| strsim::damerau_levenshtein(&written, &known.as_str().to_lowercase());
    let others = known.into_iter().filter(|known| *known != name);
    let near = others.map(|known| (distance(known), known));
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
        let found = closest(&written.parse().unwrap(), &known);
        assert_eq!(found.map(ServiceName::as_str), meant);
    }
}
