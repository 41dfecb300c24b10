//! Conversion between tasks and hash fields, which other programs may also write.

use std::fmt::Display;

use uuid::Uuid;

use super::{Fields, StoreError};
use crate::tasks::task::{Task, Title};

/// The alternating names and values of a task's fields. Unset ones are left out.
pub(super) fn of(task: &Task) -> Vec<String> {
    let mut fields = vec![
        ("title", task.title.as_str().to_owned()),
        ("priority", task.priority.as_str().to_owned()),
        ("created", task.created.to_string()),
    ];
    fields.extend(task.due.map(|due| ("due", due.to_string())));
    fields
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
}

/// Parses a task from its fields.
pub(super) fn read(id: Uuid, fields: &Fields) -> Result<Task, StoreError> {
    let read = Read { id, fields };
    Ok(Task {
        id,
        title: read.required("title", Title::new)?,
        priority: read.required("priority", str::parse)?,
        created: read.required("created", str::parse)?,
        due: read.optional("due", str::parse)?,
        completed: read.optional("completed", str::parse)?,
    })
}

struct Read<'a> {
    id: Uuid,
    fields: &'a Fields,
}

impl Read<'_> {
    fn required<T, E: Display>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, StoreError> {
        self.optional(name, read)?
            .ok_or_else(|| self.invalid(name, "is missing"))
    }

    fn optional<T, E: Display>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, StoreError> {
        let field = self.fields.get(name).map(|text| read(text));
        field.transpose().map_err(|error| self.invalid(name, error))
    }

    fn invalid(&self, name: &str, what: impl Display) -> StoreError {
        StoreError::InvalidTask {
            id: self.id,
            reason: format!("{name} {what}"),
        }
    }
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
    fn a_task_is_what_was_written() {
        let task = Task {
            id: Uuid::new_v4(),
            title: Title::new("wash up").unwrap(),
            priority: "high".parse().unwrap(),
            created: "2025-01-02T03:04:05.678Z".parse().unwrap(),
            due: Some("2025-02-03T00:00:00Z".parse().unwrap()),
            completed: None,
        };
        let written = of(&task);
        let pairs = written.chunks(2).map(|it| (it[0].clone(), it[1].clone()));
        assert_eq!(read(task.id, &pairs.collect()).unwrap(), task);
    }

    #[rstest::rstest]
    #[case(&[], "title is missing")]
    #[case(&[("title", "x"), ("priority", "so so")], "priority must be \"low\"")]
    #[case(&[("title", "x"), ("priority", "low"), ("created", "then")], "created must be a time")]
    fn what_others_wrote_is_checked(#[case] pairs: &[(&str, &str)], #[case] says: &str) {
        let error = read(Uuid::nil(), &fields(pairs)).unwrap_err().to_string();
        assert!(
            error.contains("task:00000000") && error.contains(says),
            "{error}"
        );
    }
}
