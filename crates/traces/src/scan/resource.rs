//! Resources and scopes, which the spans below them share.

use super::{
    ScannedResource,
    attribute::{Plain, Value, check, key_value},
    wire::{BYTES, Reader, VARINT, WireError, key, visit},
};
use crate::otlp_json::ENTITY_REF;

/// Reads a `Resource`, with its service and its namespaces.
pub(super) fn resource<'a>(
    reader: Reader<'a>,
    scanned: &mut ScannedResource<'a>,
) -> Result<(), WireError> {
    attributes(reader, |name, value| match (name, value) {
        (b"service.name", Value::Text(text)) => {
            scanned.service = text;
            scanned.service_bytes = text.len().max(scanned.service_bytes);
        }
        (b"service.namespace", Value::Text(text)) => scanned.service_namespace = text,
        (b"k8s.namespace.name", Value::Text(text)) => scanned.kubernetes_namespace = text,
        _ => {}
    })
}

fn attributes<'a>(
    mut reader: Reader<'a>,
    mut apply: impl FnMut(&'a [u8], Value<&'a [u8]>),
) -> Result<(), WireError> {
    const ATTRIBUTE: u32 = key(1, BYTES);
    const DROPPED: u32 = key(2, VARINT);
    const ENTITY: u32 = key(3, BYTES);
    while let Some(key) = reader.key()? {
        match key {
            ATTRIBUTE => {
                let (name, value) = key_value::<Plain>(reader.message()?)?;
                apply(name, value);
            }
            DROPPED => drop(reader.varint()?),
            ENTITY => check(&ENTITY_REF, reader.message()?)?,
            other => reader.skip_unknown(other, 3)?,
        }
    }
    Ok(())
}

/// Calls `apply` for each attribute of the resource in an encoded `ResourceSpans` without its
/// scopes.
pub(crate) fn resource_attributes<'a>(
    header: &'a [u8],
    mut apply: impl FnMut(&'a [u8], Value<&'a [u8]>),
) {
    const RESOURCE: u32 = key(1, BYTES);
    visit(header, |reader, key| match key {
        RESOURCE => attributes(reader.message()?, &mut apply),
        other => reader.skip_unknown(other, 0),
    });
}

/// The name and version of the scope in an encoded `ScopeSpans` without its spans.
pub(crate) fn scope_name(header: &[u8]) -> (&str, &str) {
    const SCOPE: u32 = key(1, BYTES);
    const NAME: u32 = key(1, BYTES);
    const VERSION: u32 = key(2, BYTES);
    let (mut name, mut version) = (&[][..], &[][..]);
    visit(header, |reader, key| match key {
        SCOPE => {
            visit(reader.bytes()?, |scope, key| match key {
                NAME => scope.text().map(|text| name = text),
                VERSION => scope.text().map(|text| version = text),
                other => scope.skip_unknown(other, 0),
            });
            Ok(())
        }
        other => reader.skip_unknown(other, 0),
    });
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    (text(name), text(version))
}
