//! Suggestions for misspelled names.

use rapidfuzz::distance::osa;

/// The number of letters in a name for each typing error that is tolerated in it. Any name may have
/// one.
const LETTERS_PER_ERROR: usize = 3;

/// The longest name that is compared, in bytes.
const MAX_COMPARED_BYTES: usize = 64;

/// The most names that one is compared with. Clients choose the names, and one file may have a
/// thousand policies that name unknown ones.
const MAX_COMPARED_NAMES: usize = 200;

/// The most operations that are listed if none is close.
const MAX_LISTED_OPERATIONS: usize = 5;

/// The known name closest to a misspelled one, if any is close. Of several equally close ones, the
/// first in alphabetical order.
pub fn closest_name<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = name.to_lowercase();
    let max_distance = (written.len() / LETTERS_PER_ERROR).max(1);
    // Names of very different lengths cannot be close, and need no comparison.
    let is_comparable = |known: &&str| {
        let len = known.len();
        *known != name && len <= MAX_COMPARED_BYTES && len.abs_diff(written.len()) <= max_distance
    };
    let others = known.into_iter().filter(is_comparable);
    // Swapped letters count as one typing error.
    let written = osa::BatchComparator::new(written.chars());
    let args = osa::Args::default().score_cutoff(max_distance);
    let near = others.take(MAX_COMPARED_NAMES).filter_map(|known| {
        let distance = written.distance_with_args(known.to_lowercase().chars(), &args)?;
        Some((distance, known))
    });
    let nearest = near.min();
    nearest.map(|(_, known)| known)
}

/// The end of a message about an unknown operation: the closest known one, or all known ones if
/// none is close and they are few; otherwise empty.
#[must_use]
pub fn suggest_operation<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    let others = known.clone().into_iter();
    let others = others.filter(|known| !is_other_method(unknown, known));
    if let Some(meant) = closest_name(unknown, others) {
        return format!("; did you mean {meant:?}?");
    }
    // A part of a name, such as a path without its method, is not close to the whole.
    let listed = known.into_iter().take(MAX_LISTED_OPERATIONS + 1);
    let listed: Vec<String> = listed.map(|name| format!("{name:?}")).collect();
    match listed.len() {
        1..=MAX_LISTED_OPERATIONS => format!("; known operations: {}", listed.join(", ")),
        _ => String::new(),
    }
}

/// True if two operations are different methods of one route, and the method of `one` is not
/// misspelled.
fn is_other_method(one: &str, other: &str) -> bool {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let (one, other) = (one.split_once(' '), other.split_once(' '));
    let parts = one.zip(other);
    parts.is_some_and(|((one, route), (other, same))| {
        route == same && one != other && METHODS.contains(&one)
    })
}

/// A warning that an operation has not been seen yet, without a full stop. `subject` is what takes
/// effect there, such as `the policy`.
#[must_use]
pub fn unseen_operation<'a>(
    operation: &str,
    service: &str,
    subject: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    let suggestion = suggest_operation(operation, known);
    format!(
        "operation {operation:?} of {service} has not been seen yet; {subject} takes effect there \
         once it is{suggestion}"
    )
}

#[cfg(test)]
mod tests {
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
        let known = ["tasks", "service-b", "service-a", "gateway"];
        assert_eq!(closest_name(written, known), meant);
    }

    #[rstest]
    #[case("GET /wish", "; did you mean \"GET /wishes\"?")]
    #[case("GTE /wishes", "; did you mean \"GET /wishes\"?")]
    #[case("PUT /wishes", "; known operations: \"GET /\", \"GET /wishes\"")]
    #[case("/", "; known operations: \"GET /\", \"GET /wishes\"")]
    fn suggests_an_operation(#[case] unknown: &str, #[case] suggestion: &str) {
        assert_eq!(
            suggest_operation(unknown, ["GET /", "GET /wishes"]),
            suggestion
        );
        let many = ["A /b", "C /d", "E /f", "G /h", "GET /", "GET /wishes"];
        assert_eq!(suggest_operation("/", many), "");
    }
}
