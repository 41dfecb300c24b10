//! Markdown as HTML. What is HTML in it is shown as the text that it is.

use maud::{Escaper, Markup, PreEscaped, html};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use std::fmt::Write;

/// The document as HTML; `link` says where a link of it leads, none: nowhere.
pub(super) fn html(markdown: &str, link: fn(&str) -> Option<String>) -> Markup {
    let mut document = Document {
        html: String::with_capacity(markdown.len() * 2),
        link,
        linked: Vec::new(),
        in_head: false,
    };
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        document.take(event);
    }
    PreEscaped(document.html)
}

struct Document {
    html: String,
    link: fn(&str) -> Option<String>,
    /// Of each link that is open, whether it leads anywhere.
    linked: Vec<bool>,
    /// In a table's head.
    in_head: bool,
}

impl Document {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Code(code) => self.put(&html! { code { (*code) } }),
            Event::SoftBreak => self.text("\n"),
            Event::HardBreak => self.tag("<br>"),
            Event::Rule => self.tag("<hr>"),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            // Extensions that are off.
            Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text),
            Event::FootnoteReference(_) | Event::TaskListMarker(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.tag("<p>"),
            Tag::Heading { level, .. } => self.tag(heading(level).0),
            Tag::BlockQuote(_) => self.tag("<blockquote>"),
            Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented) => {
                // Wider than the page it scrolls, with the keyboard too.
                self.tag("<pre tabindex=\"0\"><code>");
            }
            Tag::List(Some(_)) => self.tag("<ol>"),
            Tag::List(None) => self.tag("<ul>"),
            Tag::Item => self.tag("<li>"),
            Tag::Emphasis => self.tag("<em>"),
            Tag::Strong => self.tag("<strong>"),
            Tag::Table(_) => self.tag("<div class=\"table\" tabindex=\"0\"><table>"),
            Tag::TableHead => {
                self.in_head = true;
                self.tag("<thead><tr>");
            }
            Tag::TableRow => self.tag("<tr>"),
            Tag::TableCell => self.tag(if self.in_head { "<th>" } else { "<td>" }),
            Tag::Link { dest_url, .. } => self.open_link(&dest_url),
            // Nothing from elsewhere is loaded: an image is its description.
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => self.tag("</p>"),
            TagEnd::Heading(level) => self.tag(heading(level).1),
            TagEnd::BlockQuote(_) => self.tag("</blockquote>"),
            TagEnd::CodeBlock => self.tag("</code></pre>"),
            TagEnd::List(true) => self.tag("</ol>"),
            TagEnd::List(false) => self.tag("</ul>"),
            TagEnd::Item => self.tag("</li>"),
            TagEnd::Emphasis => self.tag("</em>"),
            TagEnd::Strong => self.tag("</strong>"),
            TagEnd::Table => self.tag("</tbody></table></div>"),
            TagEnd::TableHead => {
                self.in_head = false;
                self.tag("</tr></thead><tbody>");
            }
            TagEnd::TableRow => self.tag("</tr>"),
            TagEnd::TableCell => self.tag(if self.in_head { "</th>" } else { "</td>" }),
            TagEnd::Link => self.close_link(),
            _ => {}
        }
    }

    fn close_link(&mut self) {
        if self.linked.pop() == Some(true) {
            self.tag("</a>");
        }
    }

    fn open_link(&mut self, destination: &str) {
        let leads = (self.link)(destination);
        self.linked.push(leads.is_some());
        if let Some(leads) = leads {
            self.tag("<a href=\"");
            self.text(&leads);
            self.tag("\">");
        }
    }

    fn put(&mut self, markup: &Markup) {
        self.html.push_str(&markup.0);
    }

    fn tag(&mut self, tag: &'static str) {
        self.html.push_str(tag);
    }

    fn text(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = Escaper::new(&mut self.html).write_str(text);
    }
}

fn heading(level: HeadingLevel) -> (&'static str, &'static str) {
    match level {
        HeadingLevel::H1 => ("<h1>", "</h1>"),
        HeadingLevel::H2 => ("<h2>", "</h2>"),
        HeadingLevel::H3 => ("<h3>", "</h3>"),
        HeadingLevel::H4 => ("<h4>", "</h4>"),
        HeadingLevel::H5 => ("<h5>", "</h5>"),
        HeadingLevel::H6 => ("<h6>", "</h6>"),
    }
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
        "<h1>A</h1><p>b <code>&lt;c&gt;</code> <strong>d</strong>\ne</p>"
    )]
    #[case("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>")]
    #[case(
        "|a|b|\n|-|-|\n|c|d|",
        "<div class=\"table\" tabindex=\"0\"><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>c</td><td>d</td></tr></tbody></table></div>"
    )]
    #[case(
        "```text\n<a>\n```",
        "<pre tabindex=\"0\"><code>&lt;a&gt;\n</code></pre>"
    )]
    #[case("[a](there) [b](javascript:c)", "<p><a href=\"/a&amp;b\">a</a> b</p>")]
    #[case("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;")]
    #[case("![a](http://evil.example/a.png)", "<p>a</p>")]
    fn documents(#[case] markdown: &str, #[case] expected: &str) {
        assert_eq!(shown(markdown), expected);
    }

    proptest! {
        #[test]
        fn no_html_comes_through(text in "[<>/a-z \"'=&\\[\\]()!`*#|\\n-]{0,120}") {
            let shown = shown(&text);
            for tag in shown.split('<').skip(1) {
                let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
                prop_assert!(OURS.contains(&name.as_str()), "{tag:?} in {shown:?}");
            }
        }
    }

    const OURS: [&str; 25] = [
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
