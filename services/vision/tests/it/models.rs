//! Requests to a model over gRPC.

use futures_util::future::join_all;
use spoor_proto::spoor::vision::v1::{self, DescribeRequest, Tensor, model_client::ModelClient};
use spoor_testing::infrastructure::channel;
use tonic::Code;

use crate::running::{Model, efficientnetb0, mobilenetv2};

type Client = ModelClient<tonic::transport::Channel>;

async fn client(model: &Model) -> Client {
    ModelClient::new(channel(model.address).await)
}

async fn grey(client: &mut Client) -> Tensor {
    let description = client
        .describe(DescribeRequest {})
        .await
        .unwrap()
        .into_inner();
    let input = description.input.unwrap();
    let bytes = 3 * 4 * input.height as usize * input.width as usize;
    Tensor {
        input: Some(input),
        values: vec![0; bytes].into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_describes_itself_before_loading() {
    for model in [efficientnetb0(&[]).await, mobilenetv2(&["--preload"]).await] {
        let mut client = client(&model).await;
        let description = client
            .describe(DescribeRequest {})
            .await
            .unwrap()
            .into_inner();
        assert!(description.labels.len() >= 10, "{description:?}");
        assert!(description.accuracy.is_some(), "{description:?}");
        let tensor = grey(&mut client).await;
        let reply = client.classify(tensor).await.unwrap().into_inner();
        let sum: f64 = reply.scores.iter().map(|score| score.score).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{reply:?}");
        assert!(
            reply
                .scores
                .is_sorted_by(|one, next| one.score >= next.score)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_that_do_not_fit_are_refused() {
    let model = mobilenetv2(&[]).await;
    let mut client = client(&model).await;
    let tensor = grey(&mut client).await;
    let input = tensor.input.clone().unwrap();
    let with = |change: &dyn Fn(&mut v1::Input)| {
        let mut input = input.clone();
        change(&mut input);
        Tensor {
            input: Some(input),
            values: tensor.values.clone(),
        }
    };
    let short = Tensor {
        values: tensor.values.slice(1..),
        ..tensor.clone()
    };
    let nonsense = f32::NAN.to_le_bytes().repeat(tensor.values.len() / 4);
    let nonsense = Tensor {
        values: nonsense.into(),
        ..tensor.clone()
    };
    for (tensor, code) in [
        (Tensor::default(), Code::InvalidArgument),
        (short, Code::InvalidArgument),
        (nonsense, Code::InvalidArgument),
        (with(&|input| input.height = 0), Code::InvalidArgument),
        (with(&|input| input.mean.clear()), Code::InvalidArgument),
        (
            with(&|input| input.std[1] = f32::NAN),
            Code::InvalidArgument,
        ),
        (with(&|input| input.width += 1), Code::FailedPrecondition),
        (
            with(&|input| input.mean[0] += 0.1),
            Code::FailedPrecondition,
        ),
    ] {
        let refused = client.classify(tensor).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let endless = Tensor {
        input: Some(input.clone()),
        values: vec![0; 1 << 20].into(),
    };
    let refused = client.classify(endless).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_queue_are_refused() {
    let model = efficientnetb0(&["--queue=0"]).await;
    let mut client = client(&model).await;
    let tensor = grey(&mut client).await;
    // The model is not loaded: the others arrive while the first ones load it.
    let requests = (0..64).map(|_| {
        let (mut client, tensor) = (client.clone(), tensor.clone());
        async move {
            client
                .classify(tensor)
                .await
                .err()
                .map(|status| status.code())
        }
    });
    let responses = join_all(requests).await;
    assert!(responses.contains(&None), "{responses:?}");
    assert!(
        responses.contains(&Some(Code::ResourceExhausted)),
        "{responses:?}"
    );
    let others =
        |response: &&Option<Code>| !matches!(response, None | Some(Code::ResourceExhausted));
    assert_eq!(responses.iter().find(others), None);
    client.classify(tensor).await.unwrap();
}
