//! `tracestate`: a list of `KEY=VALUE`, the latest writer first.

use std::collections::HashSet;

/// The most members in a list.
pub const MAX_MEMBERS: usize = 32;
/// The maximum length of a list, in characters over all its headers.
pub const MAX_LENGTH: usize = 512;
/// Members longer than this are removed first from a list that is too long.
const LONG_MEMBER_LENGTH: usize = 128;
// The grammar of Trace Context level 2, in characters.
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// A key and its value.
pub(super) type Member = (String, String);

/// Reads the headers' values, in their order. An invalid or too long list is read as empty. Of
/// members with the same key the first, which is the latest, is kept.
pub(super) fn read(headers: &[&str]) -> Vec<Member> {
    let texts = headers.iter().flat_map(|header| header.split(','));
    let texts = texts
        .map(|text| text.trim_matches([' ', '\t']))
        .filter(|text| !text.is_empty());
    let Some(members) = texts.map(member).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    if members.len() > MAX_MEMBERS || length(&members) > MAX_LENGTH {
        return Vec::new();
    }
    let mut keys = HashSet::new();
    let latest = members.into_iter().filter(|(key, _)| keys.insert(*key));
    latest
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Writes one header's value, which is empty without members. A list that is too long is shortened
/// by the specification's rules: long members first, then from the end.
pub(super) fn write(members: &[(&str, &str)]) -> String {
    let mut members = members.to_vec();
    members.truncate(MAX_MEMBERS);
    while length(&members) > MAX_LENGTH {
        let long = members
            .iter()
            .rposition(|member| member_length(member) > LONG_MEMBER_LENGTH);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    members
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

fn length(members: &[(&str, &str)]) -> usize {
    members.iter().map(member_length).sum::<usize>() + members.len().saturating_sub(1)
}

fn member_length((key, value): &(&str, &str)) -> usize {
    key.len() + 1 + value.len()
}

fn member(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    (is_key(key) && is_value(value)).then_some((key, value))
}

/// True for a lower-case letter or digit, followed by these, `_`, `-`, `*`, `/` and `@`.
fn is_key(text: &str) -> bool {
    let starts = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let continues = |byte: u8| starts(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@');
    text.len() <= MAX_KEY && text.bytes().next().is_some_and(starts) && text.bytes().all(continues)
}

/// True for printable ASCII without `,` and `=`, and without a space at the end.
fn is_value(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    !text.is_empty() && text.len() <= MAX_VALUE && !text.ends_with(' ') && text.bytes().all(allowed)
}
