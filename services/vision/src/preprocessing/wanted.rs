//! The inputs that the models expect, which are queried from time to time.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use opentelemetry::trace::FutureExt;
use spoor_proto::spoor::vision::v1::{DescribeReply, DescribeRequest};
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

use super::{ensemble::Ensemble, failure::Failure};
use crate::input::{Input, InvalidInput};

/// The time for which descriptions are valid. A model that was replaced refuses old inputs before.
const MAX_AGE: Duration = Duration::from_secs(60);
/// The time for which descriptions are valid while a model is unavailable, which is how long a model
/// that has recovered is left out.
const MAX_AGE_WHEN_INCOMPLETE: Duration = Duration::from_secs(1);
/// The time a request waits for new descriptions before it uses the old ones.
const REFRESH_TIMEOUT: Duration = Duration::from_millis(100);

/// An input with the models that expect it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) input: Input,
    pub(super) models: Vec<String>,
}

/// The known inputs.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The last successful result, which is used while a new query runs.
    last: Option<Arc<Vec<Wanted>>>,
    question: Option<Question>,
}

/// A query that all waiting requests share.
#[derive(Clone)]
struct Question(watch::Receiver<Option<Asked>>);

#[derive(Clone)]
struct Asked {
    wanted: Result<Arc<Vec<Wanted>>, Arc<Failure>>,
    until: Instant,
}

impl Known {
    /// The distinct inputs. Old ones are used while a new query runs.
    pub(super) async fn wanted(&self, ensemble: &Ensemble) -> Result<Arc<Vec<Wanted>>, Failure> {
        let (last, question) = self.0.lock().await.last_and_question(ensemble);
        let Some(last) = last else {
            return question.answer().await;
        };
        match timeout(REFRESH_TIMEOUT, question.answer()).await {
            Ok(Ok(wanted)) => Ok(wanted),
            Ok(Err(_)) | Err(_) => Ok(last),
        }
    }

    /// Discards outdated inputs after a model was replaced.
    pub(super) async fn forget(&self, outdated: &Arc<Vec<Wanted>>) {
        let mut state = self.0.lock().await;
        state.learn();
        let is_outdated = |last: &mut Arc<_>| Arc::ptr_eq(last, outdated);
        if state.last.take_if(is_outdated).is_some() {
            // The query may have started before the model was replaced.
            state.question = None;
        }
    }
}

impl State {
    fn last_and_question(&mut self, ensemble: &Ensemble) -> (Option<Arc<Vec<Wanted>>>, Question) {
        self.learn();
        let question = self.question.take().filter(Question::is_valid);
        let question = question.unwrap_or_else(|| Question::ask(ensemble.clone()));
        self.question = Some(question.clone());
        (self.last.clone(), question)
    }

    fn learn(&mut self) {
        let learned = self.question.as_ref().and_then(Question::learned);
        self.last = learned.or(self.last.take());
    }
}

impl Question {
    /// Starts a query, which is finished even if no request waits for it any more.
    fn ask(ensemble: Ensemble) -> Self {
        let (answer, question) = watch::channel(None);
        let ask = async move { answer.send_replace(Some(Asked::of(&ensemble).await)) };
        // The query belongs to the trace of the request that started it.
        tokio::spawn(ask.with_current_context());
        Self(question)
    }

    /// True while the query runs, and while its result is valid.
    fn is_valid(&self) -> bool {
        let is_asked = || self.0.has_changed().is_ok();
        let asked = self.0.borrow();
        asked
            .as_ref()
            .map_or_else(is_asked, |asked| Instant::now() < asked.until)
    }

    fn learned(&self) -> Option<Arc<Vec<Wanted>>> {
        let asked = self.0.borrow();
        asked.as_ref()?.wanted.as_ref().ok().cloned()
    }

    async fn answer(mut self) -> Result<Arc<Vec<Wanted>>, Failure> {
        let answered = self.0.wait_for(Option::is_some).await;
        let asked = answered.ok().and_then(|asked| asked.clone());
        let lost = || Failure::Failed("the query for their inputs was aborted".to_owned());
        asked.ok_or_else(lost)?.wanted.map_err(Failure::Shared)
    }
}

impl Asked {
    async fn of(ensemble: &Ensemble) -> Self {
        let asked = ask(ensemble).await;
        if let Err(failure) = &asked {
            let error = failure as &dyn Error;
            tracing::warn!(error, "cannot query the models' inputs");
        }
        let (wanted, age) = match asked {
            Ok((wanted, age)) => (Ok(Arc::new(wanted)), age),
            Err(failure) => (Err(Arc::new(failure)), MAX_AGE_WHEN_INCOMPLETE),
        };
        let until = Instant::now() + age;
        Self { wanted, until }
    }
}

/// Queries the inputs, and returns them with the time for which they are valid.
async fn ask(ensemble: &Ensemble) -> Result<(Vec<Wanted>, Duration), Failure> {
    let reply = ensemble.describe(DescribeRequest {}).await?;
    let age = if reply.failures.is_empty() {
        MAX_AGE
    } else {
        MAX_AGE_WHEN_INCOMPLETE
    };
    Ok((distinct(&reply)?, age))
}

fn distinct(reply: &DescribeReply) -> Result<Vec<Wanted>, InvalidInput> {
    let mut all: Vec<Wanted> = Vec::new();
    for description in &reply.models {
        let input = Input::try_from(description.input.as_ref())?;
        let model = description.model.clone();
        match all.iter_mut().find(|wanted| wanted.input == input) {
            Some(wanted) => wanted.models.push(model),
            None => all.push(Wanted {
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
        let wanted = distinct(&reply).unwrap();
        wanted.into_iter().map(|wanted| wanted.models).collect()
    }

    #[test]
    fn models_that_want_the_same_share_it() {
        assert_eq!(models([64, 64]), [["one", "other"]]);
        assert_eq!(models([64, 224]), [["one"], ["other"]]);
    }
}
