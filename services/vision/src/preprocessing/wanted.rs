//! What the models want to be given, asked now and then.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use spoor_proto::spoor::vision::v1::{DescribeReply, DescribeRequest};
use tokio::sync::Mutex;

use super::{ensemble::Ensemble, failure::Failure};
use crate::input::{Input, InvalidInput};

/// How long a description counts; a model that is replaced says so itself before.
const AGE: Duration = Duration::from_secs(60);
/// While a model is away: so long it stays left out after it came back.
const AGE_WHEN_INCOMPLETE: Duration = Duration::from_secs(1);

/// An input and the models that take it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) input: Input,
    pub(super) models: Vec<String>,
}

/// What is wanted, as it is known.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<Mutex<Option<Asked>>>);

struct Asked {
    wanted: Arc<Vec<Wanted>>,
    until: Instant,
}

impl Known {
    /// One entry for each distinct input. While one request asks, the others wait for its answer.
    pub(super) async fn wanted(&self, ensemble: &Ensemble) -> Result<Arc<Vec<Wanted>>, Failure> {
        let mut known = self.0.lock().await;
        if let Some(asked) = known.as_ref().filter(|it| Instant::now() < it.until) {
            return Ok(Arc::clone(&asked.wanted));
        }
        let reply = ensemble.describe(DescribeRequest {}).await?;
        let age = if reply.failures.is_empty() {
            AGE
        } else {
            AGE_WHEN_INCOMPLETE
        };
        let wanted = Arc::new(distinct(&reply)?);
        *known = Some(Asked {
            wanted: Arc::clone(&wanted),
            until: Instant::now() + age,
        });
        Ok(wanted)
    }

    /// A model wants something else by now.
    pub(super) async fn forget(&self, outdated: &Arc<Vec<Wanted>>) {
        let mut known = self.0.lock().await;
        known.take_if(|asked| Arc::ptr_eq(&asked.wanted, outdated));
    }
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
