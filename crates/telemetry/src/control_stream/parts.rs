//! Lists that are too long for one message.

use std::mem;

use prost::Message;

/// Divides a list into parts of at most this length when encoded, or of one longer element. There is
/// at least one part, which is empty if the list is.
pub fn in_parts<M: Message>(elements: Vec<M>, max_bytes: usize) -> Vec<Vec<M>> {
    let mut parts = vec![];
    let mut part = vec![];
    let mut bytes = 0;
    for element in elements {
        let length = element.encoded_len();
        bytes += length;
        if bytes > max_bytes && !part.is_empty() {
            bytes = length;
            parts.push(mem::take(&mut part));
        }
        part.push(element);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use spoor_proto::spoor::control::v1::RuleCount;

    use super::*;

    #[test]
    fn parts_are_as_long_as_permitted() {
        // Encoded in this many bytes, and two more for the length.
        let rule = |bytes: usize| RuleCount {
            rule: "x".repeat(bytes),
            kept: 0,
        };
        let lengths = |bytes: &[usize]| -> Vec<usize> {
            let elements: Vec<RuleCount> = bytes.iter().map(|bytes| rule(bytes - 2)).collect();
            let parts = in_parts(elements, 100);
            parts.iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(&[]), [0]);
        assert_eq!(lengths(&[60, 40, 60, 41, 99, 3]), [2, 1, 1, 1, 1]);
        assert_eq!(lengths(&[10, 110, 10]), [1, 1, 1]);
    }
}
