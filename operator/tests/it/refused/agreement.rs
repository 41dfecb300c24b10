//! Agreement of the API server and validation, field by field.

mod fields;
mod texts;

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use spoor_api::schema;

use self::{
    fields::{Field, KEYS, POLICIES, STACKS},
    texts::{common_texts, generated},
};
use super::validators::Validators;

/// The number of concurrent requests.
const MAX_CONCURRENT_REQUESTS: usize = 8;

async fn assert_agreement(validators: &Validators, resources: Vec<Value>) {
    let results = stream::iter(&resources).map(|resource| async move {
        let server = validators.server(resource).await;
        (resource, server, validators.validation(resource))
    });
    let results: Vec<_> = results
        .buffer_unordered(MAX_CONCURRENT_REQUESTS)
        .collect()
        .await;
    let accepted = results
        .iter()
        .filter(|(_, server, _)| server.is_ok())
        .count();
    println!("{} resources, {accepted} accepted", results.len());
    assert!(
        accepted * 20 > results.len(),
        "too few were accepted: {accepted}"
    );
    let wrong: Vec<String> = results
        .iter()
        .filter(|(_, server, validation)| server.is_ok() != validation.is_ok())
        .map(|(resource, server, validation)| {
            format!(
                "{}\n  API server: {server:?}\n  validation: {validation:?}",
                resource["spec"]
            )
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} disagree:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn with_texts(validators: &Validators, fields: &[Field]) -> Vec<Value> {
    let mut resources = vec![];
    for field in fields {
        for text in common_texts().into_iter().chain(generated(field.likely)) {
            let mut spec: Value = serde_yaml::from_str(field.spec).unwrap();
            *spec.pointer_mut(field.at).unwrap() = text.into();
            resources.push(validators.resource("a", spec));
        }
    }
    resources
}

/// The paths of the texts in a schema, through the first entry of each list.
fn texts_in(schema: &Value, at: &str) -> Vec<String> {
    if schema["type"] == "string" {
        return vec![at.to_owned()];
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    let in_properties = properties.map(|(name, schema)| (name.as_str(), schema));
    in_properties
        .chain(schema.get("items").map(|items| ("0", items)))
        .flat_map(|(name, schema)| texts_in(schema, &format!("{at}/{name}")))
        .collect()
}

#[test]
fn every_text_of_policies_is_tried() {
    let spec = &schema::SAMPLING_POLICY["properties"]["spec"];
    let texts: BTreeSet<String> = texts_in(spec, "").into_iter().collect();
    let tried: BTreeSet<String> = POLICIES.iter().map(|field| field.at.to_owned()).collect();
    assert_eq!(tried, texts);
}

#[tokio::test(flavor = "multi_thread")]
async fn agrees_on_texts_of_policies() {
    let Some(validators) = Validators::of("SamplingPolicy", "agreement on policies").await else {
        return;
    };
    assert_agreement(&validators, with_texts(&validators, POLICIES)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agrees_on_texts_of_stacks() {
    let Some(validators) = Validators::of("TracingStack", "agreement on stacks").await else {
        return;
    };
    let mut resources = with_texts(&validators, STACKS);
    for (at, value, likely) in KEYS {
        let value: Value = serde_yaml::from_str(value).unwrap();
        let steps = at.split('/').skip(1).collect::<Vec<_>>();
        for key in common_texts().into_iter().chain(generated(likely)) {
            let value = match value.as_i64() {
                Some(number) => json!({ key: number }),
                None => json!({ key: value }),
            };
            let spec = steps
                .iter()
                .rev()
                .fold(value, |inner, step| json!({ *step: inner }));
            resources.push(validators.resource("a", spec));
        }
    }
    assert_agreement(&validators, resources).await;
}

/// All combinations of four members of `spec.jaeger`.
#[tokio::test(flavor = "multi_thread")]
async fn agrees_on_members_of_stacks() {
    let Some(validators) = Validators::of("TracingStack", "agreement on members").await else {
        return;
    };
    let storage = [
        json!(null),
        json!({}),
        json!({"memory": {}}),
        json!({"badger": {}}),
        json!({"cassandra": {"hosts": ["a"]}}),
        json!({"memory": {}, "cassandra": {"hosts": ["a"]}}),
        json!({"clickhouse": {"addresses": ["a:1"], "tls": {}}}),
    ];
    let existing = [json!(null), json!({"otlp": "a:1"})];
    let replicas = [json!(null), json!(1), json!(2)];
    let images = [json!(null), json!("a")];
    let mut resources = vec![];
    for storage in &storage {
        for existing in &existing {
            for replicas in &replicas {
                for image in &images {
                    let members = [
                        ("storage", storage),
                        ("existing", existing),
                        ("replicas", replicas),
                        ("image", image),
                    ];
                    let present = members.into_iter().filter(|(_, value)| !value.is_null());
                    let jaeger: serde_json::Map<_, _> = present
                        .map(|(name, value)| (name.to_owned(), value.clone()))
                        .collect();
                    resources.push(validators.resource("a", json!({"jaeger": jaeger})));
                }
            }
        }
    }
    assert_agreement(&validators, resources).await;
}
