//! YAML that parsers read differently.

use rstest::rstest;
use spoor_api::read;

use crate::read::errors;

const POLICY: &str = "\
apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata:
  name: a
spec:
  head:
    probability: 1%
";

#[rstest]
#[case::boolean("true", "the boolean true")]
#[case::boolean_in_capitals("TRUE", "the boolean true")]
#[case::yes("yes", "the string \"yes\"")]
#[case::off("off", "the string \"off\"")]
#[case::letter_y("y", "the string \"y\"")]
#[case::leading_zero("012", "the string \"012\"")]
#[case::octal("0o14", "the number 12")]
#[case::hexadecimal("0x1f", "the number 31")]
#[case::binary("0b101", "the number 5")]
#[case::underscore("1_000", "the string \"1_000\"")]
#[case::sexagesimal("1:30", "the string \"1:30\"")]
#[case::plus("+1", "the number 1")]
#[case::exponent("1e3", "the number 1000.0")]
#[case::no_digit_before_the_point(".5", "the number 0.5")]
#[case::nan_without_a_point("nan", "the string \"nan\"")]
#[case::date("2001-12-14", "the string \"2001-12-14\"")]
#[case::quoted_number("'1'", "the string \"1\"")]
#[case::quoted_null("'~'", "the string \"~\"")]
#[case::null_in_mixed_case("nUll", "the string \"nUll\"")]
#[case::surrogate_pair(r#""\ud83d\ude00""#, "the string \"\u{1f600}\"")]
#[case::text_tag("!!str 1", "the string \"1\"")]
#[case::number_tag("!!int '1'", "the number 1")]
#[case::mapping_tag("!!map {}", "a mapping")]
#[case::equals_sign("=", "the string \"=\"")]
fn reads_scalar(#[case] scalar: &str, #[case] name: &str) {
    assert_eq!(
        errors(&format!("{POLICY}  targets: {scalar}\n")),
        format!("p.yaml:8: spec.targets: must be a list, not {name}\n")
    );
}

const TAG: &str = "must not have a tag; remove the word that begins with \"!\"";

#[rstest]
#[case::infinity(".inf", "spec.targets: must be a finite number")]
#[case::not_a_number(".NaN", "spec.targets: must be a finite number")]
#[case::number_too_large("1e999", "spec.targets: must be a finite number")]
#[case::unknown_tag("[{service: !a b}]", &format!("spec.targets[0].service: {TAG}"))]
#[case::tag_alone("!", &format!("spec.targets: {TAG}"))]
#[case::tag_in_the_namespace_of_yaml("!!set {a}", &format!("spec.targets: {TAG}"))]
#[case::binary_tag("!!binary aGVsbG8=", &format!("spec.targets: {TAG}"))]
#[case::time_tag("!!timestamp 2001-12-14", TAG)]
#[case::tag_of_another_type("!!int a", TAG)]
#[case::tag_of_a_key("[{!!int 1: a}]", TAG)]
#[case::undeclared_tag_handle("!e!a b", TAG)]
#[case::unknown_alias(
    "*a",
    "must not refer to an anchor that does not exist; quote text that begins with '*', such as `\"*a\"`"
)]
#[case::alias_of_itself(
    "&a [*a]",
    "must not have an alias inside the value that it stands for"
)]
#[case::key_that_is_null("[{~: a}]", "must have a string as the name of each field")]
#[case::key_that_is_a_list("[{[a]: b}]", "must have a string as the name of each field")]
#[case::number_as_key(
    "[{1: a, service: b}]",
    "spec.targets[0].1: unknown field; known fields are operations, service"
)]
#[case::number_as_duplicate_key(
    "[{1: a, '1': b}]",
    "spec.targets[0].1: duplicate field; delete one"
)]
#[case::merge_key(
    "[{service: a, <<: {b: c}}]",
    "spec.targets[0].<<: unknown field; known fields are operations, service"
)]
#[case::nothing_between_commas(
    "[a, , b]",
    "must have a value between two commas, such as `[a, b]`"
)]
#[case::no_comma(
    "{a: 1 b: 2}",
    "must have a comma between two values, such as `[a, b]`"
)]
#[case::unknown_escape(
    r#""a\q""#,
    r"must not have an unknown escape; use single quotes, such as `'a\b'`"
)]
#[case::text_after_a_quote(
    "'a' b",
    "invalid trailing content after single-quoted scalar; write a field as `probability: 1%` and the entry of a list as `- service: a`"
)]
#[case::other_bracket(
    "[a}",
    "mismatched bracket '[' closed by '}'; close each bracket, such as `{operations: [a, b]}`"
)]
#[case::colon_in_text(
    "a: b",
    "must not have a colon here; indent a field like the one before, and quote text with a colon, such as `\"a: b\"`"
)]
#[case::control_character(
    "\u{7}",
    "unexpected character: `\\u{7}'; delete it or quote the text, such as `\"a\"`"
)]
#[case::too_deep(
    &("[".repeat(23) + &"]".repeat(23)),
    "must be smaller: a document may have at most 20000 values, 24 levels and 4 MiB of text, after aliases are expanded"
)]
fn rejects_value(#[case] value: &str, #[case] message: &str) {
    assert_eq!(
        errors(&format!("{POLICY}  targets: {value}\n")),
        format!("p.yaml:8: {message}\n")
    );
}

#[rstest]
#[case::byte_order_mark(format!("\u{feff}{POLICY}"))]
#[case::carriage_returns(POLICY.replace('\n', "\r\n"))]
#[case::only_carriage_returns(POLICY.replace('\n', "\r"))]
#[case::end_marker(format!("{POLICY}...\n"))]
#[case::end_marker_without_line_break(format!("{POLICY}..."))]
#[case::start_marker_alone(format!("---\n{POLICY}---\n---\n"))]
#[case::directive_of_yaml_1_1(format!("%YAML 1.1\n---\n{POLICY}"))]
#[case::unknown_directive(format!("%FOO bar\n---\n{POLICY}"))]
#[case::nulls(format!("{POLICY}  targets: ~\n  priority: null\n  tail:\n"))]
#[case::anchors(format!("{POLICY}  targets: [{{service: &a b, operations: [*a]}}]\n"))]
#[case::tab_after_a_key(POLICY.replace("probability: ", "probability:\t"))]
#[case::multiline_list(format!("{POLICY}  targets: [\n{{service: a}},\n]\n"))]
#[case::comment_of_many_lines(format!("{POLICY}  targets:\n{}  - service: b\n", "  # a\n".repeat(100)))]
#[case::many_aliases(format!(
    "{POLICY}  targets: [{{service: &a b, operations: [{}]}}]\n",
    (0..50).map(|at| format!("&a{at} o{at}")).collect::<Vec<_>>().join(", ")
))]
fn reads_text(#[case] text: String) {
    let manifests = read::policies(&text, "p.yaml").unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(manifests.len(), 1);
}

#[rstest]
#[case::carriage_returns(POLICY.replace("1%", "x").replace('\n', "\r\n"), 7)]
#[case::only_carriage_returns(POLICY.replace("1%", "x").replace('\n', "\r"), 7)]
#[case::byte_order_mark(format!("\u{feff}{}", POLICY.replace("1%", "x")), 7)]
#[case::directive(format!("# a\n%YAML 1.2\n---\n{}", POLICY.replace("1%", "x")), 10)]
#[case::other_unicode_line_breaks(format!("# \u{85}\u{2028}\n{}", POLICY.replace("1%", "x")), 8)]
#[case::folded_text_before(
    POLICY.replace("  name: a", "  name: a\n  annotations:\n    b: >-\n      c\n\n      d").replace("1%", "x"),
    12
)]
#[case::value_below_its_key(POLICY.replace(" 1%", "\n\n      x"), 7)]
#[case::value_of_an_alias(POLICY.replace("name: a", "name: a\n  annotations: {b: &c x}").replace("1%", "*c"), 8)]
#[case::explicit_key(POLICY.replace("probability: 1%", "? probability\n    : x"), 7)]
fn finds_line(#[case] text: String, #[case] line: usize) {
    assert_eq!(
        errors(&text),
        format!(
            "p.yaml:{line}: spec.head.probability: must be a percentage such as \"1%\" or \"0.1%\", not \"x\"\n"
        )
    );
}

#[test]
fn open_quote_is_found_on_the_next_line() {
    assert_eq!(
        errors(&POLICY.replace("name: a", "name: 'a")),
        "p.yaml:5: must be indented like the quoted text before; if the closing quote is missing, add it, such as `name: 'a'`\n"
    );
}

#[rstest]
#[case::indentation(POLICY.replace("    probability", "\tprobability"), 7)]
#[case::list(format!("{POLICY}  targets: [\n\t{{service: a}}]\n"), 9)]
fn rejects_tabs_as_indentation(#[case] text: String, #[case] line: usize) {
    assert_eq!(
        errors(&text),
        format!(
            "p.yaml:{line}: must be indented with spaces, not with tabs, such as `  probability: 1%`\n"
        )
    );
}

#[rstest]
#[case::too_little(POLICY.replace("    probability", "  probability").replace("  head:", "  head:\n    a: 1\n   b: 1"), 8)]
#[case::no_colon(POLICY.replace("spec:", "spec"), 5)]
fn rejects_wrong_indentation(#[case] text: String, #[case] line: usize) {
    assert_eq!(
        errors(&text),
        format!(
            "p.yaml:{line}: must be a field with a value, indented like the field before, such as `probability: 1%`\n"
        )
    );
}

#[test]
fn keys_of_an_alias_have_its_lines() {
    let text = POLICY.replace("  name: a", "  name: &m\n    b: c\n  labels: *m");
    assert_eq!(
        errors(&text),
        "p.yaml:4: metadata.name: must be a string such as \"service-a\", not a mapping\n"
    );
    let text = POLICY.replace("  head:", "  head: &h") + "  tail: *h\n";
    assert_eq!(
        errors(&text),
        "p.yaml:7: spec.tail.probability: unknown field; known fields are keep, otherwise\n\
         p.yaml:8: spec.tail.otherwise: is missing; it must be a string such as \"10%\"\n"
    );
}
