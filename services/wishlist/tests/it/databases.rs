use std::time::Duration;

use spoor_proto::spoor::wishlist::v1::{AddRequest, DeleteRequest, ListRequest, Wish};
use spoor_wishlist::wishlist::{self, MAX_WISHES, OpenDatabaseError, WishStore};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};
use tonic::{Code, Status};

use crate::{
    postgres::Postgres,
    running::{Wishlist, args},
};

/// The message SSLRequest of PostgreSQL's protocol: its length and its code.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

async fn add(wishlist: &Wishlist, name: &str) -> Result<Wish, Status> {
    let request = AddRequest {
        name: name.to_owned(),
    };
    Ok(wishlist.client().await.add(request).await?.into_inner())
}

async fn delete(wishlist: &Wishlist, id: &str) -> Result<(), Code> {
    let request = DeleteRequest { id: id.to_owned() };
    let deleted = wishlist.client().await.delete(request).await;
    deleted.map(|_| ()).map_err(|status| status.code())
}

async fn names(wishlist: &Wishlist) -> Vec<String> {
    let reply = wishlist
        .client()
        .await
        .list(ListRequest {})
        .await
        .unwrap()
        .into_inner();
    reply.wishes.into_iter().map(|wish| wish.name).collect()
}

/// Asserts the behaviour of any database, which must be empty.
async fn keeps_wishes(wishlist: &Wishlist) {
    const HOSTILE: &str = "'); DROP TABLE wishes; --";
    assert_eq!(names(wishlist).await, [""; 0]);
    let bike = add(wishlist, " a bike ").await.unwrap();
    assert_eq!(bike.name, "a bike");
    assert!(bike.created_unix_millis > 1_700_000_000_000);
    add(wishlist, HOSTILE).await.unwrap();
    add(wishlist, "ein Spätzlehobel 🎁").await.unwrap();
    assert_eq!(
        names(wishlist).await,
        ["ein Spätzlehobel 🎁", HOSTILE, "a bike"]
    );

    assert_eq!(delete(wishlist, &bike.id).await, Ok(()));
    assert_eq!(delete(wishlist, &bike.id).await, Err(Code::NotFound));
    assert_eq!(delete(wishlist, "no id").await, Err(Code::NotFound));
    assert_eq!(
        add(wishlist, "").await.unwrap_err().code(),
        Code::InvalidArgument
    );
    assert_eq!(names(wishlist).await, ["ein Spätzlehobel 🎁", HOSTILE]);
}

/// Fills the database up to the limit.
async fn wishes_are_bounded(wishlist: &Wishlist) {
    let mut client = wishlist.client().await;
    let there = names(wishlist).await.len();
    for number in there..usize::from(MAX_WISHES) {
        client
            .add(AddRequest {
                name: number.to_string(),
            })
            .await
            .unwrap();
    }
    let over = client
        .add(AddRequest {
            name: "one more".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(over.code(), Code::ResourceExhausted);
    assert!(over.message().contains("delete one first"), "{over}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_wishes() {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    keeps_wishes(&wishlist).await;
    wishes_are_bounded(&wishlist).await;
    wishlist.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_wishes_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("wishes.db").display());
    let wishlist = Wishlist::on(&url).await;
    keeps_wishes(&wishlist).await;
    let before = names(&wishlist).await;
    wishlist.end().await;
    let wishlist = Wishlist::on(&url).await;
    assert_eq!(names(&wishlist).await, before, "kept across a restart");
    wishes_are_bounded(&wishlist).await;
    wishlist.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_wishes_across_a_restart() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.url();
    wait_until_up(&url).await;
    let wishlist = Wishlist::on(&url).await;
    keeps_wishes(&wishlist).await;
    let before = names(&wishlist).await;
    wishlist.end().await;
    let wishlist = Wishlist::on(&url).await;
    assert_eq!(names(&wishlist).await, before, "kept across a restart");
    wishes_are_bounded(&wishlist).await;

    drop(postgres);
    let status = wishlist
        .client()
        .await
        .list(ListRequest {})
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    wishlist.end().await;
}

async fn wait_until_up(url: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = open(url).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn open(url: &str) -> Result<WishStore, OpenDatabaseError> {
    let args = args::<wishlist::WishlistArgs>(&[&format!("--database-url={url}")]);
    args.program.open().await
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_uses_tls_if_the_url_demands_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "postgres://me:secret@{}/w?sslmode=require",
        listener.local_addr().unwrap()
    );
    let opening = tokio::spawn(async move { open(&url).await });
    let (mut server, _) = listener.accept().await.unwrap();
    let mut request = [0; 8];
    server.read_exact(&mut request).await.unwrap();
    assert_eq!(request, SSL_REQUEST);
    server.write_all(b"S").await.unwrap();
    // The first byte of a TLS handshake record.
    assert_eq!(server.read_u8().await.unwrap(), 0x16);
    opening.abort();
}

#[rstest::rstest]
#[case(
    "sqlite:/nowhere/wishes.db",
    "cannot open the database sqlite:/nowhere/wishes.db"
)]
#[case(
    "postgres://me:secret@127.0.0.1:1/w",
    "cannot open the database postgres://127.0.0.1:1/w"
)]
#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_database_is_named(#[case] url: &str, #[case] expected: &str) {
    let error = open(url).await.expect_err("the database is unavailable");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_a_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wishes.db");
    std::fs::write(
        &file,
        "not a database, but long enough to look like the header of one: ".repeat(99),
    )
    .unwrap();
    let error = open(&format!("sqlite:{}", file.display()))
        .await
        .expect_err("it is not a database");
    assert!(
        error.to_string().contains(&file.display().to_string()),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_refused_at_startup() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("wishes.db").display());
    Wishlist::on(&url).await.end().await;
    let error = open(&format!("{url}?mode=ro"))
        .await
        .expect_err("wishes cannot be added");
    assert_eq!(
        error.to_string(),
        format!("cannot write to the database {url}; its file and folder must be writable")
    );
}
