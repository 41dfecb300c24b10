//! The files in `k8s/samples`.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::validators::Validators;

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_is_accepted() {
    let (Some(policies), Some(stacks)) = (
        Validators::of("SamplingPolicy", "samples of policies").await,
        Validators::of("TracingStack", "samples of stacks").await,
    ) else {
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/samples");
    let files = ["policies", "policies/alternatives", "stacks"]
        .map(|part| fs::read_dir(folder.join(part)).unwrap())
        .into_iter()
        .flatten();
    let mut seen = 0;
    for file in files {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let resource = Value::deserialize(document).unwrap();
            let validators = match resource["kind"].as_str().unwrap() {
                "SamplingPolicy" => &policies,
                "TracingStack" => &stacks,
                other => panic!("{}: {other}", path.display()),
            };
            validators
                .server(&resource)
                .await
                .unwrap_or_else(|message| panic!("{}: {message}", path.display()));
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} samples");
}
