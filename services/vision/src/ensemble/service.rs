//! `spoor.vision.v1.Ensemble`.

use futures_util::future::join_all;
use spoor_proto::spoor::vision::v1::{
    Classification, DescribeReply, DescribeRequest, Failure, Opinion, VoteReply, VoteRequest,
    ensemble_server::Ensemble, failure::Reason,
};
use tonic::{Request, Response, Status};
use tracing::{field::Empty, info_span};

use super::{
    member::Member,
    vote::{self, Ballot, Decision},
    weights::{self, Weights},
};
use crate::model::BuiltIn;

/// The gRPC service.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) members: Vec<Member>,
    pub(super) weights: Option<Weights>,
}

#[tonic::async_trait]
impl Ensemble for Service {
    async fn describe(
        &self,
        _: Request<DescribeRequest>,
    ) -> Result<Response<DescribeReply>, Status> {
        let described = join_all(self.members.iter().map(Member::describe)).await;
        let (models, failures) = split(described);
        // One model is enough: it decides alone.
        if models.is_empty() {
            return Err(no_votes(&failures));
        }
        Ok(Response::new(DescribeReply { models, failures }))
    }

    async fn vote(&self, request: Request<VoteRequest>) -> Result<Response<VoteReply>, Status> {
        let request = request.into_inner();
        let classified = self.members.iter().map(|member| classify(member, &request));
        let (successes, failures) = split(join_all(classified).await);
        let reply = self.count_votes(successes, failures)?;
        Ok(Response::new(reply))
    }
}

impl Service {
    fn count_votes(
        &self,
        successes: Vec<(&Member, Classification)>,
        failures: Vec<Failure>,
    ) -> Result<VoteReply, Status> {
        let span = info_span!(
            "vote",
            vote.label = Empty,
            vote.score = Empty,
            vote.degraded = !failures.is_empty(),
        );
        // There is no await in this function, across which a span must not be entered.
        let _inside = span.enter();
        let ballots = self.ballots(successes);
        let decision = vote::decide(&ballots).ok_or_else(|| no_votes(&failures))?;
        if let Some(best) = decision.top.first() {
            span.record("vote.label", &best.label);
            span.record("vote.score", best.score);
        }
        for failure in &failures {
            let (model, why) = (&failure.model, &failure.message);
            tracing::warn!(model.name = model, reason = why, "decided without a model");
        }
        Ok(reply(&ballots, decision, failures))
    }

    fn ballots(&self, successes: Vec<(&Member, Classification)>) -> Vec<Ballot> {
        let accuracies: Vec<_> = successes
            .iter()
            .map(|(_, classification)| classification.accuracy)
            .collect();
        let weights = match self.weights {
            Some(set) => successes.iter().map(|(it, _)| set.of(it.model)).collect(),
            None => weights::by_accuracy(&accuracies),
        };
        let ballot =
            |((member, classification), weight): ((&Member, Classification), f64)| Ballot {
                model: member.model.name(),
                weight,
                scores: classification.scores,
            };
        successes.into_iter().zip(weights).map(ballot).collect()
    }
}

/// Queries one model with the tensor prepared for it.
async fn classify<'a>(
    member: &'a Member,
    request: &VoteRequest,
) -> Result<(&'a Member, Classification), Failure> {
    let tensor = match member.model {
        BuiltIn::Efficientnetb0 => &request.efficientnetb0,
        BuiltIn::Mobilenetv2 => &request.mobilenetv2,
    };
    let tensor = tensor.clone().ok_or_else(|| {
        let message = "unavailable when the inputs were queried";
        member.failure(Reason::Unavailable, message)
    })?;
    let classification = member.classify(tensor).await?;
    Ok((member, classification))
}

fn split<T>(results: Vec<Result<T, Failure>>) -> (Vec<T>, Vec<Failure>) {
    let (mut successes, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(success) => successes.push(success),
            Err(failure) => failures.push(failure),
        }
    }
    (successes, failures)
}

fn reply(ballots: &[Ballot], decision: Decision, failures: Vec<Failure>) -> VoteReply {
    let note = |model| format!("the models have different labels, so {model} decides alone");
    let opinion = |(ballot, weight): (&Ballot, f64)| Opinion {
        model: ballot.model.to_owned(),
        weight,
        top: vote::top(&ballot.scores),
    };
    VoteReply {
        top: decision.top,
        opinions: ballots.iter().zip(decision.weights).map(opinion).collect(),
        failures,
        notes: decision.alone.map(note).into_iter().collect(),
    }
}

/// The status if no model voted.
fn no_votes(failures: &[Failure]) -> Status {
    let text = |failure: &Failure| format!("{}: {}", failure.model, failure.message);
    let message = failures.iter().map(text).collect::<Vec<_>>().join("; ");
    let any = |reason| failures.iter().any(|failure| failure.reason() == reason);
    // First, since preprocessing then queries the inputs again and repeats the vote.
    if any(Reason::OtherInput) {
        Status::failed_precondition(message)
    } else if any(Reason::Busy) {
        Status::resource_exhausted(message)
    } else if any(Reason::Unavailable) {
        Status::unavailable(message)
    } else {
        Status::internal(message)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use spoor_proto::spoor::vision::v1::Tensor;
    use tonic::Code;

    use super::*;

    #[test]
    fn repeated_tensors_take_no_extra_memory() {
        let encoded = [0x0a_u8, 0, 0x12, 0].repeat(100_000);
        let expected = VoteRequest {
            efficientnetb0: Some(Tensor::default()),
            mobilenetv2: Some(Tensor::default()),
        };
        assert_eq!(VoteRequest::decode(encoded.as_slice()), Ok(expected));
    }

    #[rstest::rstest]
    #[case([Reason::Unavailable, Reason::Unavailable], Code::Unavailable)]
    #[case([Reason::Unavailable, Reason::Failed], Code::Unavailable)]
    #[case([Reason::Unavailable, Reason::Busy], Code::ResourceExhausted)]
    #[case([Reason::OtherInput, Reason::Busy], Code::FailedPrecondition)]
    #[case([Reason::Failed, Reason::Failed], Code::Internal)]
    fn without_votes_the_status_follows_the_reasons(
        #[case] reasons: [Reason; 2],
        #[case] code: Code,
    ) {
        let failures = reasons.map(|reason| Failure {
            model: "mobilenetv2".to_owned(),
            reason: reason.into(),
            message: "down".to_owned(),
        });
        let status = no_votes(&failures);
        assert_eq!(status.code(), code);
        assert!(
            status.message().starts_with("mobilenetv2: down; "),
            "{status}"
        );
    }
}
