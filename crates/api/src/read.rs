//! Reads resources from texts of many YAML documents, and says of all that is wrong where it is.

mod documents;
mod list;
pub(crate) mod shape;

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    FieldError, FieldPath, SamplingPolicy,
    field::quoted,
    schema,
    yaml::{self, Malformed},
};
use documents::Document;

/// The longest text that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The most documents in one text.
pub const MAX_DOCUMENTS: usize = 1_000;
/// The most errors that are reported of one text.
pub const MAX_ERRORS: usize = 50;

/// The fields of `metadata` that belong to the API server and its controllers, of those that
/// [`Metadata`](crate::Metadata) does not have.
const SERVER_METADATA: [&str; 6] = [
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "managedFields",
    "ownerReferences",
    "selfLink",
];

/// A policy, valid, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The policy as it is written.
    pub policy: SamplingPolicy,
    /// The name of the text, such as a file's.
    pub source: Arc<str>,
    place: Place,
}

/// Where a resource stands in a text.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    document: Arc<str>,
    lines_before: usize,
    /// The way to it in its document: the root, or an item of a list.
    at: FieldPath,
}

impl Manifest {
    /// The line where it begins, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place.line(&self.place.at)
    }

    /// An error in a field of this resource, with its line.
    #[must_use]
    pub fn error(&self, error: FieldError) -> ReadError {
        self.place.error(&self.source, error)
    }
}

impl Place {
    fn line(&self, path: &FieldPath) -> usize {
        self.lines_before + yaml::line(&self.document, path)
    }

    fn error(&self, source: &Arc<str>, error: FieldError) -> ReadError {
        let path = self.at.join(&error.path);
        ReadError {
            source: source.clone(),
            line: Some(self.line(&path)),
            path,
            problem: error.problem,
        }
    }
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The name of the text.
    pub source: Arc<str>,
    /// The line, from 1; none when it is about the whole text.
    pub line: Option<usize>,
    /// The field; the root when there is none, as with a syntax error.
    pub path: FieldPath,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl std::error::Error for ReadError {}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.source)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if self.path != FieldPath::root() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.problem)
    }
}

/// Reads and validates all policies of a text, also those in lists, as kubectl prints them.
/// `source` is what errors call it, such as the file's name. A text without documents has no
/// policies and no errors.
///
/// # Errors
/// Everything that is wrong with any document, in the order of the text, up to [`MAX_ERRORS`].
pub fn policies(text: &str, source: &str) -> Result<Vec<Manifest>, Vec<ReadError>> {
    let source: Arc<str> = source.into();
    let about_all = |problem: String| {
        vec![ReadError {
            source: source.clone(),
            line: None,
            path: FieldPath::root(),
            problem,
        }]
    };
    if text.len() > MAX_BYTES {
        return Err(about_all(format!(
            "must be at most {MAX_BYTES} bytes, not {}",
            text.len()
        )));
    }
    let documents = documents::split(text);
    if documents.len() > MAX_DOCUMENTS {
        let found = documents.len();
        return Err(about_all(format!(
            "must have at most {MAX_DOCUMENTS} documents, not {found}"
        )));
    }
    let (mut manifests, mut errors) = (vec![], vec![]);
    for document in documents {
        match read(&document, &source) {
            Ok(found) => manifests.extend(found),
            Err(found) => errors.extend(found),
        }
        if errors.len() >= MAX_ERRORS {
            break;
        }
    }
    errors.extend(twice(&manifests));
    errors.truncate(MAX_ERRORS);
    if errors.is_empty() {
        Ok(manifests)
    } else {
        Err(errors)
    }
}

/// The policies of one document: none if it is empty, several if it is a list.
fn read(document: &Document<'_>, source: &Arc<str>) -> Result<Vec<Manifest>, Vec<ReadError>> {
    let value = yaml::parse(document.text).map_err(|error| malformed(document, source, error))?;
    let place = Place {
        document: document.text.into(),
        lines_before: document.lines_before,
        at: FieldPath::root(),
    };
    let (mut manifests, mut errors) = (vec![], vec![]);
    let resources = list::resources(value).map_err(|error| vec![place.error(source, error)])?;
    for (at, value) in resources {
        if errors.len() >= MAX_ERRORS {
            break;
        }
        let place = Place {
            at,
            ..place.clone()
        };
        match policy(value) {
            Ok(policy) => manifests.push(Manifest {
                policy,
                source: source.clone(),
                place,
            }),
            Err(found) => {
                let found = found.into_iter().take(MAX_ERRORS);
                errors.extend(found.map(|error| place.error(source, error)));
            }
        }
    }
    if errors.is_empty() {
        Ok(manifests)
    } else {
        Err(errors)
    }
}

/// Says what is wrong with a document's syntax. The message can name a second line, so the
/// document is read again at its place in the text.
fn malformed(document: &Document<'_>, source: &Arc<str>, alone: Malformed) -> Vec<ReadError> {
    let in_place = "\n".repeat(document.lines_before) + document.text;
    let Malformed { line, problem } = yaml::parse(&in_place).err().unwrap_or(alone);
    vec![ReadError {
        source: source.clone(),
        line,
        path: FieldPath::root(),
        problem,
    }]
}

/// From any value to a valid policy. What does not have the shape is not looked at further.
fn policy(mut value: Value) -> Result<SamplingPolicy, Vec<FieldError>> {
    let errors = shape::kind(&value, SamplingPolicy::KIND);
    if !errors.is_empty() {
        return Err(errors);
    }
    remove_server_fields(&mut value);
    let errors = shape::errors(&value, schema::sampling_policy());
    if !errors.is_empty() {
        return Err(errors);
    }
    let policy = SamplingPolicy::deserialize(shape::without_nulls(value))
        .map_err(|error| vec![FieldError::new(FieldPath::root(), error.to_string())])?;
    policy.validate(Timestamp::UNIX_EPOCH)?;
    Ok(policy)
}

/// Takes out what the API server sets and kubectl prints, and nobody writes.
fn remove_server_fields(policy: &mut Value) {
    let Value::Object(fields) = policy else {
        return;
    };
    fields.remove("status");
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.retain(|name, _| !SERVER_METADATA.contains(&name.as_str()));
    }
}

/// One name must not stand twice in a text: which of the two is meant would be a guess.
fn twice(manifests: &[Manifest]) -> Vec<ReadError> {
    let mut first: BTreeMap<(&str, &str), &Manifest> = BTreeMap::new();
    let mut errors = vec![];
    for manifest in manifests {
        let metadata = &manifest.policy.metadata;
        let namespace = metadata.namespace.as_deref().unwrap_or("default");
        match first.get(&(namespace, metadata.name.as_str())) {
            Some(first) => {
                let problem = format!(
                    "{} stands already at line {}: give this one another name or delete one",
                    quoted(&metadata.name),
                    first.line()
                );
                let path = FieldPath::root().field("metadata").field("name");
                errors.push(manifest.error(FieldError::new(path, problem)));
            }
            None => {
                first.insert((namespace, metadata.name.as_str()), manifest);
            }
        }
    }
    errors
}
