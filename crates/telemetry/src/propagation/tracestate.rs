//! `tracestate`: a list of `KEY=VALUE`, the latest writer first.

use std::collections::HashSet;

/// The most members in a list.
const MAX_MEMBERS: usize = 32;
/// The most characters of a list, over all its headers.
const MAX_CHARS: usize = 512;
/// The length above which members are removed first from a list that is too long, in characters.
const LONG_MEMBER_CHARS: usize = 128;
/// The most characters of a key, and of a value, in the grammar of Trace Context level 2.
const MAX_PART_CHARS: usize = 256;

/// A key and its value.
pub(super) type Member = (String, String);

/// Reads the headers' values, in their order. A list that is invalid or too long is read as empty.
/// If several members have the same key, the first one, which is the latest, is kept.
pub(super) fn read(headers: &[&str]) -> Vec<Member> {
    let texts = headers.iter().flat_map(|header| header.split(','));
    let texts = texts
        .map(|text| text.trim_matches([' ', '\t']))
        .filter(|text| !text.is_empty());
    let Some(members) = texts.map(member).collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    if members.len() > MAX_MEMBERS || length(&members) > MAX_CHARS {
        return Vec::new();
    }
    let mut keys = HashSet::new();
    let latest = members.into_iter().filter(|(key, _)| keys.insert(*key));
    latest
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Writes one header's value, which is empty if there are no members. A list that is too long is
/// shortened by the specification's rules: long members first, then from the end.
pub(super) fn write(members: &[(&str, &str)]) -> String {
    let mut members = members.to_vec();
    members.truncate(MAX_MEMBERS);
    while length(&members) > MAX_CHARS {
        let long = members
            .iter()
            .rposition(|member| member_length(member) > LONG_MEMBER_CHARS);
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
    let mut bytes = text.bytes();
    text.len() <= MAX_PART_CHARS && bytes.next().is_some_and(starts) && bytes.all(continues)
}

/// True for printable ASCII without `,` and `=`, and without a space at the end.
fn is_value(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    (1..=MAX_PART_CHARS).contains(&text.len()) && !text.ends_with(' ') && text.bytes().all(allowed)
}
