//! What the models want to be given, asked now and then.

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

/// How long a description counts; a model that is replaced says so itself before.
const AGE: Duration = Duration::from_secs(60);
/// While a model is away: so long it stays left out after it came back.
const AGE_WHEN_INCOMPLETE: Duration = Duration::from_secs(1);
/// How long a request waits for news before it goes by what was known.
const PATIENCE: Duration = Duration::from_millis(100);

/// An input and the models that take it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) input: Input,
    pub(super) models: Vec<String>,
}

/// What is wanted, as it is known.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The last answer that was no failure: good enough while it is asked again.
    last: Option<Arc<Vec<Wanted>>>,
    question: Option<Question>,
}

/// Asked once, for all who wait.
#[derive(Clone)]
struct Question(watch::Receiver<Option<Asked>>);

#[derive(Clone)]
struct Asked {
    wanted: Result<Arc<Vec<Wanted>>, Arc<Failure>>,
    until: Instant,
}

impl Known {
    /// One entry for each distinct input. What was known is served while one task asks again.
    pub(super) async fn wanted(&self, ensemble: &Ensemble) -> Result<Arc<Vec<Wanted>>, Failure> {
        let (last, question) = self.0.lock().await.last_and_question(ensemble);
        let Some(last) = last else {
            return question.answer().await;
        };
        match timeout(PATIENCE, question.answer()).await {
            Ok(Ok(wanted)) => Ok(wanted),
            Ok(Err(_)) | Err(_) => Ok(last),
        }
    }

    /// A model wants something else by now.
    pub(super) async fn forget(&self, outdated: &Arc<Vec<Wanted>>) {
        let mut state = self.0.lock().await;
        state.learn();
        let is_outdated = |last: &mut Arc<_>| Arc::ptr_eq(last, outdated);
        if state.last.take_if(is_outdated).is_some() {
            // It may have been asked before the model was replaced.
            state.question = None;
        }
    }
}

impl State {
    fn last_and_question(&mut self, ensemble: &Ensemble) -> (Option<Arc<Vec<Wanted>>>, Question) {
        self.learn();
        let question = self.question.take().filter(Question::counts);
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
    /// It is asked to the end even when nobody waits any more.
    fn ask(ensemble: Ensemble) -> Self {
        let (answer, question) = watch::channel(None);
        let ask = async move { answer.send_replace(Some(Asked::of(&ensemble).await)) };
        // In the trace of the request that began it.
        tokio::spawn(ask.with_current_context());
        Self(question)
    }

    /// While it is asked, and for as long as its answer does.
    fn counts(&self) -> bool {
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
        let lost = || Failure::Failed("they were not asked to the end".to_owned());
        asked.ok_or_else(lost)?.wanted.map_err(Failure::Shared)
    }
}

impl Asked {
    async fn of(ensemble: &Ensemble) -> Self {
        let asked = ask(ensemble).await;
        if let Err(failure) = &asked {
            let error = failure as &dyn Error;
            tracing::warn!(error, "the models did not say what they want");
        }
        let (wanted, age) = match asked {
            Ok((wanted, age)) => (Ok(Arc::new(wanted)), age),
            Err(failure) => (Err(Arc::new(failure)), AGE_WHEN_INCOMPLETE),
        };
        let until = Instant::now() + age;
        Self { wanted, until }
    }
}

/// What is wanted, and how long that counts.
async fn ask(ensemble: &Ensemble) -> Result<(Vec<Wanted>, Duration), Failure> {
    let reply = ensemble.describe(DescribeRequest {}).await?;
    let age = if reply.failures.is_empty() {
        AGE
    } else {
        AGE_WHEN_INCOMPLETE
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
