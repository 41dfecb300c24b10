//! Hostile texts: reading always ends quickly, with policies or with errors.

use std::time::{Duration, Instant};

use proptest::{collection::vec, prelude::*, sample::select};
use rstest::rstest;
use spoor_api::read::{self, MAX_BYTES, MAX_ERRORS};

use crate::samples::samples;

/// Reads a text and checks the lines, number and length of the errors.
fn read_all(text: &str) {
    let start = Instant::now();
    // The end of a text counts as one more line.
    let lines = 1..=text.matches(['\n', '\r']).count() + 1;
    match read::policies(text, "f.yaml") {
        Ok(manifests) => {
            assert!(
                manifests
                    .iter()
                    .all(|manifest| lines.contains(&manifest.line))
            );
        }
        Err(errors) => {
            assert!((1..=MAX_ERRORS).contains(&errors.len()));
            for error in errors {
                assert!(
                    error.line.is_none_or(|line| lines.contains(&line)),
                    "{error}"
                );
                assert!(error.to_string().len() < 1_000, "{error}");
            }
        }
    }
    // Not a benchmark: this only detects hangs.
    assert!(start.elapsed() < Duration::from_secs(20));
}

const HEAD: &str = "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: p}\n";

fn billion_laughs() -> String {
    let levels: String = (1..12)
        .map(|level| {
            let previous = format!("*l{}", level - 1);
            format!("l{level}: &l{level} [{}]\n", vec![previous; 10].join(", "))
        })
        .collect();
    format!("l0: &l0 ha\n{levels}{HEAD}spec: *l11\n")
}

fn long_alias() -> String {
    format!(
        "t: &t {}\nu: [{}]\n",
        "x".repeat(500_000),
        vec!["*t"; 10_000].join(", ")
    )
}

/// Values within many nested anchors, each of which records them.
fn nested_anchors() -> String {
    let anchors: String = (0..20)
        .map(|level| format!("{}- &a{level}\n", "  ".repeat(level)))
        .collect();
    anchors + &format!("{}- x\n", "  ".repeat(20)).repeat(10_000)
}

#[rstest]
#[case::nothing("", true)]
#[case::only_comments("# a\n---\n# b\n---\n", true)]
#[case::byte_order_mark(&format!("\u{feff}{HEAD}spec: {{head: {{probability: 1%}}}}\n"), true)]
#[case::carriage_returns(
    &format!("{HEAD}spec: {{head: {{probability: 1%}}}}\n---\n# b\n").replace('\n', "\r\n"),
    true
)]
#[case::directive(&format!("%YAML 1.2\n---\n{HEAD}spec: {{head: {{probability: 1%}}}}\n...\n"), true)]
#[case::alias(
    &format!("{HEAD}spec: {{head: {{probability: &p 1%}}, tail: {{otherwise: *p}}}}\n"),
    true
)]
#[case::json(
    r#"{"apiVersion": "spoor.dev/v1alpha1", "kind": "SamplingPolicy", "metadata": {"name": "p"}, "spec": {"head": {"probability": "1%"}}}"#,
    true
)]
#[case::status_is_ignored(
    &format!("{HEAD}spec: {{head: {{probability: 1%}}}}\nstatus: {{conditions: 3}}\n"),
    true
)]
#[case::null_is_absent(
    &format!("{HEAD}spec: {{head: {{probability: 1%, rateLimit: null}}, tail: ~}}\n"),
    true
)]
#[case::two_documents_without_a_line_between("a: 1\n...\nb: 2\n", false)]
#[case::billion_laughs(&billion_laughs(), false)]
#[case::long_alias(&long_alias(), false)]
#[case::alias_of_itself("a: &a [*a]\n", false)]
#[case::unknown_alias("a: *b\n", false)]
#[case::merge_key("a: &a {b: 1}\n<<: *a\n", false)]
#[case::deep_flow(&"[".repeat(MAX_BYTES), false)]
#[case::deep_closed_flow(&("[".repeat(50_000) + &"]".repeat(50_000)), false)]
#[case::deep_maps_with_quoted_brackets(&r#"{"}": "#.repeat(50_000), false)]
#[case::deep_maps(&"{a: ".repeat(MAX_BYTES / 4), false)]
#[case::deep_maps_in_lists(&"[a: ".repeat(MAX_BYTES / 4), false)]
#[case::deep_blocks(&"- ".repeat(MAX_BYTES / 2), false)]
#[case::deep_indentation(&(0..1_400).map(|at| format!("{}a:\n", " ".repeat(at))).collect::<String>(), false)]
#[case::nested_anchors(&nested_anchors(), false)]
#[case::many_aliases(&format!("- &a b\n{}", "- *a\n".repeat(200_000)), false)]
#[case::many_brackets(&format!("[{}]", "[],".repeat(300_000)), false)]
#[case::many_tags(&"- !a b\n".repeat(100_000), false)]
#[case::many_directives(&"%a\n".repeat(300_000), true)]
#[case::many_question_marks(&"? ".repeat(MAX_BYTES / 2), false)]
#[case::many_keys(&(0..100_000).map(|at| format!("k{at}: 1\n")).collect::<String>(), false)]
#[case::many_anchors(&(0..20_000).map(|at| format!("- &a{at} x\n")).collect::<String>(), false)]
#[case::many_documents(&"---\na: 1\n".repeat(1_001), false)]
#[case::many_bad_documents(&"---\na: 1\n".repeat(999), false)]
#[case::many_broken_documents(&"---\n[\n".repeat(999), false)]
#[case::many_empty_documents(&"---\n# nothing\n".repeat(2_000), true)]
#[case::too_long(&"# a\n".repeat(MAX_BYTES / 4 + 1), false)]
#[case::long_comment(&"# a\n".repeat(MAX_BYTES / 4), true)]
#[case::long_probability(&format!("{HEAD}spec: {{head: {{probability: {}%}}}}\n", "9".repeat(100_000)), false)]
#[case::long_time(&format!("{HEAD}spec: {{expiresAt: {}}}\n", "9".repeat(100_000)), false)]
#[case::long_key(&format!("{HEAD}spec: {{? {} : 1}}\n", "k".repeat(100_000)), false)]
#[case::long_key_with_an_error(&format!("? {} \n: {{a: 1, a: 2}}\n", "k".repeat(100_000)), false)]
#[case::long_duplicates(
    &format!("{HEAD}spec: {{targets: [{{service: a, operations: [{0}, {0}]}}]}}\n", "o".repeat(100_000)),
    false
)]
#[case::long_tag(&format!("a: !{} b\n", "t".repeat(100_000)), false)]
#[case::infinity(&format!("{HEAD}spec: {{priority: .inf}}\n"), false)]
#[case::huge_number(&format!("{HEAD}spec: {{priority: 99999999999999999999}}\n"), false)]
#[case::vast_number(&format!("{HEAD}spec: {{priority: 9{}}}\n", "9".repeat(400)), false)]
#[case::keys_that_are_lists("[a]: 1\n", false)]
#[case::nul_bytes("\0\0\0", false)]
#[case::binary("a: !!binary aGVsbG8=\n", false)]
fn reading_hostile_text_ends(#[case] text: &str, #[case] is_accepted: bool) {
    read_all(text);
    let result = read::policies(text, "f.yaml");
    assert_eq!(result.is_ok(), is_accepted, "{result:?}");
}

#[test]
fn expanded_policies_are_bounded() {
    let aliases: String = (0..20).map(|number| format!(", a{number}: *t")).collect();
    let text = "x".repeat(100_000);
    let document = format!(
        "---\napiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\n\
         metadata: {{name: p, annotations: {{a: &t {text}{aliases}}}}}\n\
         spec: {{head: {{probability: 1%}}}}\n"
    );
    let one = read::policies(&document, "f.yaml").map(|manifests| manifests.len());
    assert_eq!(one, Ok(1));
    let errors = read::policies(&document.repeat(3), "f.yaml").unwrap_err();
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let expected = "f.yaml: must have at most 4194304 bytes after aliases are expanded; split it";
    assert_eq!(errors, [expected]);
}

#[test]
fn values_of_all_texts_are_bounded() {
    let rows = |name: &str| [name; 10].join(",");
    let text = format!(
        "{HEAD}spec: {{head: {{probability: 1%}}}}\nstatus:\n  a: &a [{}]\n  b: &b [{}]\n  \
         c: &c [{}]\n  d: [{}]\n",
        rows("1"),
        rows("*a"),
        rows("*b"),
        rows("*c")
    );
    let mut room = 30_000;
    for is_read in [true, true, true, false] {
        let result = read::policies_within(&text, "f.yaml", &mut room);
        assert_eq!(result.is_ok(), is_read, "{result:?}");
    }
    let errors = read::policies_within(&text, "f.yaml", &mut room).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "f.yaml: all documents together must have at most 1000000 values after aliases are \
         expanded; apply fewer at once"
    );
    // A document that is refused counts as well.
    let mut room = 30_000;
    read::policies_within(&billion_laughs(), "f.yaml", &mut room).unwrap_err();
    assert!(room < 25_000, "{room}");
}

#[test]
fn long_texts_count_as_values() {
    let text = format!("{HEAD}spec: {{priority: {}}}\n", "x".repeat(256_000));
    let mut room = 2_000;
    read::policies_within(&text, "f.yaml", &mut room).unwrap_err();
    assert!((900..1_000).contains(&room), "{room}");
}

/// One change of a text.
#[derive(Clone, Debug)]
enum Change {
    Delete(usize, usize),
    Insert(usize, String),
    Repeat(usize, usize),
    Swap(usize, usize),
}

/// The characters and words with a meaning in YAML.
const PIECES: &[&str] = &[
    "---\n", "...\n", "- ", "? ", ": ", ":", "&a ", "*a", "!t ", "[", "]", "{", "}", "|\n", ">-\n",
    "\"", "'", "#", "%", "\t", "\r", "\n", "  ", "\0", "\u{feff}", "ä", "null", "~", "1e9",
    "<<: *a", "!!int ", "0x1F", ".nan", "@", "`", ", ",
];

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 0usize..20).prop_map(|(at, len)| Change::Delete(at, len)),
        (any::<usize>(), select(PIECES)).prop_map(|(at, s)| Change::Insert(at, s.to_owned())),
        (any::<usize>(), ".{1,5}").prop_map(|(at, text)| Change::Insert(at, text)),
        (any::<usize>(), 1usize..60).prop_map(|(at, len)| Change::Repeat(at, len)),
        (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Change::Swap(one, other)),
    ]
}

fn apply(text: &str, changes: &[Change]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for change in changes {
        let len = letters.len();
        let place = |at: usize| at % (len + 1);
        match change {
            Change::Delete(at, count) => {
                let at = place(*at);
                letters.drain(at..(at + count).min(len));
            }
            Change::Insert(at, piece) => {
                let at = place(*at);
                letters.splice(at..at, piece.chars());
            }
            Change::Repeat(at, count) => {
                let at = place(*at);
                let piece = letters[at..(at + count).min(len)].to_vec();
                letters.splice(at..at, piece);
            }
            Change::Swap(one, other) if len > 0 => letters.swap(one % len, other % len),
            Change::Swap(..) => {}
        }
    }
    letters.into_iter().collect()
}

proptest! {
    #[test]
    fn any_text_is_read(text in "\\PC{0,200}|[\\x00-\\x7f]{0,200}") {
        read_all(&text);
    }

    #[test]
    fn any_bytes_are_read(bytes in vec(any::<u8>(), 0..400)) {
        read_all(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn yaml_like_texts_are_read(text in "([ \\-?:,\\[\\]{}#&*!|>'\"%@`\n\tab1~.<]|---\n|a: |- ){0,120}") {
        read_all(&text);
    }

    #[test]
    fn changed_samples_are_read(
        (_, text) in select(samples()), other in select(samples()), changes in vec(change(), 1..12),
    ) {
        read_all(&apply(&text, &changes));
        read_all(&apply(&format!("{text}---\n{}", other.1), &changes));
    }
}
