//! Conversion between tasks and hash fields, which other programs may also write.

use std::fmt::Display;

use uuid::Uuid;

use super::{Fields, StoreError};
use crate::tasks::task::{Task, Title};

/// The names and values of an open task's fields. Unset ones are left out.
pub(super) fn of(task: &Task) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("title", task.title.as_str().to_owned()),
        ("priority", task.priority.as_str().to_owned()),
        ("created", task.created.to_string()),
    ];
    fields.extend(task.due.map(|due| ("due", due.to_string())));
    fields
}

/// Parses a task from its fields.
pub(super) fn read(id: Uuid, fields: &Fields) -> Result<Task, StoreError> {
    let task = || -> Result<Task, String> {
        Ok(Task {
            id,
            title: required(fields, "title", Title::new)?,
            priority: required(fields, "priority", str::parse)?,
            created: required(fields, "created", str::parse)?,
            due: optional(fields, "due", str::parse)?,
            completed: optional(fields, "completed", str::parse)?,
        })
    };
    task().map_err(|reason| StoreError::InvalidTask { id, reason })
}

fn required<T, E: Display>(
    fields: &Fields,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, String> {
    optional(fields, name, read)?.ok_or_else(|| format!("{name} is missing"))
}

fn optional<T, E: Display>(
    fields: &Fields,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, String> {
    let field = fields.get(name).map(|text| read(text));
    field.transpose().map_err(|error| format!("{name} {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn task_fields_round_trip() {
        let task = Task {
            id: Uuid::new_v4(),
            title: Title::new("wash up").unwrap(),
            priority: "high".parse().unwrap(),
            created: "2025-01-02T03:04:05.678Z".parse().unwrap(),
            due: Some("2025-02-03T00:00:00Z".parse().unwrap()),
            completed: None,
        };
        let written = of(&task).into_iter();
        let pairs = written.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(read(task.id, &pairs.collect()).unwrap(), task);
    }

    #[rstest::rstest]
    #[case(&[], "title is missing")]
    #[case(&[("title", "x"), ("priority", "so so")], "priority must be \"low\"")]
    #[case(&[("title", "x"), ("priority", "low"), ("created", "then")], "created must be a time")]
    fn invalid_fields_are_refused(#[case] pairs: &[(&str, &str)], #[case] reason: &str) {
        let error = read(Uuid::nil(), &fields(pairs)).unwrap_err().to_string();
        assert!(
            error.contains("task:00000000") && error.contains(reason),
            "{error}"
        );
    }
}
