//! Reads resources from text with several YAML documents, and locates all errors.

mod documents;
mod list;
pub(crate) mod shape;

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::{FieldError, FieldPath, SamplingPolicy, field::quoted, problem, schema, yaml};
use documents::Document;

/// The longest text accepted, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The most bytes of all policies of one text as JSON, with aliases expanded.
const MAX_EXPANDED_BYTES: usize = 4 << 20;
/// The most documents accepted in one text.
pub const MAX_DOCUMENTS: usize = 1_000;
/// The most values in all texts that are submitted together, with aliases expanded. Reading one
/// takes about 0.4 µs. Each 256 bytes of text count as one more value.
pub const MAX_VALUES: usize = 1_000_000;
/// The most errors reported for one text.
pub const MAX_ERRORS: usize = 50;

/// The fields of `metadata` that the API server and its controllers set and that
/// [`Metadata`](crate::Metadata) does not have.
const SERVER_METADATA: [&str; 6] = [
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "managedFields",
    "ownerReferences",
    "selfLink",
];

/// A valid policy and its location in a text.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyManifest {
    /// The policy as written.
    pub policy: SamplingPolicy,
    /// The name of the text, such as a file name.
    pub source: Arc<str>,
    /// The size of the policy as JSON, in bytes.
    pub bytes: usize,
    /// The line where the policy begins, counted from 1.
    // Lines rather than the document itself, which may be much larger than the policy: with
    // aliases, a short text expands to thousands of values in fields that are ignored.
    pub line: usize,
    /// The path in its document: the root, or an item of a list.
    at: FieldPath,
    name_line: usize,
}

impl PolicyManifest {
    /// An error in a field of this resource, with the line of its name.
    #[must_use]
    pub fn error(&self, error: FieldError) -> ManifestError {
        ManifestError {
            source: self.source.clone(),
            line: Some(self.name_line),
            path: self.at.join(&error.path),
            problem: error.problem,
        }
    }
}

/// An error in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The name of the text.
    pub source: Arc<str>,
    /// The line, counted from 1, or `None` for the whole text.
    pub line: Option<usize>,
    /// The field, or the root for an error that belongs to no field, such as a syntax error.
    pub path: FieldPath,
    /// The problem, and how to solve it.
    pub problem: String,
}

impl ManifestError {
    /// An error that belongs to no field.
    fn new(source: &Arc<str>, line: Option<usize>, problem: String) -> Self {
        Self {
            source: source.clone(),
            line,
            path: FieldPath::root(),
            problem,
        }
    }
}

impl std::error::Error for ManifestError {}

impl fmt::Display for ManifestError {
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

/// Reads and validates all policies of a text, including those in lists as kubectl prints them.
///
/// `source` is the name of the text in errors, such as a file name. A text without documents has
/// neither policies nor errors.
///
/// # Errors
/// The errors of all documents, in the order of the text, up to [`MAX_ERRORS`].
pub fn policies(text: &str, source: &str) -> Result<Vec<PolicyManifest>, Vec<ManifestError>> {
    let mut room = MAX_VALUES;
    policies_within(text, source, &mut room)
}

/// Reads policies as [`policies`] does, from one of several texts. Subtracts the values of the text
/// from `room`, which is [`MAX_VALUES`] before the first text, and refuses a text once none are left.
///
/// # Errors
/// As for [`policies`].
pub fn policies_within(
    text: &str,
    source: &str,
    room: &mut usize,
) -> Result<Vec<PolicyManifest>, Vec<ManifestError>> {
    let source: Arc<str> = source.into();
    let whole_text = |problem| vec![ManifestError::new(&source, None, problem)];
    if text.len() > MAX_BYTES {
        let len = text.len();
        let problem = format!("must be at most {MAX_BYTES} bytes, not {len}");
        return Err(whole_text(problem));
    }
    // The parser could read several documents, but stops at the first error in any of them.
    let documents = documents::split(text);
    if documents.len() > MAX_DOCUMENTS {
        let count = documents.len();
        let problem = format!("must have at most {MAX_DOCUMENTS} documents, not {count}");
        return Err(whole_text(problem));
    }
    let (mut manifests, mut errors) = (vec![], vec![]);
    let mut bytes = 0;
    for document in documents {
        if *room == 0 {
            let problem = format!(
                "all documents together must have at most {MAX_VALUES} values after aliases are \
                 expanded; apply fewer at once"
            );
            return Err(whole_text(problem));
        }
        let before = manifests.len();
        let result = read(&document, &source, &mut manifests, &mut errors, room);
        errors.extend(result.err());
        let new = manifests.iter().skip(before);
        bytes += new.map(|manifest| manifest.bytes).sum::<usize>();
        if bytes > MAX_EXPANDED_BYTES {
            let problem = format!(
                "must have at most {MAX_EXPANDED_BYTES} bytes after aliases are expanded; split it"
            );
            return Err(whole_text(problem));
        }
        if errors.len() >= MAX_ERRORS {
            break;
        }
    }
    errors.extend(duplicates(&manifests));
    // Sorted, since the errors for missing fields come after those for present ones.
    errors.sort_by_key(|error| error.line);
    errors.truncate(MAX_ERRORS);
    if errors.is_empty() {
        Ok(manifests)
    } else {
        Err(errors)
    }
}

/// Reads the policies of one document, which may be empty or a list.
///
/// # Errors
/// The error of the document as a whole. Those of its policies are added to `errors`.
fn read(
    document: &Document<'_>,
    source: &Arc<str>,
    manifests: &mut Vec<PolicyManifest>,
    errors: &mut Vec<ManifestError>,
    room: &mut usize,
) -> Result<(), ManifestError> {
    let lines_before = document.lines_before;
    let node = yaml::parse(document.text, room).map_err(|error| {
        ManifestError::new(source, Some(lines_before + error.line), error.problem)
    })?;
    let line = |path: &FieldPath| lines_before + node.line(path);
    // The error of a resource, which is at this path in the document.
    let located = |at: &FieldPath, error: FieldError| {
        let path = at.join(&error.path);
        ManifestError {
            source: source.clone(),
            line: Some(line(&path)),
            path,
            problem: error.problem,
        }
    };
    let root = FieldPath::root();
    let value = node.to_json().map_err(|error| located(&root, error))?;
    for (at, value) in list::resources(value).map_err(|error| located(&root, error))? {
        // Items whose errors would not be reported must not take any time.
        if errors.len() >= MAX_ERRORS {
            break;
        }
        match policy(value) {
            Ok(policy) => {
                let name = root.field("metadata").field("name");
                manifests.push(PolicyManifest {
                    bytes: json_bytes(&policy),
                    policy,
                    source: source.clone(),
                    line: line(&at),
                    name_line: line(&at.join(&name)),
                    at,
                });
            }
            Err(invalid) => {
                let invalid = invalid.into_iter().take(MAX_ERRORS);
                errors.extend(invalid.map(|error| located(&at, error)));
            }
        }
    }
    Ok(())
}

/// Reads a policy from any value.
fn policy(mut value: Value) -> Result<SamplingPolicy, Vec<FieldError>> {
    let errors = shape::kind(&value, SamplingPolicy::KIND);
    if !errors.is_empty() {
        return Err(errors);
    }
    // Before the comparison with the schema, which does not have these fields.
    remove_server_metadata(&mut value);
    if let Value::Object(fields) = &mut value {
        fields.remove("status");
    }
    let (schema, root) = (&*schema::SAMPLING_POLICY, FieldPath::root());
    let mut errors = shape::errors(&value, schema, &root);
    // No more are reported.
    if errors.len() >= MAX_ERRORS {
        return Err(errors);
    }
    // Without nulls, since serde refuses them for fields that are not optional in Rust, such as
    // `priority`.
    let policy = match SamplingPolicy::deserialize(shape::repaired(value, schema)) {
        Ok(policy) => policy,
        Err(error) => {
            errors.push(FieldError::new(root, error.to_string()));
            return Err(errors);
        }
    };
    // A file does not contain the creation time, and the result does not depend on it.
    let invalid = policy.validate(Timestamp::UNIX_EPOCH).err();
    let mut invalid = invalid.unwrap_or_default();
    invalid.retain(|it| !errors.iter().any(|error| may_result_from(it, error)));
    errors.extend(invalid);
    match errors.is_empty() {
        true => Ok(policy),
        false => Err(errors),
    }
}

/// The size of a policy as JSON, in bytes.
#[must_use]
pub fn json_bytes(policy: &SamplingPolicy) -> usize {
    // A policy that was read from text can be written again.
    serde_json::to_vec(policy).map_or(0, |json| json.len())
}

/// True if a validation error may exist only because of an error in the shape, which was repaired
/// before validation.
fn may_result_from(invalid: &FieldError, shape: &FieldError) -> bool {
    let (at, repaired) = (&invalid.path, &shape.path);
    repaired.contains(at)
        // The unknown field may be the one that is missing.
        || problem::is_missing_choice(&invalid.problem) && at.contains(repaired)
        // The example that replaced a value may equal another item's name.
        || invalid.problem.starts_with(problem::DUPLICATE) && at.is_related(repaired)
}

/// Reads a policy as the API server returns it, with its status.
///
/// # Errors
/// The value is not a policy.
pub fn stored_policy(mut value: Value) -> serde_json::Result<SamplingPolicy> {
    remove_server_metadata(&mut value);
    serde_json::from_value(value)
}

/// Removes the metadata that the API server sets and kubectl prints.
fn remove_server_metadata(policy: &mut Value) {
    if let Some(Value::Object(metadata)) = policy.get_mut("metadata") {
        metadata.retain(|name, _| !SERVER_METADATA.contains(&name.as_str()));
    }
}

/// The errors for policies with the name of an earlier one in the text.
fn duplicates(manifests: &[PolicyManifest]) -> Vec<ManifestError> {
    let mut first: BTreeMap<(&str, &str), &PolicyManifest> = BTreeMap::new();
    let mut errors = vec![];
    for manifest in manifests {
        let metadata = &manifest.policy.metadata;
        // The default of validation, so that a name without a namespace equals one in `default`.
        let namespace = metadata.namespace.as_deref().unwrap_or("default");
        match first.get(&(namespace, metadata.name.as_str())) {
            Some(first) => {
                let problem = format!(
                    "{} is already defined at line {}; rename or delete one of the two",
                    quoted(&metadata.name),
                    first.line
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
