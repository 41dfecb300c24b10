//! An index of the attributes that satisfy rules.

use std::collections::BTreeMap;

use super::{Rule, RuleCondition};

/// The value of a span's attribute. A string is given as bytes, since most need no validation as
/// UTF-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttributeValue<'a> {
    /// A string. Matches a rule's value with the same bytes.
    Text(&'a [u8]),
    /// A Boolean. Matches the value `true` or `false`.
    Bool(bool),
    /// An integer. Matches every value that is this number.
    Int(i64),
    /// A floating-point number. Matches every value that is a number with the same bits.
    Double(f64),
}

/// Finds the first rule for an attribute in a time that hardly depends on the number of rules and
/// values: a trace of a few kilobytes may have thousands of attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AttributeIndex(BTreeMap<Vec<u8>, KeyIndex>);

/// The values of all rules for one key, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KeyIndex {
    /// Each as the index of its rule and its index among the values of that rule.
    texts: Vec<(usize, usize)>,
    // Parsed once: a string of hundreds of digits takes microseconds.
    ints: Vec<(i64, usize)>,
    doubles: Vec<(u64, usize)>,
}

impl AttributeIndex {
    pub(super) fn of(rules: &[Rule]) -> Self {
        let mut keys: BTreeMap<Vec<u8>, KeyIndex> = BTreeMap::new();
        for (rule, Rule { condition, .. }) in rules.iter().enumerate() {
            let RuleCondition::Attribute { key, values } = condition else {
                continue;
            };
            let index = keys.entry(key.as_str().into()).or_default();
            for (number, text) in values.iter().enumerate() {
                index.texts.push((rule, number));
                index.ints.extend(text.parse().ok().map(|it| (it, rule)));
                let double = text.parse().ok().map(f64::to_bits);
                index.doubles.extend(double.map(|it| (it, rule)));
            }
        }
        for index in keys.values_mut() {
            index.texts.sort_by_key(|it| (text(rules, *it), *it));
            index.ints.sort_unstable();
            index.doubles.sort_unstable();
        }
        Self(keys)
    }

    /// The index of the first rule that an attribute satisfies.
    pub(super) fn first(
        &self,
        rules: &[Rule],
        key: &[u8],
        value: AttributeValue<'_>,
    ) -> Option<usize> {
        let index = self.0.get(key)?;
        match value {
            AttributeValue::Text(value) => index.text(rules, value),
            AttributeValue::Bool(flag) => index.text(rules, if flag { b"true" } else { b"false" }),
            AttributeValue::Int(number) => first(&index.ints, &number),
            AttributeValue::Double(number) => first(&index.doubles, &number.to_bits()),
        }
    }
}

impl KeyIndex {
    fn text(&self, rules: &[Rule], value: &[u8]) -> Option<usize> {
        let start = self.texts.partition_point(|it| text(rules, *it) < value);
        let found = self.texts.get(start)?;
        (text(rules, *found) == value).then_some(found.0)
    }
}

/// The first rule of a value in a sorted list.
fn first<T: Ord>(values: &[(T, usize)], value: &T) -> Option<usize> {
    let start = values.partition_point(|(it, _)| it < value);
    let (found, rule) = values.get(start)?;
    (found == value).then_some(*rule)
}

fn text(rules: &[Rule], (rule, number): (usize, usize)) -> &[u8] {
    match rules.get(rule).map(|it| &it.condition) {
        Some(RuleCondition::Attribute { values, .. }) => {
            values.get(number).map(String::as_bytes).unwrap_or_default()
        }
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const TEXTS: [&str; 8] = ["7", "007", "2.50", "true", "gold", "", "1e3", "x"];

    fn rules(all: &[(bool, Vec<usize>)]) -> Vec<Rule> {
        let rule = |(number, (is_first_key, values)): (usize, &(bool, Vec<usize>))| Rule {
            name: format!("r{number}").parse().unwrap(),
            condition: RuleCondition::Attribute {
                key: if *is_first_key { "a" } else { "b" }.parse().unwrap(),
                values: values.iter().map(|it| TEXTS[*it].to_owned()).collect(),
            },
        };
        all.iter().enumerate().map(rule).collect()
    }

    /// The expected result of the index, found by comparing with each value of each rule.
    fn first_by_comparison(rules: &[Rule], key: &str, value: AttributeValue<'_>) -> Option<usize> {
        let equals = |text: &String| match value {
            AttributeValue::Text(bytes) => text.as_bytes() == bytes,
            AttributeValue::Bool(flag) => text.parse() == Ok(flag),
            AttributeValue::Int(number) => text.parse() == Ok(number),
            AttributeValue::Double(number) => text
                .parse::<f64>()
                .is_ok_and(|it| it.to_bits() == number.to_bits()),
        };
        rules.iter().position(|rule| match &rule.condition {
            RuleCondition::Attribute { key: of, values } => {
                of.as_str() == key && values.iter().any(equals)
            }
            _ => false,
        })
    }

    proptest! {
        #[test]
        fn finds_what_comparisons_find(
            all in prop::collection::vec((any::<bool>(), prop::collection::vec(0..8_usize, 0..4)), 0..6),
        ) {
            let rules = rules(&all);
            let index = AttributeIndex::of(&rules);
            let texts = TEXTS.iter().map(|it| AttributeValue::Text(it.as_bytes()));
            let others = [
                AttributeValue::Bool(true),
                AttributeValue::Bool(false),
                AttributeValue::Int(7),
                AttributeValue::Int(8),
                AttributeValue::Double(2.5),
                AttributeValue::Double(1000.0),
                AttributeValue::Double(-0.0),
            ];
            for value in texts.chain(others) {
                for key in ["a", "b", "c"] {
                    let expected = first_by_comparison(&rules, key, value);
                    prop_assert_eq!(index.first(&rules, key.as_bytes(), value), expected);
                }
            }
        }
    }
}
