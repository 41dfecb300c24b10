//! Lessons' texts as HTML.

use std::sync::Arc;

use http::Uri;

use crate::{
    Console, ConsoleSettings,
    fake::FakeBackend,
    layout::Site,
    lessons::markdown::{Parts, parts},
};

fn shown(markdown: &str) -> Parts {
    let backend = Arc::new(FakeBackend::default());
    let console = Console::new(backend, ConsoleSettings::default());
    let uri = Uri::from_static("/lessons/2");
    parts(markdown, &Site::of(&console, &uri))
}

fn before(markdown: &str) -> String {
    shown(markdown).before.into_string()
}

#[rstest::rstest]
#[case("# 2. Title\n\ntext", "<p>text</p>\n")]
#[case(
    "## Its parts & `ids`",
    "<h2 id=\"its-parts--ids\">Its parts &amp; <code>ids</code></h2>\n"
)]
#[case("## Content", "<h2 id=\"content-1\">Content</h2>\n")]
#[case("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;")]
#[case("a <b onclick=x>c</b>", "<p>a &lt;b onclick=x&gt;c&lt;/b&gt;</p>\n")]
#[case("![a](http://evil.example/a.png)", "<p>a</p>\n")]
fn html_in_markdown_is_inert(#[case] markdown: &str, #[case] expected: &str) {
    assert_eq!(before(markdown), expected);
}

#[rstest::rstest]
#[case("[a](08-keep-errors.md)", "<a href=\"../lessons/8\">a</a>")]
#[case(
    "[a](./02-bottleneck.md#hints)",
    "<a href=\"../lessons/2#hints\">a</a>"
)]
#[case("[a](#hints)", "<a href=\"#hints\">a</a>")]
#[case(
    "[a](http://127.0.0.1:16686/policies/new)",
    "<a href=\"../policies/new\">a</a>"
)]
#[case("[a](http://127.0.0.1:16686//evil)", "<a href=\"../evil\">a</a>")]
#[case(
    "[a](http://127.0.0.1:8080/)",
    "<a href=\"http://127.0.0.1:8080/\">a</a>"
)]
#[case("[a](../tail-rules.md)", "a (<code>../tail-rules.md</code>)")]
#[case("[a](javascript:alert(1))", "a (<code>javascript:alert(1)</code>)")]
#[case("[a](//evil.example)", "a (<code>//evil.example</code>)")]
#[case("[a](<#\" onclick=x>)", "a (<code>#\" onclick=x</code>)")]
fn links_lead_to_pages_or_are_code(#[case] markdown: &str, #[case] expected: &str) {
    assert_eq!(before(markdown), format!("<p>{expected}</p>\n"));
}

#[test]
fn code_blocks_have_copy_buttons() {
    let shown = before("```sh\nspoor trace <ID> && true\n```\n\n```\nb\n```");
    assert!(shown.contains("<code id=\"code-1\">spoor trace &lt;ID&gt; &amp;&amp; true\n</code>"));
    assert!(shown.contains("data-copy=\"code-2\""), "{shown}");
}

#[test]
fn sections_have_their_places() {
    let text = "# 1. T\n\na\n\n## B\n\nb\n\n## Your turn\n\nc\n\n## On a cluster\n\nd\n\n\
                ## Hints\n\n- e\n- f\n  - g\n\n  h\n\n## What you have learned\n\ni\n";
    let Parts {
        before,
        task,
        hints,
        after,
    } = shown(text);
    assert!(
        before
            .into_string()
            .ends_with("<h2 id=\"b\">B</h2>\n<p>b</p>\n")
    );
    let task = task.into_string();
    assert_eq!(task, "<h2 id=\"your-turn\">Your turn</h2>\n<p>c</p>\n");
    let hints: Vec<String> = hints.into_iter().map(|hint| hint.into_string()).collect();
    assert_eq!(hints.len(), 2);
    assert!(hints[0].contains('e') && !hints[0].contains('f'));
    assert!(hints[1].contains("<ul>") && hints[1].contains('g') && hints[1].contains('h'));
    let after = after.into_string();
    assert!(after.contains("On a cluster") && after.ends_with("<p>i</p>\n"));
    assert!(!after.contains("Hints"));
}
