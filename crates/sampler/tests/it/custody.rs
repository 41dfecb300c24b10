//! The files of samplers that are deleted with their folders.

mod undo;

use std::{fs, time::Duration};

use bytes::Bytes;
use rstest::rstest;
use spoor_proto::spoor::sampler::v1::{
    Custody, CustodyMessage, DepositResponse, DiscardRequest, Envelope, ExchangeRequest, Piece,
    WithdrawRequest, custody_message::Message,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming};

use crate::{
    peers::{STACK, Stack, TRACES, rings, wait_for_sum, wait_until_ready},
    receiver::Receiver,
    running::{Running, until},
    spans::{policy, spans_of_trace, trace},
};

const GATHERING: &str = "spoor_sampler_traces_gathering";
const UNDELIVERED: &str = "spoor_sampler_undelivered";
const JOURNAL: [u8; 16] = [7; 16];

/// Starts three samplers that keep traces with errors.
async fn start_all(stack: &Stack) -> [Running; 3] {
    stack.save_rules("0%");
    stack.save_rings(0, &rings(5, &[3]));
    let samplers = [0, 1, 2].map(|ordinal| stack.start(ordinal, None));
    for sampler in &samplers {
        wait_until_ready(sampler).await;
    }
    samplers
}

/// Starts a sampler with an empty folder.
fn start_again(stack: &mut Stack, ordinal: usize) -> Running {
    stack.replace_folder(ordinal);
    stack.start(ordinal, None)
}

/// The root span of each trace, or its other span, which has an error.
async fn send_all(sampler: &Running, is_root: bool) {
    for number in 1..=TRACES {
        let [root, child] = spans_of_trace(number, true);
        sampler.send(if is_root { &root } else { &child }).await;
    }
}

/// Checks that each trace was decided once, on both of its spans.
async fn assert_all_kept(receiver: &Receiver) {
    for number in 1..=TRACES {
        until("both spans", async || receiver.trace(number).len() >= 2).await;
        let spans = receiver.trace(number);
        let policies: Vec<_> = spans.iter().filter_map(policy).collect();
        assert_eq!(policies, ["errors/failed"]);
    }
    assert_eq!(receiver.spans().len(), 2 * TRACES as usize);
}

#[tokio::test]
async fn deleted_sampler_gets_its_traces_back() {
    let (receiver, output) = Receiver::start().await;
    let mut stack = Stack::without_claims(output);
    let samplers = start_all(&stack).await;
    // Without their root spans, the traces wait.
    send_all(&samplers[1], false).await;
    wait_for_sum(&samplers, GATHERING, TRACES as f64).await;
    let [first, second, third] = samplers;
    second.stop().await;
    send_all(&first, true).await;
    let second = start_again(&mut stack, 1);
    assert_all_kept(&receiver).await;
    let samplers = [first, second, third];
    // No custody is left, either.
    wait_for_sum(&samplers, UNDELIVERED, 0.0).await;
    for sampler in samplers {
        sampler.stop().await;
    }
}

#[tokio::test]
async fn late_spans_follow_decisions_that_come_back() {
    let (receiver, output) = Receiver::start().await;
    let mut stack = Stack::without_claims(output);
    let samplers = start_all(&stack).await;
    for number in 1..=TRACES {
        samplers[0].send(&trace(number, false)).await;
    }
    wait_for_sum(&samplers, UNDELIVERED, 0.0).await;
    let [first, second, third] = samplers;
    second.stop().await;
    let second = start_again(&mut stack, 1);
    wait_until_ready(&second).await;
    // Without the decisions, these would wait for a minute, and would then be kept.
    send_all(&first, false).await;
    let samplers = [first, second, third];
    wait_for_sum(&samplers, UNDELIVERED, 0.0).await;
    assert!(receiver.spans().is_empty());
    for sampler in samplers {
        sampler.stop().await;
    }
}

#[tokio::test]
async fn leaving_sampler_passes_on_what_it_keeps() {
    let (receiver, output) = Receiver::start().await;
    let mut stack = Stack::without_claims(output);
    let samplers = start_all(&stack).await;
    send_all(&samplers[0], false).await;
    wait_for_sum(&samplers, GATHERING, TRACES as f64).await;
    let [first, second, third] = samplers;
    second.stop().await;
    third.stop().await;
    let second = start_again(&mut stack, 1);
    let third = start_again(&mut stack, 2);
    wait_until_ready(&second).await;
    wait_until_ready(&third).await;
    send_all(&first, true).await;
    assert_all_kept(&receiver).await;
    for sampler in [first, second, third] {
        sampler.stop().await;
    }
}

#[tokio::test]
async fn samplers_that_leave_together_decide() {
    let (receiver, output) = Receiver::start().await;
    let stack = Stack::without_claims(output);
    let samplers = start_all(&stack).await;
    send_all(&samplers[0], false).await;
    wait_for_sum(&samplers, GATHERING, TRACES as f64).await;
    let [first, second, third] = samplers;
    tokio::join!(first.stop(), second.stop(), third.stop());
    for number in 1..=TRACES {
        assert_eq!(receiver.trace(number).len(), 1, "{number}");
    }
}

/// Starts sampler 0 of three, without the others.
async fn start_first(stack: &Stack) -> Running {
    stack.save_rings(0, &rings(5, &[3]));
    // Not an empty folder, for which it would ask the others.
    fs::write(stack.folder(0).join("id"), [1; 16]).unwrap();
    let sampler = stack.start(0, None);
    wait_until_ready(&sampler).await;
    sampler
}

fn envelope(from: u32) -> Option<Envelope> {
    Some(Envelope {
        stack: STACK.to_owned(),
        from,
        to: 0,
    })
}

/// The header of the files of sampler 1, deposited by sampler 2.
fn custody(bytes: u64) -> CustodyMessage {
    let custody = Custody {
        envelope: envelope(2),
        owner: 1,
        journal: Bytes::copy_from_slice(&JOURNAL),
        last_record: 5,
        bytes,
    };
    CustodyMessage {
        message: Some(Message::Custody(custody)),
    }
}

fn piece(file: &str, content: &[u8]) -> CustodyMessage {
    let piece = Piece {
        file: file.to_owned(),
        content: Bytes::copy_from_slice(content),
    };
    CustodyMessage {
        message: Some(Message::Piece(piece)),
    }
}

async fn deposit(stack: &Stack, messages: Vec<CustodyMessage>) -> Result<(), Code> {
    let mut client = stack.client(0).await;
    let request = Request::new(tokio_stream::iter(messages));
    let responses = client.deposit(request).await;
    let mut responses = responses.map_err(|status| status.code())?.into_inner();
    match responses.message().await {
        Ok(response) => response.map(|_| ()).ok_or(Code::Ok),
        Err(status) => Err(status.code()),
    }
}

/// Requests a sampler's files from sampler 0; returns the first message, and the number of pieces.
async fn withdraw(stack: &Stack, from: u32) -> (Message, usize) {
    let request = Request::new(WithdrawRequest {
        envelope: envelope(from),
    });
    let mut client = stack.client(0).await;
    let mut messages = client.withdraw(request).await.unwrap().into_inner();
    let first = messages.message().await.unwrap().unwrap().message.unwrap();
    let mut pieces = 0;
    while messages.message().await.unwrap().is_some() {
        pieces += 1;
    }
    (first, pieces)
}

async fn discard(stack: &Stack, from: u32, last_record: u64) {
    let request = Request::new(DiscardRequest {
        envelope: envelope(from),
        journal: Bytes::copy_from_slice(&JOURNAL),
        last_record,
    });
    stack.client(0).await.discard(request).await.unwrap();
}

/// The number of custodies in the folder of sampler 0, including those that are arriving.
fn kept(stack: &Stack) -> usize {
    let kept = fs::read_dir(stack.folder(0).join("custody"));
    kept.map_or(0, Iterator::count)
}

#[tokio::test]
async fn files_are_kept_until_their_owner_has_them() {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::without_claims(output);
    let sampler = start_first(&stack).await;
    let messages = vec![
        custody(26),
        piece("id", &JOURNAL),
        piece("segment-0000000000000001", b"01234"),
        piece("segment-0000000000000001", b"56789"),
    ];
    // As if the response to the first one was lost.
    for _ in 0..2 {
        assert_eq!(deposit(&stack, messages.clone()).await, Ok(()));
    }
    assert_eq!(kept(&stack), 1);
    assert_eq!(sampler.metric(UNDELIVERED).await, Some(26.0));
    let (first, pieces) = withdraw(&stack, 1).await;
    match first {
        Message::Custody(custody) => {
            assert_eq!((custody.last_record, custody.bytes), (5, 26));
            assert_eq!(custody.journal[..], JOURNAL);
        }
        other => panic!("expected a custody, not {other:?}"),
    }
    assert_eq!(pieces, 2);
    let (other, _) = withdraw(&stack, 2).await;
    assert!(matches!(other, Message::Absence(_)), "{other:?}");

    discard(&stack, 2, 5).await;
    discard(&stack, 1, 4).await;
    assert_eq!(kept(&stack), 1);
    discard(&stack, 1, 5).await;
    assert_eq!(kept(&stack), 0);
    let (first, _) = withdraw(&stack, 1).await;
    assert!(matches!(first, Message::Absence(_)), "{first:?}");
    sampler.stop().await;
}

#[rstest]
#[case::incomplete(17, "id", &JOURNAL, Code::Aborted)]
#[case::too_long(15, "id", &JOURNAL, Code::InvalidArgument)]
#[case::id_of_another_journal(16, "id", &[8; 16], Code::InvalidArgument)]
#[case::without_room(1 << 40, "id", &JOURNAL, Code::ResourceExhausted)]
#[case::no_file_of_a_journal(16, "lock", &JOURNAL, Code::InvalidArgument)]
#[case::rings(16, "rings.binpb", &JOURNAL, Code::InvalidArgument)]
#[case::short_number(16, "segment-1", &JOURNAL, Code::InvalidArgument)]
#[case::no_number(16, "segment-000000000000000a", &JOURNAL, Code::InvalidArgument)]
#[case::another_folder(16, "../id", &JOURNAL, Code::InvalidArgument)]
#[case::no_name(16, "", &JOURNAL, Code::InvalidArgument)]
#[tokio::test]
async fn refused_deposit_leaves_nothing(
    #[case] bytes: u64,
    #[case] file: &str,
    #[case] content: &[u8],
    #[case] code: Code,
) {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::without_claims(output);
    let sampler = start_first(&stack).await;
    let messages = vec![custody(bytes), piece(file, content)];
    assert_eq!(deposit(&stack, messages).await, Err(code));
    assert_eq!(kept(&stack), 0);
    assert_eq!(fs::read(stack.folder(0).join("id")).unwrap(), [1; 16]);
    sampler.stop().await;
}

/// Begins a deposit with these messages, of which a part has arrived then; the rest can be sent.
async fn begin_deposit(
    stack: &Stack,
    first: Vec<CustodyMessage>,
) -> (mpsc::Sender<CustodyMessage>, Streaming<DepositResponse>) {
    let (messages, sent) = mpsc::channel(4);
    let request = Request::new(ReceiverStream::new(sent));
    let responses = stack.client(0).await.deposit(request).await.unwrap();
    for message in first {
        messages.send(message).await.unwrap();
    }
    until("a part of the files", async || kept(stack) == 1).await;
    (messages, responses.into_inner())
}

#[tokio::test]
async fn interrupted_deposit_leaves_nothing() {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::without_claims(output);
    let sampler = start_first(&stack).await;
    let (messages, mut responses) =
        begin_deposit(&stack, vec![custody(32), piece("id", &JOURNAL)]).await;
    drop(messages);
    let refused = responses.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!(kept(&stack), 0);
    sampler.stop().await;
}

#[tokio::test]
async fn files_that_arrive_are_not_absent() {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::without_claims(output);
    let sampler = start_first(&stack).await;
    let (messages, mut responses) = begin_deposit(&stack, vec![custody(16)]).await;
    let mut withdrawing = std::pin::pin!(withdraw(&stack, 1));
    let early = timeout(Duration::from_millis(500), withdrawing.as_mut()).await;
    assert!(early.is_err(), "{early:?}");
    messages.send(piece("id", &JOURNAL)).await.unwrap();
    drop(messages);
    assert!(responses.message().await.unwrap().is_some());
    let (first, pieces) = withdrawing.await;
    assert!(matches!(first, Message::Custody(_)), "{first:?}");
    assert_eq!(pieces, 1);
    sampler.stop().await;
}

#[tokio::test]
async fn deposit_without_a_sender_leaves_nothing() {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::without_claims(output);
    let sampler = start_first(&stack).await;
    // While its files arrive, those of others wait.
    let (messages, mut responses) =
        begin_deposit(&stack, vec![custody(32), piece("id", &JOURNAL)]).await;

    let mut second = stack.client(0).await;
    let complete = vec![custody(16), piece("id", &JOURNAL)];
    let request = Request::new(tokio_stream::iter(complete));
    drop(second.deposit(request).await.unwrap());
    // On the same connection, so the sampler has read that the deposit ended.
    let request = ExchangeRequest {
        envelope: envelope(2),
        rings: None,
    };
    second.exchange(request).await.unwrap();
    drop(messages);
    responses.message().await.unwrap_err();
    // Waits until both deposits have ended.
    discard(&stack, 2, 0).await;
    assert_eq!(kept(&stack), 0);
    sampler.stop().await;
}

#[tokio::test]
async fn sampler_with_a_claim_keeps_no_files() {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::new(output);
    let sampler = start_first(&stack).await;
    let messages = vec![custody(16), piece("id", &JOURNAL)];
    let refused = deposit(&stack, messages).await;
    assert_eq!(refused, Err(Code::FailedPrecondition));
    let (first, _) = withdraw(&stack, 1).await;
    assert!(matches!(first, Message::Absence(_)), "{first:?}");
    discard(&stack, 1, 5).await;
    sampler.stop().await;
}
