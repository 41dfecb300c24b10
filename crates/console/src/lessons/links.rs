//! The targets of links in a lesson's text.

use crate::layout::Site;

/// The address of the lab's console, unless its port is changed. Texts name pages by it, so that
/// they can be read anywhere.
const DEFAULT_CONSOLE: &str = "http://127.0.0.1:16686";

/// The target of a link on a page of the console, or `None` if no page of the console or of another
/// site has it.
pub(super) fn target(site: &Site, link: &str) -> Option<String> {
    if let Some(path) = link.strip_prefix(DEFAULT_CONSOLE)
        && (path.is_empty() || path.starts_with('/'))
    {
        // Two slashes would begin the name of another host.
        return Some(site.link(path.trim_start_matches('/')));
    }
    if link.starts_with("https://") || link.starts_with("http://") || is_anchor(link) {
        return Some(link.to_owned());
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let number = lesson_number(path)?;
    let anchor = match anchor {
        "" => String::new(),
        anchor => format!("#{anchor}"),
    };
    Some(site.link(&format!("lessons/{number}{anchor}")))
}

fn is_anchor(link: &str) -> bool {
    link.strip_prefix('#').is_some_and(|name| {
        let mut bytes = name.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// The number in the name of a lesson's file, such as `02-bottleneck.md`, in the same folder or in
/// `lessons/`.
fn lesson_number(path: &str) -> Option<usize> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let name = path.strip_prefix("lessons/").unwrap_or(path);
    let stem = name.strip_suffix(".md")?;
    let (number, rest) = stem.split_once('-')?;
    let is_name = number.len() == 2 && !rest.contains('/');
    number.parse().ok().filter(|_| is_name)
}
