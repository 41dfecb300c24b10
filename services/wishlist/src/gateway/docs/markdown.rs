//! Rendering of Markdown as HTML. HTML in the Markdown is shown as text.

use maud::{Markup, PreEscaped};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html::push_html};

/// Renders a document. `resolve` returns the target of a link, or `None` if it should be plain text.
pub(super) fn html(markdown: &str, resolve: fn(&str) -> Option<String>) -> Markup {
    let mut rendered = String::with_capacity(markdown.len() * 2);
    push_html(&mut rendered, events(markdown, resolve));
    PreEscaped(rendered)
}

/// The parser's events, after replacing those that could add HTML from the document.
fn events(markdown: &str, resolve: fn(&str) -> Option<String>) -> impl Iterator<Item = Event<'_>> {
    // Links do not nest, so one flag is enough for the next end tag.
    let mut is_in_link = false;
    let parser = Parser::new_ext(markdown, Options::ENABLE_TABLES);
    let replaced = parser.map(move |event| match event {
        Event::Html(html) | Event::InlineHtml(html) => [Some(Event::Text(html)), None],
        Event::Start(Tag::Link { dest_url, .. }) => {
            let target = resolve(&dest_url);
            is_in_link = target.is_some();
            [target.map(link), None]
        }
        Event::End(TagEnd::Link) if !std::mem::take(&mut is_in_link) => [None, None],
        // An image becomes its description, so that pages load nothing from other hosts.
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => [None, None],
        // Blocks that are wider than the page scroll, and can be focused to do so by keyboard.
        Event::Start(Tag::CodeBlock(_)) => [Some(raw("<pre tabindex=\"0\"><code>")), None],
        Event::End(TagEnd::CodeBlock) => [Some(raw("</code></pre>\n")), None],
        Event::Start(Tag::Table(_)) => {
            let scrollable = raw("<div class=\"table\" tabindex=\"0\">");
            // Alignments would become inline styles, which the page's security policy forbids.
            [Some(scrollable), Some(Event::Start(Tag::Table(Vec::new())))]
        }
        Event::End(TagEnd::Table) => [Some(event), Some(raw("</div>\n"))],
        other => [Some(other), None],
    });
    replaced.flatten().flatten()
}

fn link<'a>(target: String) -> Event<'a> {
    Event::Start(Tag::Link {
        link_type: pulldown_cmark::LinkType::Inline,
        dest_url: target.into(),
        title: CowStr::Borrowed(""),
        id: CowStr::Borrowed(""),
    })
}

/// HTML that is not part of the document.
fn raw(html: &'static str) -> Event<'static> {
    Event::Html(CowStr::Borrowed(html))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(markdown: &str) -> String {
        html(markdown, |link| {
            (link == "there").then(|| "/a&b".to_owned())
        })
        .0
    }

    #[rstest::rstest]
    #[case(
        "# A\n\nb `<c>` **d**\ne",
        "<h1>A</h1>\n<p>b <code>&lt;c&gt;</code> <strong>d</strong>\ne</p>\n"
    )]
    #[case("1. a\n2. b", "<ol>\n<li>a</li>\n<li>b</li>\n</ol>\n")]
    #[case(
        "|a|b|\n|-|-:|\n|c|d|",
        "<div class=\"table\" tabindex=\"0\"><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody>\n<tr><td>c</td><td>d</td></tr>\n</tbody></table>\n</div>\n"
    )]
    #[case(
        "```text\n<a>\n```",
        "<pre tabindex=\"0\"><code>&lt;a&gt;\n</code></pre>\n"
    )]
    #[case(
        "[a](there) [b](javascript:c)",
        "<p><a href=\"/a&amp;b\">a</a> b</p>\n"
    )]
    #[case("[a](there \"<b>\")", "<p><a href=\"/a&amp;b\">a</a></p>\n")]
    #[case("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;")]
    #[case("![a](http://evil.example/a.png)", "<p>a</p>\n")]
    fn markdown_becomes_html(#[case] markdown: &str, #[case] expected: &str) {
        assert_eq!(shown(markdown), expected);
    }

    proptest! {
        #[test]
        fn no_html_comes_through(text in "[<>/a-z \"'=&\\[\\]()!`*#|\\n-]{0,120}") {
            let shown = shown(&text);
            for tag in shown.split('<').skip(1) {
                let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
                prop_assert!(TAGS.contains(&name.as_str()), "{tag:?} in {shown:?}");
            }
        }
    }

    const TAGS: [&str; 25] = [
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "blockquote",
        "pre",
        "code",
        "ol",
        "ul",
        "li",
        "em",
        "strong",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "a",
        "br",
        "hr",
    ];
}
