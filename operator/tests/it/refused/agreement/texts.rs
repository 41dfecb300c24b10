//! The texts to try in a field.

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// The number of texts generated for each field.
const TEXTS_PER_FIELD: usize = 40;

/// The texts for every field.
pub fn common_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "a",
        "A",
        "0",
        "-",
        ".",
        "/",
        ":",
        "a b",
        "a-",
        "-a",
        "a.b",
        "a..b",
        ".a",
        "a.",
        "a_b",
        "a:1",
        "a:0",
        "a:65535",
        "a:65536",
        "a:01",
        "a\n",
        "\na",
        "a\tb",
        "\u{7f}",
        "\u{85}",
        "é",
        "日本",
        "😀",
        "\u{a0}",
        "null",
        "~",
        "1%",
        "+1%",
        "1s",
        "2027-01-01T12:00:00Z",
        "2027-01-01t12:00:00z",
        "2027-02-29T12:00:00Z",
        "2028-02-29T12:00:00Z",
        "2027-01-01T23:59:60Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "2027-01-01T12:00:00+23:59",
        "2027-01-01T12:00:00-00:00",
        "https://a",
        "https://a/b?c",
        "HTTPS://a",
        "1Gi",
        "1e3",
        "0.1",
        "00",
        "١%",
        "१s",
        "$(x)",
        "'",
        "\"",
        "\\",
        "spoor",
        "a/spoor",
        "a/spoor-b",
        "a/sp",
    ]
    .map(str::to_owned)
    .into();
    for length in [
        16, 17, 24, 25, 32, 33, 48, 49, 63, 64, 128, 129, 253, 254, 256, 257, 260, 261, 317, 318,
        512, 513,
    ] {
        texts.push("a".repeat(length));
        texts.push("é".repeat(length.div_ceil(2)));
    }
    texts
}

/// Texts that match a pattern, the same in every run.
pub fn generated(pattern: &str) -> Vec<String> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let texts = proptest::string::string_regex(pattern).unwrap();
    (0..TEXTS_PER_FIELD)
        .map(|_| texts.new_tree(&mut runner).unwrap().current())
        .collect()
}
