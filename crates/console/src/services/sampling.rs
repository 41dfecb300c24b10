//! The sampling in force for a service, with links to the policies.

use maud::{Markup, html};
use spoor_api::{SamplingPolicy, status::EffectivePlace};

use super::MAX_NAME_CHARS;
use crate::{BackendError, layout::Site, text};

/// The most characters shown of an error.
const MAX_ERROR_CHARS: usize = 400;

/// The section of a service's page.
pub(super) fn section(
    site: &Site,
    policies: &Result<Vec<SamplingPolicy>, BackendError>,
    service: &str,
) -> Markup {
    html! {
        h2 #sampling { "Sampling in force" }
        @match policies {
            Ok(policies) => (places(site, &in_force(policies, service))),
            Err(error) => p .failure {
                "The policies cannot be read: " (text::cut(&error.to_string(), MAX_ERROR_CHARS))
            },
        }
    }
}

type Place<'a> = (&'a SamplingPolicy, &'a EffectivePlace);

/// The places that name the service, and those that name no service if no policy decides for the
/// rest of its operations.
fn in_force<'a>(policies: &'a [SamplingPolicy], service: &str) -> Vec<Place<'a>> {
    let of_policy = |policy: &'a SamplingPolicy| {
        let places = policy.status.iter().flat_map(|status| &status.effective);
        places.map(move |place| (policy, place))
    };
    let all = || policies.iter().flat_map(of_policy);
    let names_service = |place: &Place<'_>| place.1.service.as_deref() == Some(service);
    let mut found: Vec<Place<'a>> = all().filter(names_service).collect();
    if found.iter().all(|(_, place)| place.operation.is_some()) {
        found.extend(all().filter(|(_, place)| place.service.is_none()));
    }
    found
}

fn places(site: &Site, places: &[Place<'_>]) -> Markup {
    html! {
        @if places.is_empty() {
            p .soft { "No policy decides for it, so its own default applies." }
        } @else {
            div .scroll tabindex="0" role="region" aria-labelledby="sampling" {
                table .table {
                    thead {
                        tr {
                            th scope="col" { "Operation" }
                            th scope="col" { "Strategy" }
                            th scope="col" { "Policy" }
                        }
                    }
                    tbody { @for (policy, place) in places { (row(site, policy, place)) } }
                }
            }
        }
    }
}

fn row(site: &Site, policy: &SamplingPolicy, place: &EffectivePlace) -> Markup {
    let metadata = &policy.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    let name = format!("{namespace}/{}", metadata.name);
    html! {
        tr {
            th scope="row" {
                @if let Some(operation) = &place.operation {
                    (text::cut(operation, MAX_NAME_CHARS))
                } @else {
                    "All that no policy names"
                }
            }
            td { (text::cut(&place.strategy, MAX_NAME_CHARS)) }
            td { a href=(site.link(&format!("policies/{name}"))) { (text::cut(&name, MAX_NAME_CHARS)) } }
        }
    }
}
