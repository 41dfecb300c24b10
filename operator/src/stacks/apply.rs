//! Applies the objects that were built, and deletes those that are no longer needed.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::{
    Resource as _,
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, PersistentVolumeClaim, PodSpec, Secret},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::api::PropagationPolicy;
use spoor_api::{API_VERSION, TracingStack, stack::SamplerEngine};

use super::{
    children::{Detail, StackChild, label},
    objects::{
        FIELD_MANAGER,
        labels::{Component, NAME},
    },
    parse::StackObject,
    sampler::{self, add_token, may_be_missing},
    sources::RelatedObjects,
};
use crate::kubernetes::apply::{Applier, ApplyError, ApplyOutcome, Manifest};

/// The desired objects of a stack.
#[derive(Clone, Debug, Default)]
pub struct DesiredObjects {
    /// The objects to apply, in this order.
    pub apply: Vec<Manifest>,
    /// The components whose objects are left as they are.
    pub leave_components: Vec<&'static str>,
}

impl DesiredObjects {
    /// Returns true if the stack's sampler should exist, or be left as it is.
    #[must_use]
    pub fn has_sampler(&self) -> bool {
        let is_left = self.leave_components.contains(&Component::Sampler.as_str());
        let mut objects = self.apply.iter();
        is_left || objects.any(|manifest| manifest.resource.kind == StatefulSet::KIND)
    }
}

/// The result of applying objects.
#[derive(Debug, Default)]
pub struct ApplyReport {
    /// The objects that could not be applied or deleted.
    pub problems: Vec<StackProblem>,
    /// The objects that another field manager had changed and that are restored now, each with
    /// the name of that manager if it is known.
    pub repaired: Vec<String>,
    /// The Deployments and StatefulSets that have changed. The observed state of their pods
    /// predates the change.
    pub rolled: Vec<String>,
    /// True if an object of an earlier stack of this name is still being deleted.
    pub is_waiting: bool,
}

/// A problem of a stack, for its status.
#[derive(Debug)]
pub struct StackProblem {
    /// The reason, in one CamelCase word.
    pub reason: &'static str,
    /// The message, for people.
    pub message: String,
}

/// Applies the desired objects, and deletes the others that the stack owns.
pub async fn apply(
    applier: &Applier,
    stack: &StackObject,
    related: &RelatedObjects,
    desired: DesiredObjects,
) -> ApplyReport {
    let mut report = ApplyReport::default();
    let mut names: HashSet<(String, String)> = HashSet::new();
    for manifest in desired.apply {
        let mut children = related.children.iter();
        let (resource, name) = (&manifest.resource, manifest.name());
        let live = children.find(|child| child.resource == *resource && child.key.name == name);
        names.insert((resource.kind.clone(), name.to_owned()));
        let former =
            live.and_then(|child| Some((child, required_deletion(child, stack, &manifest)?)));
        if let Some((old, dependents)) = former {
            delete(applier, old, dependents, &mut report).await;
            report.is_waiting = true;
            continue;
        }
        if live.is_some_and(|child| is_from_template(child)) {
            continue;
        }
        let title = manifest.to_string();
        let has_pods = [Deployment::KIND, StatefulSet::KIND].contains(&resource.kind.as_str());
        let is_secret = resource.kind == Secret::KIND;
        let manifest = owned(manifest, stack);
        let present = live.map(|child| &child.live);
        let applied = match is_secret {
            true => create_secret(applier, manifest, related).await,
            false => applier.apply(&manifest, present).await,
        };
        match applied {
            Ok(outcome) => {
                if outcome == ApplyOutcome::Repaired {
                    let by = live.and_then(|child| child.changed_by.as_deref());
                    let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
                    report.repaired.push(format!("{title} was changed{by}"));
                }
                if has_pods && outcome != ApplyOutcome::Unchanged {
                    report.rolled.push(title);
                }
            }
            Err(error) => {
                report.add_error(&error);
                // Without a response, each further object would wait for its own deadline.
                if matches!(&error, ApplyError::Call { source, .. } if source.code().is_none()) {
                    return report;
                }
            }
        }
    }
    for child in obsolete_children(stack, related, &names, &desired.leave_components) {
        delete(applier, child, PropagationPolicy::Background, &mut report).await;
    }
    report
}

/// Creates a Secret with a new token, unless it exists. It is never changed afterwards.
async fn create_secret(
    applier: &Applier,
    mut secret: Manifest,
    related: &RelatedObjects,
) -> Result<ApplyOutcome, ApplyError> {
    if !may_be_missing(secret.name(), workloads(related), &related.pods) {
        return Ok(ApplyOutcome::Unchanged);
    }
    add_token(&mut secret);
    applier.create(&secret).await?;
    Ok(ApplyOutcome::Changed)
}

/// The objects that the stack owns and no longer needs.
fn obsolete_children<'a>(
    stack: &StackObject,
    related: &'a RelatedObjects,
    desired: &HashSet<(String, String)>,
    leave_components: &[&str],
) -> Vec<&'a Arc<StackChild>> {
    let in_use = config_maps_in_use(related);
    let children = related.children.iter();
    let obsolete = children.filter(|child| {
        // By uid: an owner of the same name may be an earlier stack.
        let owner = child.owner.as_ref();
        let is_mine = owner.is_some_and(|owner| owner.uid == stack.uid);
        let kind = &child.resource.kind;
        let is_desired = desired.contains(&(kind.clone(), child.key.name.clone()));
        let component = child.component.as_deref();
        let is_left = component.is_some_and(|component| leave_components.contains(&component));
        let must_stay = match kind.as_str() {
            ConfigMap::KIND => in_use.contains(child.key.name.as_str()),
            // The volume may hold traces. It is deleted with the stack.
            PersistentVolumeClaim::KIND => true,
            _ => false,
        };
        is_mine && !is_desired && !is_left && !must_stay
    });
    obsolete.collect()
}

/// The ConfigMaps that pods, Deployments and StatefulSets mount. A pod that restarts needs the one
/// of its own revision.
fn config_maps_in_use(related: &RelatedObjects) -> HashSet<&str> {
    let pods = related.pods.iter().filter_map(|pod| pod.spec.as_ref());
    let workloads = workloads(related);
    workloads.chain(pods).flat_map(config_maps).collect()
}

/// The templates of the pods of all Deployments and StatefulSets.
fn workloads(related: &RelatedObjects) -> impl Iterator<Item = &PodSpec> {
    let children = related.children.iter();
    children.filter_map(|child| match &child.detail {
        Detail::Deployment(deployment) => deployment.spec.as_ref()?.template.spec.as_ref(),
        Detail::StatefulSet(set) => set.spec.as_ref()?.template.spec.as_ref(),
        Detail::Service(_) | Detail::None => None,
    })
}

fn config_maps(pod: &PodSpec) -> impl Iterator<Item = &str> {
    let volumes = pod.volumes.iter().flatten();
    volumes.filter_map(|volume| Some(volume.config_map.as_ref()?.name.as_str()))
}

fn is_of_an_earlier_stack(child: &StackChild, stack: &StackObject) -> bool {
    let owner = child.owner.as_ref();
    owner.is_some_and(|owner| owner.name == stack.key.name && owner.uid != stack.uid)
}

/// The way to delete an object before the desired one of its name can exist. None if it can stay.
fn required_deletion(
    child: &StackChild,
    stack: &StackObject,
    desired: &Manifest,
) -> Option<PropagationPolicy> {
    if is_of_an_earlier_stack(child, stack) {
        // The garbage collector would delete it, too, but later.
        return Some(PropagationPolicy::Background);
    }
    match &child.detail {
        Detail::StatefulSet(set) => sampler::deletion(set, &desired.object.data),
        _ => None,
    }
}

/// Returns true for a sampler's claim that the StatefulSet itself has created, because the former
/// one was deleted while its pod was not running.
fn is_from_template(child: &StackChild) -> bool {
    let is_ours = child.live.appliers.iter().any(|it| it == FIELD_MANAGER);
    let is_samplers = child.component.as_deref() == Some(Component::Sampler.as_str());
    child.resource.kind == PersistentVolumeClaim::KIND && is_samplers && !is_ours
}

async fn delete(
    applier: &Applier,
    child: &StackChild,
    dependents: PropagationPolicy,
    report: &mut ApplyReport,
) {
    let (resource, uid) = (&child.resource, &child.live.uid);
    let deleted = applier.delete(resource, &child.key, uid, dependents);
    if let Err(error) = deleted.await {
        report.add_error(&error);
    }
}

/// Completes an object with the stack's namespace and an owner reference, so that it is deleted
/// with the stack.
///
/// The stack owns the sampler and the Collector around it, but does not control them. After a
/// rollback, an operator that predates samplers deletes every object that a stack controls and that
/// it does not build. It would delete these at once, with the spans that their pods hold.
pub(super) fn owned(mut manifest: Manifest, stack: &StackObject) -> Manifest {
    let metadata = &mut manifest.object.metadata;
    let parts = Component::of_engine(SamplerEngine::Spoor).map(Component::as_str);
    let component = label(metadata, NAME);
    let is_controlled = component.is_none_or(|name| !parts.contains(&name.as_str()));
    metadata.namespace = Some(stack.key.namespace.clone());
    metadata.owner_references = Some(vec![OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: TracingStack::KIND.to_owned(),
        name: stack.key.name.clone(),
        uid: stack.uid.clone(),
        controller: Some(is_controlled),
        block_owner_deletion: None,
    }]);
    manifest
}

impl ApplyReport {
    fn add_error(&mut self, error: &ApplyError) {
        let (reason, message) = match error {
            ApplyError::NameTaken { .. } => ("NameTaken", error.to_string()),
            ApplyError::Call { source, .. } => {
                // The API server's own message, if there is one.
                let cause = source.message().map_or(source.to_string(), str::to_owned);
                ("ApplyFailed", format!("{error}: {cause}"))
            }
        };
        self.problems.push(StackProblem { reason, message });
    }
}
