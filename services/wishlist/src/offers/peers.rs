//! The setting that names the marketplaces.

use std::{collections::BTreeSet, str::FromStr};

use spoor_telemetry::grpc::{InvalidPeerUrl, PeerUrl};

/// The marketplaces to search: `attic=http://127.0.0.1:9004,bazaar=http://127.0.0.1:9005`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers(pub(super) Vec<Peer>);

/// A marketplace by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) url: PeerUrl,
}

/// The error for an invalid setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMarketplaces {
    /// Not `name=url`.
    #[error("must be marketplaces such as attic=http://a:9004,bazaar=http://b:9005, not {0:?}")]
    Member(String),
    /// A name that is too long, or has characters that metrics or pages would have to escape.
    #[error("a marketplace's name must have from 1 to 40 letters, digits or -, not {0:?}")]
    Name(String),
    /// Two marketplaces have the same name.
    #[error("duplicate marketplace {0:?}; list it once")]
    Duplicate(String),
    /// More than are searched concurrently.
    #[error("must be at most {max} marketplaces, not {0}", max = Peers::MAX)]
    TooMany(usize),
    /// The URL is invalid.
    #[error("{name}: {source}")]
    Url {
        /// The marketplace's name.
        name: String,
        /// The cause.
        source: InvalidPeerUrl,
    },
}

impl Peers {
    /// The most marketplaces, since all are searched concurrently.
    pub const MAX: usize = 10;
}

impl FromStr for Peers {
    type Err = InvalidMarketplaces;

    fn from_str(text: &str) -> Result<Self, InvalidMarketplaces> {
        let members = text.split(',').map(str::trim);
        let peers = members
            // A trailing comma is permitted.
            .filter(|member| !member.is_empty())
            .map(str::parse)
            .collect::<Result<Vec<Peer>, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(duplicate) = peers.iter().find(|peer| !names.insert(&peer.name)) {
            return Err(InvalidMarketplaces::Duplicate(duplicate.name.clone()));
        }
        match peers.len() {
            0 => Err(InvalidMarketplaces::Member(text.to_owned())),
            1..=Self::MAX => Ok(Self(peers)),
            more => Err(InvalidMarketplaces::TooMany(more)),
        }
    }
}

impl FromStr for Peer {
    type Err = InvalidMarketplaces;

    fn from_str(text: &str) -> Result<Self, InvalidMarketplaces> {
        let (name, url) = text
            .split_once('=')
            .ok_or_else(|| InvalidMarketplaces::Member(text.to_owned()))?;
        let name = name.trim().to_owned();
        let is_plain = |char: char| char.is_ascii_alphanumeric() || char == '-';
        if name.is_empty() || name.len() > 40 || !name.chars().all(is_plain) {
            return Err(InvalidMarketplaces::Name(name));
        }
        match url.trim().parse() {
            Ok(url) => Ok(Self { name, url }),
            Err(source) => Err(InvalidMarketplaces::Url { name, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn parses_names_and_urls() {
        let peers: Peers = "attic=http://a:1, bazaar = http://b:2,".parse().unwrap();
        let names: Vec<String> = peers.0.into_iter().map(|peer| peer.name).collect();
        assert_eq!(names, ["attic", "bazaar"]);
    }

    #[rstest::rstest]
    #[case("", "must be marketplaces such as attic=")]
    #[case("http://a:1", "must be marketplaces such as attic=")]
    #[case("=http://a:1", "a marketplace's name must have")]
    #[case("a b=http://a:1", "a marketplace's name must have")]
    #[case("a=ftp://a:1", "a: must be an http:// URL")]
    #[case("a=http://a:1,a=http://b:1", "duplicate marketplace")]
    fn errors_show_a_valid_form(#[case] text: &str, #[case] message: &str) {
        let error = text.parse::<Peers>().unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn marketplaces_are_bounded() {
        let text = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("m{n}=http://m:1")).collect();
            members.join(",").parse::<Peers>()
        };
        assert!(text(Peers::MAX).is_ok());
        assert_eq!(text(Peers::MAX + 1), Err(InvalidMarketplaces::TooMany(11)));
    }
}
