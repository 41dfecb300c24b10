//! A task and its validated fields.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use spoor_telemetry::Line;
use uuid::Uuid;

/// An entry of the to-do list, as responses show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Task {
    pub(crate) id: Uuid,
    pub(crate) title: Title,
    pub(crate) priority: Priority,
    pub(crate) created: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) completed: Option<Moment>,
}

/// The title of a task.
pub(crate) type Title = Line;

/// The priority of a task, from low to urgent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    Low,
    #[default]
    Normal,
    High,
    Urgent,
}

/// The error for an invalid [`Priority`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be \"low\", \"normal\", \"high\" or \"urgent\", not {0:?}")]
pub(crate) struct InvalidPriority(String);

/// A time in milliseconds, in the years 2000 to 2199, which every store can sort and keep exactly.
///
/// It is displayed as RFC 3339. The conversion cannot fail, since the range of `Timestamp` is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, derive_more::Display)]
#[display("{}", Timestamp::from_millisecond(*_0).unwrap_or_default())]
pub(crate) struct Moment(i64);

/// The error for an invalid [`Moment`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a time with its offset, from 2000 to 2199, such as \"2030-01-31T12:00:00Z\", not {0:?}"
)]
pub(crate) struct InvalidMoment(String);

impl Task {
    /// True if the task is open and its due time has passed.
    pub(crate) fn is_overdue(&self, now: Moment) -> bool {
        self.completed.is_none() && self.due.is_some_and(|due| due < now)
    }

    /// The position among open tasks, lowest first: by priority, then by due time, with tasks
    /// without one last. The value is exact as a double, the type by which Redis sorts.
    pub(crate) fn rank(&self) -> i64 {
        /// Later than any [`Moment`], in milliseconds.
        const NEVER_MILLIS: i64 = 9_999_999_999_999;
        let urgency = Priority::Urgent as i64 - self.priority as i64;
        // Each priority has a range of its own, which no due time exceeds.
        urgency * (NEVER_MILLIS + 1) + self.due.map_or(NEVER_MILLIS, Moment::unix_millis)
    }
}

impl Priority {
    pub(crate) const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Urgent];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
}

impl FromStr for Priority {
    type Err = InvalidPriority;

    fn from_str(text: &str) -> Result<Self, InvalidPriority> {
        let named = Self::ALL.into_iter().find(|it| it.as_str() == text);
        named.ok_or_else(|| InvalidPriority(excerpt(text)))
    }
}

impl Moment {
    // 2000-01-01T00:00:00Z.
    const MIN_UNIX_MILLIS: i64 = 946_684_800_000;
    // 2199-12-31T23:59:59.999Z.
    const MAX_UNIX_MILLIS: i64 = 7_258_118_399_999;

    pub(crate) fn now() -> Self {
        let now = Timestamp::now().as_millisecond();
        // A wrong clock, such as one that starts in 1970, should not make every request fail.
        Self(now.clamp(Self::MIN_UNIX_MILLIS, Self::MAX_UNIX_MILLIS))
    }

    pub(crate) fn unix_millis(self) -> i64 {
        self.0
    }

    /// The seconds since another time; negative if the other time is later.
    pub(crate) fn seconds_since(self, other: Self) -> f64 {
        // The conversion is exact: both are below 2^53.
        #[expect(clippy::cast_precision_loss)]
        let millis = (self.0 - other.0) as f64;
        millis / 1000.0
    }
}

impl FromStr for Moment {
    type Err = InvalidMoment;

    fn from_str(text: &str) -> Result<Self, InvalidMoment> {
        let timestamp = text.parse::<Timestamp>().ok();
        timestamp
            .map(Timestamp::as_millisecond)
            .filter(|millis| (Self::MIN_UNIX_MILLIS..=Self::MAX_UNIX_MILLIS).contains(millis))
            .map(Self)
            .ok_or_else(|| InvalidMoment(excerpt(text)))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The start of an invalid value, for an error message.
fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 40;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn task(priority: &str, due: Option<&str>) -> Task {
        Task {
            id: Uuid::new_v4(),
            title: Title::new("write a test").unwrap(),
            priority: priority.parse().unwrap(),
            created: "2025-06-01T00:00:00Z".parse().unwrap(),
            due: due.map(|due| due.parse().unwrap()),
            completed: None,
        }
    }

    #[rstest::rstest]
    #[case("2030-01-31T12:00:00Z", Some("2030-01-31T12:00:00Z"))]
    #[case("2030-01-31T12:00:00+02:00", Some("2030-01-31T10:00:00Z"))]
    #[case("2030-01-31T12:00:00.1234567Z", Some("2030-01-31T12:00:00.123Z"))]
    #[case("2000-01-01T00:00:00Z", Some("2000-01-01T00:00:00Z"))]
    #[case("2199-12-31T23:59:59.999Z", Some("2199-12-31T23:59:59.999Z"))]
    #[case("1999-12-31T23:59:59.999Z", None)]
    #[case("2200-01-01T00:00:00Z", None)]
    #[case("2030-01-31", None)]
    #[case("2030-01-31T12:00:00", None)]
    #[case("tomorrow", None)]
    #[case("", None)]
    fn moments_are_shown_in_utc(#[case] text: &str, #[case] shown: Option<&str>) {
        let moment = text.parse::<Moment>().ok().map(|it| it.to_string());
        assert_eq!(moment.as_deref(), shown);
    }

    #[test]
    fn the_most_urgent_task_ranks_first() {
        let ordered = [
            task("urgent", Some("2030-01-01T00:00:00Z")),
            task("urgent", Some("2199-12-31T23:59:59Z")),
            task("urgent", None),
            task("high", Some("2000-01-01T00:00:00Z")),
            task("normal", None),
            task("low", Some("2001-01-01T00:00:00Z")),
        ];
        assert!(ordered.is_sorted_by_key(Task::rank));
        assert!(task("low", None).rank() < 1 << 53, "a double is exact");
    }

    #[test]
    fn only_open_tasks_are_overdue() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut late = task("low", Some("2025-12-31T00:00:00Z"));
        assert!(late.is_overdue(now));
        assert!(!task("low", None).is_overdue(now));
        assert!(!task("low", Some("2026-01-01T00:00:00Z")).is_overdue(now));
        late.completed = Some(now);
        assert!(!late.is_overdue(now));
    }

    proptest::proptest! {
        #[test]
        fn displayed_moments_parse_to_the_same_value(text in "\\PC{0,40}|20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?Z") {
            if let Ok(moment) = text.parse::<Moment>() {
                proptest::prop_assert_eq!(moment.to_string().parse(), Ok(moment));
            }
        }

        #[test]
        fn any_text_is_parsed_without_panic(text in "\\PC{0,300}") {
            let _ = (Title::new(&text), text.parse::<Priority>());
        }
    }
}
