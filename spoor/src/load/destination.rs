//! The addresses that load is sent to.

use std::collections::BTreeMap;

use http::Uri;

use super::{LoadError, Scenario};
use crate::{
    cli::{Client, ClientError},
    service::Service,
};

/// A value of `--url`: the address of the scenario's only service, or of the named one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    service: Option<Service>,
    url: Uri,
}

/// Parses `URL` or `SERVICE=URL`.
///
/// # Errors
/// A message that describes a valid value.
pub fn destination(text: &str) -> Result<Destination, String> {
    let (service, url) = match text.split_once('=') {
        Some((name, url)) if !name.contains(['/', ':']) => (Some(edge(name)?), url),
        _ => (None, text),
    };
    let url: Uri = url.parse().map_err(|_| {
        format!(
            "must be a URL such as http://127.0.0.1:8080 or gateway=http://127.0.0.1:8081, not {text:?}"
        )
    })?;
    Ok(Destination { service, url })
}

fn edge(name: &str) -> Result<Service, String> {
    let mut edges = Service::ALL.into_iter().filter(|it| it.is_edge());
    edges.clone().find(|it| it.name() == name).ok_or_else(|| {
        let known: Vec<&str> = edges.by_ref().map(Service::name).collect();
        format!(
            "{name:?} is not a service that receives requests from outside; those are {}",
            known.join(", ")
        )
    })
}

/// Determines the address of each service that the scenario sends to: from `--url`, else from the
/// running lab, else the default port on this machine.
///
/// # Errors
/// [`LoadError`] if `--url` does not fit the scenario, or if the lab runs none of the services;
/// [`ClientError`] if another program responds at the lab's address.
pub(super) async fn find(
    scenario: Scenario,
    given: &[Destination],
    lab: &Client,
) -> anyhow::Result<BTreeMap<Service, Uri>> {
    let edges = scenario.edges();
    let found = if given.is_empty() {
        match lab.status().await {
            Ok(status) => in_lab(&edges, &status.urls),
            Err(ClientError::NotRunning(_)) => well_known(&edges),
            Err(error) => return Err(error.into()),
        }
    } else {
        named(scenario, &edges, given)?
    };
    if found.is_empty() {
        let scenario = scenario.name();
        return Err(LoadError::NoTarget { scenario, edges }.into());
    }
    Ok(found)
}

fn named(
    scenario: Scenario,
    edges: &[Service],
    given: &[Destination],
) -> Result<BTreeMap<Service, Uri>, LoadError> {
    let mut found = BTreeMap::new();
    for Destination { service, url } in given {
        let service = match (service, edges) {
            (Some(service), _) => *service,
            (None, [only]) => *only,
            (None, _) => {
                return Err(LoadError::Options(format!(
                    "--url: {} sends to several services; name the one at {url}, such as --url gateway={url}",
                    scenario.name()
                )));
            }
        };
        if !edges.contains(&service) {
            return Err(LoadError::Options(format!(
                "--url: the scenario {} sends nothing to {service}; leave it out",
                scenario.name()
            )));
        }
        found.insert(service, url.clone());
    }
    Ok(found)
}

fn in_lab(edges: &[Service], urls: &BTreeMap<String, String>) -> BTreeMap<Service, Uri> {
    let url = |service: &Service| Some((*service, urls.get(service.name())?.parse().ok()?));
    edges.iter().filter_map(url).collect()
}

fn well_known(edges: &[Service]) -> BTreeMap<Service, Uri> {
    let url = |service: &Service| {
        let url = format!("http://127.0.0.1:{}", service.port());
        Some((*service, url.parse().ok()?))
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
        assert_eq!(plain.service, None);
        let named = destination("gateway=http://127.0.0.1:1").unwrap();
        assert_eq!(named.service, Some(Service::Gateway));
        assert!(
            destination("service-b=http://127.0.0.1:1")
                .unwrap_err()
                .contains("those are service-a, gateway")
        );
    }

    #[test]
    fn several_services_need_names() {
        let told = [destination("http://127.0.0.1:1").unwrap()];
        let edges = Scenario::Mesh.edges();
        let error = named(Scenario::Mesh, &edges, &told).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("--url gateway=http://127.0.0.1:1"),
            "{error}"
        );
    }
}
