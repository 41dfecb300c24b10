//! The inputs that the models expect, which are queried from time to time.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::trace::FutureExt;
use spoor_proto::spoor::vision::v1::DescribeReply;
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

use super::{ensemble::Ensemble, error::RequestError};
use crate::input::{Input, InvalidInput};

/// The time for which descriptions are valid. If a model is replaced meanwhile, the new one refuses
/// inputs for the old one.
const MAX_AGE: Duration = Duration::from_secs(60);
/// The time for which descriptions are valid while a model is unavailable. A model that has recovered
/// is left out for at most this long.
const MAX_AGE_WHEN_INCOMPLETE: Duration = Duration::from_secs(1);
/// The time a request waits for new descriptions before it uses the old ones.
const REFRESH_TIMEOUT: Duration = Duration::from_millis(100);

/// An input with the models that expect it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RequiredInput {
    pub(super) input: Input,
    pub(super) models: Vec<String>,
}

/// A cache of the inputs. Clones share it.
#[derive(Clone, Default)]
pub(super) struct InputCache(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The last successful result, which is used while a new query runs.
    last: Option<Arc<Vec<RequiredInput>>>,
    query: Option<Query>,
}

/// A query that all waiting requests share.
#[derive(Clone)]
struct Query(watch::Receiver<Option<QueryResult>>);

#[derive(Clone)]
struct QueryResult {
    inputs: Result<Arc<Vec<RequiredInput>>, Arc<RequestError>>,
    valid_until: Instant,
}

impl InputCache {
    /// The distinct inputs. Old ones are used while a new query runs.
    pub(super) async fn get(
        &self,
        ensemble: &Ensemble,
    ) -> Result<Arc<Vec<RequiredInput>>, RequestError> {
        let (last, query) = self.0.lock().await.last_and_query(ensemble);
        let Some(last) = last else {
            return query.wait().await;
        };
        match timeout(REFRESH_TIMEOUT, query.wait()).await {
            Ok(Ok(inputs)) => Ok(inputs),
            // Old inputs are probably still right, and a model refuses a tensor if they are not.
            Ok(Err(_)) | Err(_) => Ok(last),
        }
    }

    /// Discards outdated inputs after a model was replaced.
    pub(super) async fn forget(&self, outdated: &Arc<Vec<RequiredInput>>) {
        let mut state = self.0.lock().await;
        state.update();
        let is_outdated = |last: &mut Arc<_>| Arc::ptr_eq(last, outdated);
        if state.last.take_if(is_outdated).is_some() {
            // The query may have started before the model was replaced.
            state.query = None;
        }
    }
}

impl State {
    fn last_and_query(&mut self, ensemble: &Ensemble) -> (Option<Arc<Vec<RequiredInput>>>, Query) {
        self.update();
        let query = self.query.take().filter(Query::is_valid);
        let query = query.unwrap_or_else(|| Query::run(ensemble.clone()));
        self.query = Some(query.clone());
        (self.last.clone(), query)
    }

    fn update(&mut self) {
        let result = self.query.as_ref().and_then(Query::ready);
        self.last = result.or(self.last.take());
    }
}

impl Query {
    /// Starts a query, which is finished even if no request waits for it any more.
    fn run(ensemble: Ensemble) -> Self {
        let (sender, receiver) = watch::channel(None);
        let run = async move { sender.send_replace(Some(QueryResult::of(&ensemble).await)) };
        // The query belongs to the trace of the request that started it.
        tokio::spawn(run.with_current_context());
        Self(receiver)
    }

    /// True while the query runs, and while its result is valid.
    fn is_valid(&self) -> bool {
        // `has_changed` fails if the task is gone without a result, which means that it panicked.
        let is_running = || self.0.has_changed().is_ok();
        let result = self.0.borrow();
        result
            .as_ref()
            .map_or_else(is_running, |result| Instant::now() < result.valid_until)
    }

    /// The inputs, if the query has succeeded.
    fn ready(&self) -> Option<Arc<Vec<RequiredInput>>> {
        let result = self.0.borrow();
        result.as_ref()?.inputs.as_ref().ok().cloned()
    }

    async fn wait(mut self) -> Result<Arc<Vec<RequiredInput>>, RequestError> {
        let received = self.0.wait_for(Option::is_some).await;
        let result = received.ok().and_then(|result| result.clone());
        let lost = || RequestError::Failed("the query for their inputs was aborted".to_owned());
        result
            .ok_or_else(lost)?
            .inputs
            .map_err(RequestError::Shared)
    }
}

impl QueryResult {
    async fn of(ensemble: &Ensemble) -> Self {
        let (inputs, age) = match query(ensemble).await {
            Ok((inputs, true)) => (Ok(Arc::new(inputs)), MAX_AGE),
            Ok((inputs, false)) => (Ok(Arc::new(inputs)), MAX_AGE_WHEN_INCOMPLETE),
            Err(failure) => {
                let error = &failure as &dyn Error;
                tracing::warn!(error, "cannot query the models' inputs");
                (Err(Arc::new(failure)), MAX_AGE_WHEN_INCOMPLETE)
            }
        };
        Self {
            inputs,
            valid_until: Instant::now() + age,
        }
    }
}

/// Queries the inputs. The second value is false if a model is unavailable.
async fn query(ensemble: &Ensemble) -> Result<(Vec<RequiredInput>, bool), RequestError> {
    let reply = ensemble.describe().await?;
    Ok((distinct(&reply)?, reply.failures.is_empty()))
}

fn distinct(reply: &DescribeReply) -> Result<Vec<RequiredInput>, InvalidInput> {
    let mut all: Vec<RequiredInput> = Vec::new();
    for description in &reply.models {
        let input = Input::try_from(description.input.as_ref())?;
        let model = description.model.clone();
        match all.iter_mut().find(|required| required.input == input) {
            Some(required) => required.models.push(model),
            None => all.push(RequiredInput {
                input,
                models: vec![model],
            }),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_proto::spoor::vision::v1::Description;

    use super::*;
    use crate::{Channels, Size};

    fn description(model: &str, side: u32) -> Description {
        let size = Size::new(side, side).unwrap();
        let input = Input::new(size, Channels::IMAGENET_MEAN, Channels::IMAGENET_STD).unwrap();
        Description {
            model: model.to_owned(),
            input: Some(input.into()),
            ..Description::default()
        }
    }

    fn models(sides: [u32; 2]) -> Vec<Vec<String>> {
        let models = ["one", "other"].iter().zip(sides);
        let reply = DescribeReply {
            models: models.map(|(it, side)| description(it, side)).collect(),
            failures: vec![],
        };
        let inputs = distinct(&reply).unwrap();
        inputs.into_iter().map(|required| required.models).collect()
    }

    #[test]
    fn models_with_the_same_input_are_grouped() {
        assert_eq!(models([64, 64]), [["one", "other"]]);
        assert_eq!(models([64, 224]), [["one"], ["other"]]);
    }
}
