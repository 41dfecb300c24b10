//! The messages in which a custody is sent.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use bytes::Bytes;
use spoor_proto::spoor::sampler::v1::{
    self as wire, CustodyMessage, Piece, custody_message::Message,
};
use spoor_traces::{JournalId, is_journal_file};
use tokio::{
    fs::OpenOptions,
    io::AsyncWriteExt,
    sync::mpsc::{self, Sender},
    task::spawn_blocking,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::saved::RulesFile;

/// The most bytes of a file in one message.
const MAX_PIECE_BYTES: u64 = 256 << 10;
/// The pieces that wait to be sent.
const MAX_QUEUED_PIECES: usize = 4;

/// A file to send.
pub(crate) struct OpenFile {
    name: String,
    content: File,
    bytes: u64,
}

/// Opens the files in a folder that belong to a custody. Nobody writes to them meanwhile.
pub(crate) fn open(folder: &Path) -> io::Result<Vec<OpenFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        let Some(name) = name.ok().filter(|name| is_custody_file(name)) else {
            continue;
        };
        match File::open(entry.path()) {
            Ok(content) => files.push(OpenFile {
                bytes: content.metadata()?.len(),
                name,
                content,
            }),
            // The journal no longer needed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// The size of all files.
pub(crate) fn size(files: &[OpenFile]) -> u64 {
    files.iter().map(|file| file.bytes).sum()
}

pub(crate) fn message(message: Message) -> CustodyMessage {
    CustodyMessage {
        message: Some(message),
    }
}

/// A custody and its files as messages. If a file cannot be read, they end early; the receiver
/// compares the size.
pub(crate) fn messages(
    custody: wire::Custody,
    files: Vec<OpenFile>,
) -> ReceiverStream<CustodyMessage> {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED_PIECES);
    spawn_blocking(move || {
        let custody = message(Message::Custody(custody));
        if sender.blocking_send(custody).is_err() {
            return;
        }
        if let Err(error) = send(files, &sender) {
            tracing::warn!(%error, "cannot read the files of a custody");
        }
    });
    ReceiverStream::new(receiver)
}

/// Sends files in pieces, until the receiver has them or stops.
fn send(files: Vec<OpenFile>, messages: &Sender<CustodyMessage>) -> io::Result<()> {
    for OpenFile {
        name,
        content,
        bytes,
    } in files
    {
        let mut content = content.take(bytes);
        loop {
            let mut piece = Vec::new();
            let mut next = content.by_ref().take(MAX_PIECE_BYTES);
            if next.read_to_end(&mut piece)? == 0 {
                break;
            }
            let piece = Piece {
                file: name.clone(),
                content: Bytes::from(piece),
            };
            let piece = message(Message::Piece(piece));
            if messages.blocking_send(piece).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Writes the files of a custody to a folder, which is created. What an incomplete one leaves there
/// is for the caller to remove.
pub(crate) async fn receive(
    messages: &mut Streaming<CustodyMessage>,
    custody: &wire::Custody,
    folder: &Path,
) -> Result<(), Status> {
    create(folder).await.map_err(write_failed)?;
    let mut left = custody.bytes;
    while let Some(message) = messages.message().await? {
        let Some(Message::Piece(piece)) = message.message else {
            return Err(Status::invalid_argument("only pieces may follow a custody"));
        };
        if !is_custody_file(&piece.file) {
            let message = format!("piece.file: a sampler has no file {:?}", piece.file);
            return Err(Status::invalid_argument(message));
        }
        left = left
            .checked_sub(piece.content.len() as u64)
            .ok_or_else(|| Status::invalid_argument("custody.bytes: less than the pieces have"))?;
        let path = folder.join(&piece.file);
        append(&path, &piece.content).await.map_err(write_failed)?;
    }
    if left > 0 {
        return Err(Status::aborted(format!(
            "{left} bytes of a custody are missing"
        )));
    }
    let id = tokio::fs::read(folder.join(JournalId::FILE)).await;
    match id {
        Ok(id) if id[..] == custody.journal[..] => Ok(()),
        _ => Err(Status::invalid_argument(
            "custody.journal: must be the content of the file \"id\"",
        )),
    }
}

async fn create(folder: &Path) -> io::Result<()> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    tokio::fs::create_dir_all(folder).await
}

async fn append(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.create(true).append(true).open(path).await?;
    file.write_all(content).await?;
    file.flush().await
}

fn write_failed(error: io::Error) -> Status {
    Status::unavailable(format!("cannot write the files of a custody: {error}"))
}

/// Returns whether a custody may have a file with this name. None of these names leads to another
/// folder.
fn is_custody_file(name: &str) -> bool {
    is_journal_file(name) || name == RulesFile::NAME
}
