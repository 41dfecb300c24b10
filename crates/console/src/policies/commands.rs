//! The commands that do the same as a page: `spoor` for a lab, `kubectl` for a cluster.

use spoor_policy::{Namespace, PolicyKey, Probability};

use crate::backend::{Source, SourceKind};

/// The address at which `spoor` expects a lab.
const DEFAULT_LAB: &str = "http://127.0.0.1:16600";
/// The resource with its group, since another group may have one of the same name.
const RESOURCE: &str = "samplingpolicies.spoor.dev";

/// The command that applies a manifest.
pub(super) fn apply(source: &Source, manifest: &str) -> String {
    let delimiter = delimiter(manifest);
    let (program, options) = match source.kind {
        SourceKind::Lab => ("spoor".to_owned(), lab_option(source)),
        SourceKind::Cluster => (kubectl(source), String::new()),
    };
    let end = if manifest.ends_with('\n') { "" } else { "\n" };
    format!("{program} apply{options} -f - <<'{delimiter}'\n{manifest}{end}{delimiter}")
}

/// The command that changes a policy's probability. A lab has no such command, so there the manifest
/// is applied.
pub(super) fn change_rate(
    source: &Source,
    key: &PolicyKey,
    rate: Probability,
    manifest: &str,
) -> String {
    match source.kind {
        SourceKind::Lab => apply(source, manifest),
        SourceKind::Cluster => {
            let patch = format!("{{\"spec\":{{\"head\":{{\"probability\":\"{rate}\"}}}}}}");
            format!(
                "{} patch {RESOURCE} {} -n {} --type merge -p {}",
                kubectl(source),
                quote(key.name.as_str()),
                quote(key.namespace.as_str()),
                quote(&patch)
            )
        }
    }
}

/// The command that deletes a policy.
pub(super) fn delete(source: &Source, key: &PolicyKey) -> String {
    let (name, namespace) = (quote(key.name.as_str()), quote(key.namespace.as_str()));
    match source.kind {
        SourceKind::Lab => {
            let namespace = match key.namespace == Namespace::default() {
                true => String::new(),
                false => format!(" -n {namespace}"),
            };
            format!("spoor delete {name}{namespace}{}", lab_option(source))
        }
        SourceKind::Cluster => {
            format!(
                "{} delete {RESOURCE} {name} -n {namespace}",
                kubectl(source)
            )
        }
    }
}

/// `kubectl` with the context, which need not be the current one.
fn kubectl(source: &Source) -> String {
    format!("kubectl --context {}", quote(&source.name))
}

fn lab_option(source: &Source) -> String {
    match source.name.trim_end_matches('/') == DEFAULT_LAB {
        true => String::new(),
        false => format!(" --lab {}", quote(&source.name)),
    }
}

/// A word for a POSIX shell.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        // A single quote cannot be part of a quoted text, so it is put between two of them.
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// The end of a here-document: a line that the text does not have.
fn delimiter(text: &str) -> String {
    let mut delimiter = "EOF".to_owned();
    while text.lines().any(|line| line == delimiter) {
        delimiter.push('_');
    }
    delimiter
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn source(kind: SourceKind, name: &str) -> Source {
        Source {
            kind,
            name: name.to_owned(),
            namespace: None,
        }
    }

    fn key(namespace: &str) -> PolicyKey {
        PolicyKey {
            namespace: namespace.parse().unwrap(),
            name: "a".parse().unwrap(),
        }
    }

    /// The words of a command, as a POSIX shell without expansions reads them.
    fn words(command: &str) -> Vec<String> {
        let (mut words, mut word) = (vec![], None::<String>);
        let mut chars = command.chars();
        while let Some(c) = chars.next() {
            match c {
                ' ' | '\t' | '\n' => words.extend(word.take()),
                '\'' => {
                    let quoted = chars.by_ref().take_while(|c| *c != '\'');
                    word.get_or_insert_default().extend(quoted);
                }
                '\\' => word.get_or_insert_default().extend(chars.next()),
                c => {
                    assert!(!"\"$`;&|<>()*?[]#~!{}".contains(c), "{c:?} in {command:?}");
                    word.get_or_insert_default().push(c);
                }
            }
        }
        words.extend(word);
        words
    }

    proptest! {
        #[test]
        fn quoted_word_is_one_word_again(word in any::<String>(), other in "['$` \\\\]{0,8}") {
            for word in [word, other] {
                let command = format!("spoor delete {} -n x", quote(&word));
                prop_assert_eq!(words(&command), ["spoor", "delete", word.as_str(), "-n", "x"]);
            }
        }

        #[test]
        fn manifest_does_not_end_its_document(lines in proptest::collection::vec("(EOF_{0,3}|a)", 0..8)) {
            let manifest = lines.join("\n");
            let end = delimiter(&manifest);
            prop_assert!(manifest.lines().all(|line| line != end));
        }
    }

    #[test]
    fn lab_is_named_unless_it_is_the_default() {
        let lab = source(SourceKind::Lab, DEFAULT_LAB);
        assert_eq!(delete(&lab, &key("default")), "spoor delete a");
        assert_eq!(apply(&lab, "a: 1\n"), "spoor apply -f - <<'EOF'\na: 1\nEOF");
        let other = source(SourceKind::Lab, "http://127.0.0.1:9");
        let expected = "spoor delete a -n shop --lab http://127.0.0.1:9";
        assert_eq!(delete(&other, &key("shop")), expected);
    }

    #[test]
    fn cluster_is_named_by_its_context() {
        let cluster = source(SourceKind::Cluster, "my context");
        let rate = "0.5%".parse().unwrap();
        let command = change_rate(&cluster, &key("shop"), rate, "");
        let patch = "{\"spec\":{\"head\":{\"probability\":\"0.5%\"}}}";
        let expected = [
            "kubectl",
            "--context",
            "my context",
            "patch",
            RESOURCE,
            "a",
            "-n",
            "shop",
            "--type",
            "merge",
            "-p",
            patch,
        ];
        assert_eq!(words(&command), expected);
    }
}
