//! The two validations of a resource: the API server's, by its definition, and `spoor_api`'s.

use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use spoor_api::{SamplingPolicy, TracingStack};

use super::Case;
use crate::apiserver;

/// The validators of a kind. Nothing is stored: every request to the API server is a dry run.
pub(super) struct Validators {
    kind: &'static str,
    client: Client,
}

impl Validators {
    /// Creates the validators of a kind. Returns none without the programs of an API server.
    pub(super) async fn of(kind: &'static str, test: &str) -> Option<Self> {
        let client = apiserver::shared(test).await?.admin();
        Some(Self { kind, client })
    }

    /// A resource of the kind.
    pub(super) fn resource(&self, name: &str, spec: Value) -> Value {
        json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": name},
            "spec": spec,
        })
    }

    /// Creates it as `kubectl apply` would: unknown fields are errors.
    pub(super) async fn server(&self, resource: &Value) -> Result<(), String> {
        let plural = match self.kind {
            SamplingPolicy::KIND => "samplingpolicies",
            _ => "tracingstacks",
        };
        let path = format!(
            "/apis/spoor.dev/v1alpha1/namespaces/default/{plural}?dryRun=All&fieldValidation=Strict"
        );
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(resource).unwrap())
            .unwrap();
        match self.client.request::<Value>(request).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(error) => panic!("the API server does not respond: {error}"),
        }
    }

    /// Reads and validates it with `spoor_api`, without the operator's further checks of stacks.
    pub(super) fn validation(&self, resource: &Value) -> Result<(), String> {
        let joined = |errors: Vec<spoor_api::FieldError>| {
            errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        };
        match self.kind {
            SamplingPolicy::KIND => {
                let policy = serde_json::from_value::<SamplingPolicy>(resource.clone());
                let policy = policy.map_err(|error| error.to_string())?;
                policy
                    .validate(Timestamp::UNIX_EPOCH)
                    .map(drop)
                    .map_err(joined)
            }
            _ => {
                let stack = serde_json::from_value::<TracingStack>(resource.clone());
                let stack = stack.map_err(|error| error.to_string())?;
                stack.validate().map(drop).map_err(joined)
            }
        }
    }

    /// Checks that both refuse each case, and that the API server's message has the expected texts.
    pub(super) async fn assert_refused(&self, cases: &[Case]) {
        let mut wrong = vec![];
        for case in cases {
            let spec: Value = serde_yaml::from_str(case.spec).unwrap();
            let resource = self.resource("refused", spec);
            match self.server(&resource).await {
                Ok(()) => wrong.push(format!("{}\n  was accepted", case.spec)),
                Err(message) => {
                    for text in case.expected.iter().filter(|text| !message.contains(*text)) {
                        wrong.push(format!("{}\n  {text}\n  is not in: {message}", case.spec));
                    }
                }
            }
            if self.validation(&resource).is_ok() {
                wrong.push(format!("{}\n  is accepted by validation", case.spec));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Checks that both accept each spec.
    pub(super) async fn assert_accepted(&self, specs: &[&str]) {
        let mut wrong = vec![];
        for text in specs {
            let resource = self.resource("accepted", serde_yaml::from_str(text).unwrap());
            wrong.extend(
                self.server(&resource)
                    .await
                    .err()
                    .map(|message| format!("{text}\n  {message}")),
            );
            wrong.extend(
                self.validation(&resource)
                    .err()
                    .map(|message| format!("{text}\n  {message}")),
            );
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
