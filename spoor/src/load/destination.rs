//! Where the services are that are sent to.

use std::collections::BTreeMap;

use http::Uri;

use super::{LoadError, Scenario};
use crate::{
    cli::{Client, ClientError},
    service::Service,
};

/// What `--url` names: the scenario's own service, or another by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    service: Option<Service>,
    url: Uri,
}

/// Reads `URL` or `SERVICE=URL`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn destination(text: &str) -> Result<Destination, String> {
    let (service, url) = match text.split_once('=') {
        Some((name, url)) if !name.contains(['/', ':']) => (Some(edge(name)?), url),
        _ => (None, text),
    };
    let url: Uri = url.parse().map_err(|_| {
        format!("must be like http://127.0.0.1:8080 or gateway=http://127.0.0.1:8081, not {text:?}")
    })?;
    Ok(Destination { service, url })
}

fn edge(name: &str) -> Result<Service, String> {
    let mut edges = Service::ALL.into_iter().filter(|it| it.is_edge());
    edges.clone().find(|it| it.name() == name).ok_or_else(|| {
        let known: Vec<&str> = edges.by_ref().map(Service::name).collect();
        format!(
            "no service {name:?} takes requests from outside: there are {}",
            known.join(", ")
        )
    })
}

/// Where each service is that the scenario sends to: as told, else as the running lab says, else
/// where they are unless told otherwise.
///
/// # Errors
/// [`LoadError`] when what was told doesn't fit, or a lab answers and none of them runs;
/// [`ClientError`] when what answers is no lab.
pub(super) async fn find(
    scenario: Scenario,
    told: &[Destination],
    lab: &Client,
) -> anyhow::Result<BTreeMap<Service, Uri>> {
    let edges = scenario.edges();
    let found = if told.is_empty() {
        match lab.status().await {
            Ok(status) => in_lab(&edges, &status.urls),
            Err(ClientError::NotRunning(_)) => well_known(&edges),
            Err(error) => return Err(error.into()),
        }
    } else {
        named(scenario, &edges, told)?
    };
    if found.is_empty() {
        let scenario = scenario.name();
        return Err(LoadError::Nowhere { scenario, edges }.into());
    }
    Ok(found)
}

fn named(
    scenario: Scenario,
    edges: &[Service],
    told: &[Destination],
) -> Result<BTreeMap<Service, Uri>, LoadError> {
    let mut found = BTreeMap::new();
    for Destination { service, url } in told {
        let service = match (service, edges) {
            (Some(service), _) => *service,
            (None, [only]) => *only,
            (None, _) => {
                return Err(LoadError::Options(format!(
                    "--url: {} sends to several services: say which is at {url}, such as --url gateway={url}",
                    scenario.name()
                )));
            }
        };
        if !edges.contains(&service) {
            return Err(LoadError::Options(format!(
                "--url: {} sends nothing to {service}",
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
                .contains("there are service-a, gateway")
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
