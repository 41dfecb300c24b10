//! The addresses that load is sent to.

use std::collections::BTreeMap;

use anyhow::bail;
use spoor_lab::Service;
use spoor_load::{BaseUrl, Edge, Scenario};

use crate::cli::{ClientError, InvalidOption, LabArgs};

/// A value of `--url`: the address of the scenario's only service, or of the named one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    edge: Option<Edge>,
    url: BaseUrl,
}

/// Parses `URL` or `SERVICE=URL`.
///
/// # Errors
/// A message that describes a valid value.
pub fn destination(text: &str) -> Result<Destination, String> {
    let (edge, url) = match text.split_once('=') {
        // A URL's query may contain `=` too, after characters that no service's name has.
        Some((name, url)) if !name.contains(['/', ':']) => (Some(named(name)?), url),
        _ => (None, text),
    };
    let url = url.parse().map_err(|_| {
        format!(
            "must be an http:// URL such as http://127.0.0.1:8080 or gateway=http://127.0.0.1:8081, not {text:?}"
        )
    })?;
    Ok(Destination { edge, url })
}

fn named(name: &str) -> Result<Edge, String> {
    let known = Edge::ALL.into_iter().find(|edge| edge.to_string() == name);
    known.ok_or_else(|| {
        format!(
            "{name:?} is not a service that receives requests from outside; those are {}",
            Edge::ALL.map(|edge| edge.to_string()).join(", ")
        )
    })
}

/// Determines the address of each service that the scenario sends to: from `--url`, else from the
/// running lab, else the default port on this machine.
///
/// # Errors
/// [`InvalidOption`] if `--url` does not fit the scenario, or [`ClientError`] if the lab given with
/// `--lab` is not running, or another program responds at the lab's address. It is also an error if
/// the lab runs none of the services.
pub(super) async fn find(
    scenario: Scenario,
    given: &[Destination],
    lab: &LabArgs,
) -> anyhow::Result<BTreeMap<Edge, BaseUrl>> {
    let edges = scenario.edges();
    let found = if given.is_empty() {
        match lab.client().status().await {
            Ok(status) => in_lab(edges, &status.urls),
            // Services may run without a lab, by `spoor run` or in containers.
            Err(ClientError::NotRunning(_)) if !lab.is_custom() => well_known(edges),
            Err(error) => return Err(error.into()),
        }
    } else {
        given_for(scenario, given)?
    };
    if found.is_empty() {
        let names: Vec<String> = edges.iter().map(Edge::to_string).collect();
        bail!(
            "the lab does not run the services that the scenario {scenario} needs ({}); start them, \
             or give their addresses with --url",
            names.join(", ")
        );
    }
    Ok(found)
}

fn given_for(
    scenario: Scenario,
    given: &[Destination],
) -> Result<BTreeMap<Edge, BaseUrl>, InvalidOption> {
    let edges = scenario.edges();
    let mut found = BTreeMap::new();
    for Destination { edge, url } in given {
        let edge = match (edge, edges) {
            (Some(edge), _) => *edge,
            (None, [only]) => *only,
            (None, _) => {
                return Err(InvalidOption(format!(
                    "--url: {scenario} sends to several services; name the one at {url}, such as --url gateway={url}"
                )));
            }
        };
        if !edges.contains(&edge) {
            return Err(InvalidOption(format!(
                "--url: the scenario {scenario} sends nothing to {edge}; leave it out"
            )));
        }
        found.insert(edge, url.clone());
    }
    Ok(found)
}

fn in_lab(edges: &[Edge], urls: &BTreeMap<String, String>) -> BTreeMap<Edge, BaseUrl> {
    let url = |edge: &Edge| Some((*edge, urls.get(&edge.to_string())?.parse().ok()?));
    edges.iter().filter_map(url).collect()
}

fn well_known(edges: &[Edge]) -> BTreeMap<Edge, BaseUrl> {
    let url = |edge: &Edge| {
        // By name, since the load generator and the lab do not depend on each other.
        let name = edge.to_string();
        let service = Service::ALL.into_iter().find(|it| it.name() == name)?;
        let url = format!("http://127.0.0.1:{}", service.port());
        Some((*edge, url.parse().ok()?))
    };
    edges.iter().filter_map(url).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_url_may_name_its_service() {
        let plain = destination("http://127.0.0.1:1/?a=b").unwrap();
        assert_eq!(plain.edge, None);
        let named = destination("gateway=http://127.0.0.1:1").unwrap();
        assert_eq!(named.edge, Some(Edge::Gateway));
        assert!(
            destination("service-b=http://127.0.0.1:1")
                .unwrap_err()
                .contains("those are service-a, gateway")
        );
    }

    #[test]
    fn several_services_need_names() {
        let given = [destination("http://127.0.0.1:1").unwrap()];
        let error = given_for(Scenario::Mesh, &given).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("--url gateway=http://127.0.0.1:1"),
            "{error}"
        );
    }

    #[test]
    fn every_edge_is_a_service_of_the_lab() {
        let of_lab = Service::ALL.into_iter().filter(|it| it.is_edge());
        let of_lab: Vec<&str> = of_lab.map(Service::name).collect();
        assert_eq!(Edge::ALL.map(|edge| edge.to_string()).to_vec(), of_lab);
        assert_eq!(well_known(&Edge::ALL).len(), of_lab.len());
    }
}
